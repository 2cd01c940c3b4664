/** How bad a finding is unless the place that raises it knows better. */
export type Severity = 'error' | 'warning' | 'info';

export interface ErrorRow {
  readonly severity: Severity;
  /** What the code means, in one sentence, for docs/errors.md. */
  readonly summary: string;
  /** What to do, in one sentence; the place that raises it may give a more exact one. */
  readonly remedy: string;
}

function error(summary: string, remedy: string): ErrorRow {
  return { severity: 'error', summary, remedy };
}

function warning(summary: string, remedy: string): ErrorRow {
  return { severity: 'warning', summary, remedy };
}

function info(summary: string, remedy: string): ErrorRow {
  return { severity: 'info', summary, remedy };
}

/** Codes are stable: scripts and alerts match on them, so a row may be reworded but never renamed. */
export const ErrorSections = {
  Input: {
    YamlSyntax: error('The text is not valid YAML.', 'Correct the YAML at the line given.'),
    YamlAmbiguousScalar: error(
      'An unquoted value means different things to different YAML readers, such as 0777, 1_000, 1:30 or yes.',
      'Put the value in quotes, or write it as a plain decimal number or as true or false.',
    ),
    YamlDuplicateKey: error('A mapping has the same key twice.', 'Remove one of the two.'),
    YamlUnsupported: error(
      'The document uses YAML that is refused here: tags, merge keys, keys that are not strings, too many aliases, or too deep nesting.',
      'Write the values out in plain YAML.',
    ),
    FileTooLarge: error('A policy file is larger than 4 MiB or holds more than 1,000 documents.', 'Split the file.'),
    FileUnreadable: error(
      'A policy file cannot be read.',
      "Check the file's permissions and that it is a regular file.",
    ),
    DirectoryUnreadable: error(
      'The directory of policies cannot be read; nothing was changed.',
      'Check that the directory exists and that it can be read.',
    ),
    UnknownKind: error(
      'The document is no object that this version knows.',
      'Use apiVersion portcullis.dev/v1alpha1 and one of the kinds PortScanPolicy, IpBlocklist and SourceException, or move the document elsewhere.',
    ),
    UnknownField: error(
      'The object has a field that its schema does not have.',
      'Correct the spelling, or remove the field.',
    ),
    MissingField: error('A required field is missing.', 'Add the field.'),
    WrongType: error('A value has the wrong type.', 'Give a value of the type that is named.'),
    OutOfRange: error('A number or a duration lies outside its bounds.', 'Choose a value inside the bounds.'),
    TooMany: error('A list or a mapping has too many or too few items.', 'Keep the number of items inside the bounds.'),
    TooLong: error('A string is too long or too short.', 'Keep its length inside the bounds.'),
    BadPattern: error('A string does not have the required form.', 'Write it in the form that is named.'),
    NotAllowedValue: error('A value is none of those allowed.', 'Use one of the values that are named.'),
    BadPrefix: error(
      'A value is no prefix in canonical form.',
      'Write the prefix in canonical form: lower case, shortest, no host bits set, such as 192.0.2.0/24 or 2001:db8::/32.',
    ),
    BadDuration: error('A value is no duration.', 'Write a duration such as 90s, 10m or 1h30m.'),
    BadTime: error('A value is no RFC 3339 time.', 'Write a time such as 2030-01-31T12:00:00Z.'),
    BadSelector: error(
      'A node selector is not a valid label selector.',
      'In and NotIn need values, Exists and DoesNotExist take none; keys and values follow the syntax of labels.',
    ),
    TooWide: error(
      'A prefix is as wide as /7 (IPv6 /15) or wider and the list does not allow that.',
      'Narrow the prefix, or set spec.allowWide to true.',
    ),
    BadName: error(
      'The name of an object is no DNS subdomain name.',
      'Use lower-case letters, digits, "-" and ".", at most 253.',
    ),
    DuplicateObject: error('Two documents have the same kind and name.', 'Rename or remove one of the two.'),
    LastGoodKept: warning(
      'An object is invalid now, so its last good version stays in force.',
      'Correct the object; the finding beside this one says what is wrong.',
    ),
  },
  Settings: {
    BadSetting: error(
      'A flag or an environment variable has a bad value.',
      'Correct the value; --help names its form.',
    ),
    UnknownSetting: error('A flag is not known.', 'Correct the spelling; --help lists all flags.'),
  },
  Resolving: {
    PolicyConflicted: warning(
      'A policy selects an interface that another policy governs.',
      'Raise its spec.priority, or narrow what one of the two selects.',
    ),
    PolicyTieByName: warning(
      'Two policies of equal priority select the same interface, so their names decide; a cluster would let the oldest decide.',
      'Give the two different priorities.',
    ),
    NoInterfaceMatches: warning(
      'A policy or a list selects this node but none of its interfaces.',
      'Correct spec.interfaces, or ignore this where the interface appears later.',
    ),
    InterfaceUnsupported: warning(
      'A selected interface is not of Ethernet type and cannot be guarded.',
      'Select the Ethernet interface below it, or exclude it by spec.interfaces.exclude.',
    ),
    NeedsCluster: warning(
      'A field has no meaning out of a file: what it names is only in a cluster.',
      'Write the prefixes into spec.entries, or give the list to an API server.',
    ),
    NeverBlockOverlapsList: warning(
      'A listed prefix covers addresses that are never blocked; those still pass.',
      'Nothing needs to be done, unless the address should not be in the never-block set.',
    ),
  },
  Datapath: {
    ForeignXdpProgram: error(
      "Another program's XDP is attached to the interface; it is left in place and the interface is not guarded.",
      'Detach the other program, or exclude the interface.',
    ),
    GenericFallback: warning(
      'The driver refused native XDP, so the slower generic mode is used.',
      'Update the driver, lower the MTU, or set --xdp-mode generic to accept it.',
    ),
    AttachFailed: error(
      'The program could not be attached to the interface.',
      "See the kernel's reason in the message.",
    ),
    PinPathNotBpffs: error(
      'The pin path is not on a BPF file system.',
      'Mount one there: mount -t bpf bpf /sys/fs/bpf, or choose another --pin-path.',
    ),
    PinPathLocked: error(
      'Another process holds the lock of the pin path.',
      'Stop the other agent, or give this one a pin path of its own.',
    ),
    LayoutMismatch: error(
      'What is pinned was written by a version whose layout this one cannot take over.',
      'Start it with the --state folder of the other version, which holds its blocks; or run the detach command of the other one first.',
    ),
    LayoutForeign: error(
      'The pin path holds objects that are not ours.',
      'Choose an empty --pin-path, or remove what is there.',
    ),
    TableFull: error('A table is full; what did not fit is not in force.', 'Raise the --max-… setting of that table.'),
    TableNearlyFull: warning('A table is nearly full.', 'Raise the --max-… setting of that table before it is full.'),
    FreshEvicted: warning(
      'Under pressure, sources still inside their window were forgotten, so slow scans may go unseen.',
      'Raise the --max-… settings of the tracking tables.',
    ),
    EventsLost: warning(
      'Events were lost: log lines are missing, but no block is.',
      'Set connectionLog to None where it is not needed.',
    ),
    BpfLoadFailed: error('The kernel refused to load a program.', "See the verifier's log in the message."),
    BpfMapFailed: error('A map could not be made, read or written.', "See the kernel's reason in the message."),
    KernelTooOld: error('The kernel is older than 5.15 or lacks something that is needed.', 'Update the kernel.'),
    NoBtf: error(
      'The kernel has no BTF at /sys/kernel/btf/vmlinux.',
      'Use a kernel that is built with CONFIG_DEBUG_INFO_BTF=y.',
    ),
    NotRoot: error(
      'The process may not load programs.',
      'Run it as root, or give it the capabilities BPF, NET_ADMIN and PERFMON.',
    ),
    FragsUnavailable: warning(
      'The kernel or the driver has no multi-buffer XDP, so a large MTU cannot have native mode.',
      'Lower the MTU, use a newer kernel, or accept generic mode.',
    ),
    ConntrackUnavailable: warning(
      'Programs may not ask connection tracking, so a blocked source loses flows that only it knows: answers to what pods opened by the address of the node.',
      'Use a kernel with nf_conntrack built in, give the agent CAP_SYS_ADMIN, or list in allow whom the pods talk to.',
    ),
    DetachGap: warning(
      'The attach mode changed, and packets passed unguarded between the two for the time given.',
      'Nothing needs to be done; avoid changes of the mode where this matters.',
    ),
    InterfaceGone: info(
      'An interface that was guarded is gone.',
      'Nothing needs to be done; it is guarded again when it is back.',
    ),
  },
  Cluster: {
    FactsUnknown: warning(
      'The addresses of the cluster, such as those of its nodes and the ranges of its pods, are not all known, so not all of them are in the never-block set.',
      'Run the operator; where nodes have no podCIDRs, name the ranges of the pods by its setting --never-block.',
    ),
    NodeNotFound: error(
      'The API server has no Node of the name that the agent was given; labels and annotations are those last known.',
      'Check --node-name: it must be the metadata.name of the Node.',
    ),
    ObjectUnread: error(
      'An object could not be read from the API server; what was known of it stays in force.',
      'Nothing needs to be done when this passes; else see the reason in the message.',
    ),
    PrefixSetIncomplete: warning(
      'Prefixes of a list that come from ConfigMaps could not be fetched whole; the last complete set stays in force.',
      'Nothing needs to be done when this passes; else check that the operator runs.',
    ),
    ApiServerAway: warning(
      'The API server does not answer; what was last known stays in force.',
      'Check that the API server can be reached from the node.',
    ),
    BreakGlass: warning(
      'Break-glass is in force: nothing is attached and nothing is dropped on this node.',
      'Take back the annotation portcullis.dev/break-glass of the Node, or remove the file that is named.',
    ),
    ReportNotWritten: warning(
      'The NodeReport cannot be written, so the cluster does not know what this node does; it enforces as before.',
      'Check that the API server can be reached from the node.',
    ),
  },
  Commands: {
    NotAnAddress: error(
      'The argument is no IP address or prefix.',
      'Give an address such as 192.0.2.7 or 2001:db8::7.',
    ),
    NotBlocked: error('The source is not blocked.', 'List what is blocked with the command blocked.'),
    NothingPinned: error(
      'Nothing is pinned at the pin path, so there is nothing to show or change.',
      'Start the agent, or give the --pin-path that it uses.',
    ),
    StateUnreadable: warning(
      'The saved state cannot be read and was left out.',
      'Nothing needs to be done; the file is written anew. Check the disk if this comes again.',
    ),
  },
  Internal: {
    Internal: error('Something happened that should not be possible.', 'Report it with the message and the log.'),
  },
} as const satisfies Record<string, Record<string, ErrorRow>>;

