export const commandNames = ['status', 'blocked', 'explain', 'unblock', 'block', 'check', 'completion'] as const;
export type CommandName = (typeof commandNames)[number];

interface CommandText {
  readonly usage: string;
  readonly summary: string;
  readonly details: string;
}

const connection = `
  --kubeconfig FILE
      Default: the environment variable KUBECONFIG, then ~/.kube/config.
  --context NAME
      The context of the kubeconfig. Default: the current one.
  --request-timeout DURATION
      For each request. Default 15s.
  -h, --help
      Show this text.
`;

const texts: Readonly<Record<CommandName, CommandText>> = {
  status: {
    usage: 'status [-o table|json|yaml]',
    summary: 'show nodes, policies and lists, and what somebody must look at',
    details: `Exits with 1 when something is not as it should be.

  -o, --output table|json|yaml
      Form of the output. Default table.
${connection}`,
  },
  blocked: {
    usage: 'blocked [--source SOURCE] [--node NODE] [--policy POLICY] [-o table|wide|json|yaml]',
    summary: 'list who is blocked for scanning, where, why and until when',
    details: `Each node reports its newest 20 blocks; "portcullis-agent blocked" on a node shows all of that node. What a list
drops is not here: "explain" tells it. Exits with 1 when --source is given and is not there.

  --source SOURCE
      Only blocks that have an address in common with this address or prefix.
  --node NODE
      Only of this node; reads its report alone.
  --policy POLICY
      Only of this policy; "(manual)" for blocks by hand on a node.
  -o, --output table|wide|json|yaml
      Form of the output: wide has a line for each node. Default table.
${connection}`,
  },
  explain: {
    usage: 'explain SOURCE [-o text|json|yaml]',
    summary: 'tell everything that concerns a source, and what to do about it',
    details: `Looks at the blocks of all nodes, at lists with their ConfigMaps, at exceptions, at what policies allow and at the
never-block set. Exits with 1 when nothing concerns the source.

  -o, --output text|json|yaml
      Form of the output. Default text.
${connection}`,
  },
  unblock: {
    usage: 'unblock SOURCE [--for DURATION] [--policy POLICY]... [--reason TEXT] [--wait DURATION] [--dry-run]',
    summary: 'let a source in for a time',
    details: `Writes a SourceException named after the source: while it stands, the nodes lift its blocks for scanning and make no
new ones. It does not weaken an IpBlocklist. Then waits until the nodes that had blocked it report that they no longer do;
exits with 1 when some still do after that time. Doing it again replaces the time, the policies and the reason.

  --for DURATION
      From 1s to 720h. Default 1h.
  --policy POLICY
      Only blocks of this policy; may be repeated. Default: of all policies.
  --reason TEXT
      At most 128 characters.
  --wait DURATION
      How long to wait for the nodes, from 0s to 10m. Default 15s.
  --dry-run
      Print the SourceException as YAML and change nothing: for a repository.
${connection}`,
  },
  block: {
    usage: 'block SOURCE --for DURATION [--reason TEXT] [--node-selector LABELS] [--wait DURATION] [--dry-run]',
    summary: 'drop all packets of a source for a time',
    details: `Writes an IpBlocklist of one entry, named after the source, for the interfaces of the default route. SOURCE is an
address or a prefix of at least /8 (IPv6: /16). Then waits until it is in force; exits with 1 when it is not after that time.
Doing it again replaces the time and the reason.

  --for DURATION
      From 1s to 720h. Required: a block by hand always ends.
  --reason TEXT
      At most 32 characters.
  --node-selector LABELS
      Only on nodes with these labels, such as zone=eu-1,role=edge. Default: on all nodes.
  --wait DURATION
      How long to wait for the nodes, from 0s to 10m. Default 15s.
  --dry-run
      Print the IpBlocklist as YAML and change nothing: for a repository.
${connection}`,
  },
  check: {
    usage: 'check FILE|DIR|-... [--server] [-o text|json|yaml]',
    summary: 'validate policies, lists and exceptions before they are applied',
    details: `Needs no cluster. Prints every finding with file, line, field, value and remedy. Exits with 1 when any is an error.

  --server
      Ask the API server as well, by a dry run of each valid object.
  -o, --output text|json|yaml
      Form of the output. Default text.
${connection}`,
  },
  completion: {
    usage: 'completion bash|zsh|fish',
    summary: 'print a script that completes the words of a command line',
    details: `Load it with: source <(kubectl-portcullis completion bash). For "kubectl portcullis" an executable named
kubectl_complete-portcullis on the PATH is enough.

  -h, --help
      Show this text.
`,
  },
};

export function overviewHelp(): string {
  const width = Math.max(...commandNames.map((name) => name.length));
  const commands = commandNames.map((name) => `  ${name.padEnd(width)}  ${texts[name].summary}`);
  return `Portcullis: who is blocked on the nodes of a cluster, and why.

Usage: kubectl portcullis COMMAND [ARGUMENTS]

Commands:
${commands.join('\n')}

  kubectl portcullis COMMAND --help   tells more about a command
  kubectl portcullis version          shows the version

Exit codes: 0 well; 1 something was found, or not found; 2 wrong usage; 3 the API server refused or cannot be reached.
`;
}

export function commandHelp(name: CommandName): string {
  const { usage, details } = texts[name];
  return `Usage: kubectl portcullis ${usage}\n\n${details}`;
}
