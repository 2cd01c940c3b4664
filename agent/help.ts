import { environmentName, settingsHelp } from '../cli/settings.ts';
import { settingTable } from './settings-table.ts';

export const commandNames = ['run', 'check', 'status', 'blocked', 'block', 'unblock', 'detach'] as const;
export type CommandName = (typeof commandNames)[number];

interface CommandText {
  readonly usage: string;
  readonly summary: string;
  readonly details: string;
}

const pinPathFlag = `  --pin-path DIR
      The pin path of the agent. Default ${settingTable.pinPath.default}, or ${environmentName('pin-path')}.
`;

const helpFlag = `  -h, --help
      Show this text.
`;

const texts: Readonly<Record<CommandName, CommandText>> = {
  run: {
    usage: 'run (--policies DIR | --kubernetes --node-name NAME) [FLAGS]',
    summary: 'guard this host by the policies in a directory or in an API server',
    details: `Attaches to the interfaces that the policies select, and follows changes of the policies and of the host until it
is stopped by SIGTERM or SIGINT. What is attached stays in force after that: "detach" removes it.

Each flag can be given as an environment variable too; the flag wins. Where a flag is repeated, the last one holds,
unless it takes a list.
`,
  },
  check: {
    usage: 'check DIR [-o text|json]',
    summary: 'validate a directory of policies, without root',
    details: `Prints every finding with file, line, field, value and remedy. Exits with 1 when any of them is an error.

  -o, --output text|json
      Form of the output. Default text.
${helpFlag}`,
  },
  status: {
    usage: 'status [-o text|json] [--pin-path DIR]',
    summary: 'show interfaces, programs, tables and findings',
    details: `Reads what is pinned, so it works without a running agent too.

  -o, --output text|json
      Form of the output. Default text.
${pinPathFlag}${helpFlag}`,
  },
  blocked: {
    usage: 'blocked [-o table|wide|json] [--pin-path DIR]',
    summary: 'list the sources that are blocked, and why',
    details: `Lists blocks of policies and blocks by hand, the newest first. Works without a running agent too.

  -o, --output table|wide|json
      Form of the output: wide adds interface, state and reason. Default table.
${pinPathFlag}${helpFlag}`,
  },
  block: {
    usage: 'block SOURCE --for DURATION --reason TEXT [--pin-path DIR]',
    summary: 'drop all packets of a source for a time',
    details: `SOURCE is an address or a prefix of at least /8 (IPv6: /16). Sources in the never-block set are not dropped.
Blocking a source again replaces the time and the reason. Works without a running agent too.

  --for DURATION
      From 1s to 720h, such as 90s, 10m or 1h30m.
  --reason TEXT
      At most 63 bytes; shown wherever the block is.
${pinPathFlag}${helpFlag}`,
  },
  unblock: {
    usage: 'unblock SOURCE [--state DIR] [--pin-path DIR]',
    summary: 'lift the blocks of a source',
    details: `Lifts every block of the source, of policies and by hand; the source starts again at zero targets. Entries of
an IpBlocklist are not touched: remove them from the list. Works without a running agent too.

  --state DIR
      The state directory of the agent, so that the block does not come back after a reboot. Default none, or
      ${environmentName('state')}.
${pinPathFlag}${helpFlag}`,
  },
  detach: {
    usage: 'detach [--pin-path DIR]',
    summary: 'remove everything that the agent attached',
    details: `Removes the programs, tables and pins below the pin path and nothing else. The agent must not be running.
From then on nothing is dropped.

${pinPathFlag}${helpFlag}`,
  },
};

/** What the program is and which commands it has. */
export function overviewHelp(): string {
  const width = Math.max(...commandNames.map((name) => name.length));
  const commands = commandNames.map((name) => `  ${name.padEnd(width)}  ${texts[name].summary}`);
  return `Portcullis agent: keeps port scanners and known-bad addresses off this host, in the kernel.

Usage: portcullis-agent COMMAND [ARGUMENTS]

Commands:
${commands.join('\n')}

  portcullis-agent COMMAND --help   tells more about a command
  portcullis-agent --version        shows the version
`;
}

/** How one command is used. */
export function commandHelp(name: CommandName): string {
  const { usage, details } = texts[name];
  return `Usage: portcullis-agent ${usage}\n\n${details}${name === 'run' ? settingsHelp(settingTable) : ''}`;
}
