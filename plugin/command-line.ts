import { type Prefix, parsePrefixOrAddress } from '../api/cidr.ts';
import { parseDuration } from '../api/duration.ts';
import { PortcullisError } from '../api/errors.ts';
import {
  type FlagSyntax,
  type GivenFlags,
  readCommandName,
  readFlags,
  readValue,
  type TypedCommand,
  takeArguments,
} from '../cli/flags.ts';
import { blockDuration, labels, oneOf, source as sourceForm, type ValueForm } from '../cli/setting-values.ts';
import type { BlockOptions } from './commands/block.ts';
import type { BlockedOptions } from './commands/blocked.ts';
import type { CheckOptions } from './commands/check.ts';
import type { Structured } from './commands/context.ts';
import type { UnblockOptions } from './commands/unblock.ts';
import { type CommandName, commandHelp, commandNames, overviewHelp } from './help.ts';

const program = 'kubectl portcullis';

/** How to reach the API server. */
export interface Connection {
  /** Absent: KUBECONFIG, then ~/.kube/config. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly requestTimeoutMs: number;
}

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What a command line asks for, fully checked. */
export type Command =
  | { readonly name: 'help'; readonly text: string; readonly exitCode: 0 | 2 }
  | { readonly name: 'version' }
  | {
      readonly name: 'status';
      readonly connection: Connection;
      readonly options: { readonly output: 'table' | Structured };
    }
  | { readonly name: 'blocked'; readonly connection: Connection; readonly options: BlockedOptions }
  | {
      readonly name: 'explain';
      readonly connection: Connection;
      readonly options: { readonly source: Prefix; readonly output: 'text' | Structured };
    }
  | { readonly name: 'unblock'; readonly connection: Connection; readonly options: UnblockOptions }
  | { readonly name: 'block'; readonly connection: Connection; readonly options: BlockOptions }
  | {
      readonly name: 'check';
      readonly connection: Connection;
      readonly server: boolean;
      readonly options: CheckOptions;
    }
  | { readonly name: 'completion'; readonly shell: Shell }
  | { readonly name: 'complete'; readonly words: readonly string[] };

/** As for the entries of a list: nobody lets an eighth of the Internet in, or cuts it off, by leaving a digit out. */
const minLength = { 4: 8, 6: 16 } as const;
const defaultWaitMs = 15_000;
const defaultRequestTimeoutMs = 15_000;

const text = (maxChars: number): ValueForm<string> => ({
  placeholder: 'TEXT',
  allowed: `a text of 1 to ${maxChars} characters on one line`,
  read: (given) => (given !== '' && [...given].length <= maxChars && !/\p{Cc}/u.test(given) ? given : undefined),
});

const name: ValueForm<string> = {
  placeholder: 'NAME',
  allowed: 'the name of an object',
  read: (given) => (/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(given) ? given : undefined),
  suggest: (given) => given.replace(/^[a-z]+\//i, '').toLowerCase(),
};

/** Also the word for blocks by hand, as blocked shows it. */
const policyName: ValueForm<string> = {
  ...name,
  read: (given) => (given === '(manual)' ? given : name.read(given)),
};

const anyText: ValueForm<string> = {
  placeholder: 'TEXT',
  allowed: 'a text',
  read: (given) => (given === '' || given.includes('\0') ? undefined : given),
};

const shortDuration: ValueForm<number> = {
  placeholder: 'DURATION',
  allowed: 'a duration from 0s to 10m, such as 30s',
  read: (given) => {
    const ms = parseDuration(given);
    return ms !== undefined && ms <= 600_000 ? ms : undefined;
  },
  suggest: (given) => `${given}s`,
};

export interface Flag extends FlagSyntax {
  readonly isRepeatable?: true;
  /** What shells may offer for it. */
  readonly complete?: readonly string[] | 'files' | 'policies' | 'nodes';
}

const outputs = (...values: string[]): Flag => ({ short: 'o', complete: values });
const connectionFlags: Readonly<Record<string, Flag>> = {
  kubeconfig: { complete: 'files' },
  context: {},
  'request-timeout': {},
};

/** Every flag of every command; help.ts tells what they mean, and a test that both have the same. */
export const flagsOf: Readonly<Record<CommandName, Readonly<Record<string, Flag>>>> = {
  status: { output: outputs('table', 'json', 'yaml'), ...connectionFlags },
  blocked: {
    source: {},
    node: { complete: 'nodes' },
    policy: { complete: 'policies' },
    output: outputs('table', 'wide', 'json', 'yaml'),
    ...connectionFlags,
  },
  explain: { output: outputs('text', 'json', 'yaml'), ...connectionFlags },
  unblock: {
    for: {},
    policy: { complete: 'policies', isRepeatable: true },
    reason: {},
    wait: {},
    'dry-run': { isSwitch: true },
    ...connectionFlags,
  },
  block: {
    for: {},
    reason: {},
    'node-selector': {},
    wait: {},
    'dry-run': { isSwitch: true },
    ...connectionFlags,
  },
  check: { server: { isSwitch: true }, output: outputs('text', 'json', 'yaml'), ...connectionFlags },
  completion: {},
};

/** Reads a command line without the interpreter and the script. Pure. Throws UnknownSetting, BadSetting, NotAnAddress, TooWide. */
export function parseCommandLine(argv: readonly string[]): Command {
  const [first, ...rest] = argv;
  if (first === undefined) return { name: 'help', text: overviewHelp(), exitCode: 2 };
  if (first === '--help' || first === '-h') return { name: 'help', text: overviewHelp(), exitCode: 0 };
  if (first === '--version' || first === 'version') return { name: 'version' };
  if (first === '__complete') return { name: 'complete', words: rest };
  if (first === 'help' && rest.length <= 1) {
    const helped = rest[0] === undefined ? overviewHelp() : commandHelp(commandName(rest[0]));
    return { name: 'help', text: helped, exitCode: 0 };
  }
  const command = commandName(first);
  const typed = { program, name: command };
  const given = new Given(typed, readFlags(typed, flagsOf[command], rest));
  if (given.help) return { name: 'help', text: commandHelp(command), exitCode: 0 };
  return readCommand(command, given);
}

function readCommand(command: CommandName, given: Given): Command {
  const connection = readConnection(given);
  switch (command) {
    case 'status':
      given.take([]);
      return { name: command, connection, options: { output: given.output(['table', 'json', 'yaml']) } };
    case 'blocked': {
      given.take([]);
      const source = given.value('source', sourceForm);
      return {
        name: command,
        connection,
        options: {
          output: given.output(['table', 'wide', 'json', 'yaml']),
          source: source === undefined ? undefined : parsePrefixOrAddress(source),
          node: given.value('node', name),
          policy: given.value('policy', policyName),
        },
      };
    }
    case 'explain':
      return {
        name: command,
        connection,
        options: { source: readSource(given.take(['SOURCE'])[0]!), output: given.output(['text', 'json', 'yaml']) },
      };
    case 'unblock':
      return { name: command, connection, options: readUnblock(given) };
    case 'block':
      return { name: command, connection, options: readBlock(given) };
    case 'check': {
      if (given.positionals.length === 0) given.take(['FILE']);
      const options = { paths: given.positionals, output: given.output(['text', 'json', 'yaml']) };
      return { name: command, connection, server: given.has('server'), options };
    }
    case 'completion':
      return { name: command, shell: readValue(oneOf(shells), given.take(['SHELL'])[0]!, 'SHELL') };
  }
}

function readConnection(given: Given): Connection {
  const kubeconfig = given.value('kubeconfig', anyText);
  const context = given.value('context', anyText);
  return {
    ...(kubeconfig !== undefined && { kubeconfig }),
    ...(context !== undefined && { context }),
    requestTimeoutMs: given.value('request-timeout', shortDuration) || defaultRequestTimeoutMs,
  };
}

function readUnblock(given: Given): UnblockOptions {
  const source = readSource(given.take(['SOURCE'])[0]!);
  refuseWide(source, 'Let in /8 (IPv6: /16) or narrower, or delete the policy.');
  return {
    source,
    durationMs: given.value('for', blockDuration) ?? 3_600_000,
    policies: [...new Set(given.values('policy', name))],
    reason: given.value('reason', text(128)),
    waitMs: given.value('wait', shortDuration) ?? defaultWaitMs,
    dryRun: given.has('dry-run'),
  };
}

function readBlock(given: Given): BlockOptions {
  const source = readSource(given.take(['SOURCE'])[0]!);
  refuseWide(source, 'Block /8 (IPv6: /16) or narrower, or write an IpBlocklist with spec.allowWide.');
  const durationMs = given.value('for', blockDuration);
  if (durationMs === undefined) {
    throw new PortcullisError('BadSetting', 'block: --for is missing', {
      field: '--for',
      remedy: 'Say how long, such as --for 1h; a block by hand always ends.',
    });
  }
  return {
    source,
    durationMs,
    reason: given.value('reason', text(32)),
    nodeLabels: given.value('node-selector', labels) ?? {},
    waitMs: given.value('wait', shortDuration) ?? defaultWaitMs,
    dryRun: given.has('dry-run'),
  };
}

function refuseWide(source: Prefix, remedy: string): void {
  if (source.length >= minLength[source.family]) return;
  throw new PortcullisError('TooWide', `/${source.length} is wider than /${minLength[source.family]}`, {
    field: 'SOURCE',
    remedy,
  });
}

function readSource(given: string): Prefix {
  const value = sourceForm.read(given);
  if (value !== undefined) return parsePrefixOrAddress(value)!;
  const suggestion = sourceForm.suggest?.(given);
  throw new PortcullisError('NotAnAddress', `${JSON.stringify(given)} is not ${sourceForm.allowed}`, {
    field: 'SOURCE',
    value: given,
    ...(suggestion === undefined ? {} : { remedy: `Write ${suggestion}.` }),
  });
}

const commandName = (given: string): CommandName => readCommandName(given, commandNames, `${program} status`);

/** The words behind a command. */
class Given {
  readonly positionals: readonly string[];
  readonly help: boolean;
  readonly #command: TypedCommand;
  readonly #values: GivenFlags['values'];

  constructor(command: TypedCommand, { values, positionals, help }: GivenFlags) {
    this.#command = command;
    this.#values = values;
    this.positionals = positionals;
    this.help = help;
  }

  has(flag: string): boolean {
    return this.#values.has(flag);
  }

  /** The last one holds, so that a wrapper's arguments can be overridden by appending. */
  value<T>(flag: string, form: ValueForm<T>): T | undefined {
    const given = this.#values.get(flag)?.at(-1);
    return given === undefined ? undefined : readValue(form, given, `--${flag}`);
  }

  /** Of a flag that is repeated, or given once with commas. */
  values<T>(flag: string, form: ValueForm<T>): T[] {
    const given = (this.#values.get(flag) ?? []).flatMap((each) => each.split(','));
    return given.map((each) => readValue(form, each, `--${flag}`));
  }

  output<const V extends string>(values: readonly [V, ...V[]]): V {
    return this.value('output', oneOf(values)) ?? values[0];
  }

  /** The arguments, exactly as many as there are names. */
  take(names: readonly string[]): readonly string[] {
    return takeArguments(this.#command, this.positionals, names);
  }
}