type Sections = typeof ErrorSections;

/** Union of all codes. */
export type ErrorCode = { [S in keyof Sections]: keyof Sections[S] }[keyof Sections];

/** Every code with its default severity, meaning and remedy. */
export const ErrorTable: Readonly<Record<ErrorCode, ErrorRow>> = {
  ...ErrorSections.Input,
  ...ErrorSections.Settings,
  ...ErrorSections.Resolving,
  ...ErrorSections.Datapath,
  ...ErrorSections.Cluster,
  ...ErrorSections.Commands,
  ...ErrorSections.Internal,
};

export interface ErrorDetails {
  /** The object it is about, such as `PortScanPolicy/web`, or a file or interface. */
  readonly object?: string;
  /** The field of that object, such as `spec.entries[3].cidr`. */
  readonly field?: string;
  /** The value at fault, as given. */
  readonly value?: unknown;
  /** Replaces the table's remedy where a more exact one is known. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** An error with a code out of the table; the message names the value at fault, the remedy says what to do. */
export class PortcullisError extends Error {
  readonly code: ErrorCode;
  readonly object: string | undefined;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly remedy: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PortcullisError';
    this.code = code;
    this.object = details.object;
    this.field = details.field;
    this.value = details.value;
    this.remedy = details.remedy ?? ErrorTable[code].remedy;
  }
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** The text of docs/errors.md. */
export function errorTableMarkdown(): string {
  const parts = [
    '# Errors and findings',
    '',
    'Every error and finding has a stable code. It stands in the log, in the status file, in the output of the commands',
    'and in the label `code` of the metrics. This page is generated from `api/errors.ts`.',
  ];
  for (const [section, rows] of Object.entries(ErrorSections)) {
    parts.push('', `## ${section}`, '', '| code | severity | meaning | what to do |', '|---|---|---|---|');
    for (const [code, row] of Object.entries<ErrorRow>(rows)) {
      parts.push(`| \`${code}\` | ${row.severity} | ${escapeCell(row.summary)} | ${escapeCell(row.remedy)} |`);
    }
  }
  return `${parts.join('\n')}\n`;
}
