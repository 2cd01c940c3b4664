import { parseArgs } from 'node:util';
import { parsePrefixOrAddress } from '../api/cidr.ts';
import { PortcullisError } from '../api/errors.ts';
import { nearest } from '../api/nearest.ts';
import { type CommandName, commandHelp, commandNames, overviewHelp } from './help.ts';
import { blockDuration, blockReason, oneOf, source, type ValueForm } from './setting-values.ts';
import { environmentName, type RunSettings, type Setting, settingTable } from './settings-table.ts';

export { type RunSettings, trackingDomains } from './settings-table.ts';

/** What a command line asks for, fully checked. */
export type Command =
  | { readonly name: 'help'; readonly text: string; readonly exitCode: 0 | 2 }
  | { readonly name: 'version' }
  | { readonly name: 'run'; readonly settings: RunSettings }
  | { readonly name: 'check'; readonly directory: string; readonly output: 'text' | 'json' }
  | { readonly name: 'status'; readonly pinPath: string; readonly output: 'text' | 'json' }
  | { readonly name: 'blocked'; readonly pinPath: string; readonly output: 'table' | 'wide' | 'json' }
  | {
      readonly name: 'block';
      readonly pinPath: string;
      /** Canonical address, or prefix without host bits. */
      readonly source: string;
      readonly durationMs: number;
      readonly reason: string;
    }
  | {
      readonly name: 'unblock';
      readonly pinPath: string;
      readonly source: string;
      readonly stateDir: string | undefined;
    }
  | { readonly name: 'detach'; readonly pinPath: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** As for the entries of a list: nobody cuts off an eighth of the Internet by leaving a digit out. */
const minLength = { 4: 8, 6: 16 } as const;

/** Flags that stand alone. */
const toggles: readonly string[] = Object.values<Setting<unknown>>(settingTable)
  .filter(({ form }) => form.isToggle === true)
  .map(({ flag }) => flag);

const flagsOf: Readonly<Record<CommandName, readonly string[]>> = {
  run: Object.values(settingTable).map((setting) => setting.flag),
  check: ['output'],
  status: ['output', 'pin-path'],
  blocked: ['output', 'pin-path'],
  block: ['for', 'reason', 'pin-path'],
  unblock: ['state', 'pin-path'],
  detach: ['pin-path'],
};

/**
 * Reads a command line (without the interpreter and the script) and the environment; a flag wins over its variable, and an
 * empty variable is as good as none. Pure. Throws UnknownSetting, BadSetting, NotAnAddress or TooWide.
 */
export function parseCommandLine(argv: readonly string[], env: Environment): Command {
  const [first, ...rest] = argv;
  if (first === undefined) return { name: 'help', text: overviewHelp(), exitCode: 2 };
  if (first === '--help' || first === '-h') return { name: 'help', text: overviewHelp(), exitCode: 0 };
  if (first === '--version') return { name: 'version' };
  if (first === 'help' && rest.length <= 1) {
    return {
      name: 'help',
      text: rest[0] === undefined ? overviewHelp() : commandHelp(commandName(rest[0])),
      exitCode: 0,
    };
  }
  const name = commandName(first);
  const given = readFlags(name, rest);
  if (given.help) return { name: 'help', text: commandHelp(name), exitCode: 0 };
  switch (name) {
    case 'run':
      takeArguments(name, given.positionals, []);
      return { name, settings: readRunSettings(given.values, env) };
    case 'check': {
      const [directory] = takeArguments(name, given.positionals, ['DIR']);
      return { name, directory: directory!, output: readOutput(given.values, ['text', 'json']) };
    }
    case 'status':
      takeArguments(name, given.positionals, []);
      return { name, pinPath: readPinPath(given.values, env), output: readOutput(given.values, ['text', 'json']) };
    case 'blocked':
      takeArguments(name, given.positionals, []);
      return {
        name,
        pinPath: readPinPath(given.values, env),
        output: readOutput(given.values, ['table', 'wide', 'json']),
      };
    case 'block': {
      const [text] = takeArguments(name, given.positionals, ['SOURCE']);
      const pinPath = readPinPath(given.values, env);
      return { name, pinPath, source: readBlockedSource(text!), ...readBlock(given.values) };
    }
    case 'unblock': {
      const [text] = takeArguments(name, given.positionals, ['SOURCE']);
      const pinPath = readPinPath(given.values, env);
      return { name, pinPath, source: readSource(text!), stateDir: readSetting(settingTable.state, given.values, env) };
    }
    case 'detach':
      takeArguments(name, given.positionals, []);
      return { name, pinPath: readPinPath(given.values, env) };
  }
}

function commandName(text: string): CommandName {
  const name = commandNames.find((known) => known === text);
  if (name !== undefined) return name;
  if (text.startsWith('-')) {
    throw new PortcullisError('UnknownSetting', `${text}: a command must come first`, {
      field: text,
      remedy: `Write a command before the flags, such as: portcullis-agent run ${text}`,
    });
  }
  const close = nearest(text, commandNames);
  throw new PortcullisError('UnknownSetting', `${JSON.stringify(text)} is no command`, {
    value: text,
    remedy: close === undefined ? `The commands are ${commandNames.join(', ')}.` : `Did you mean ${close}?`,
  });
}

interface GivenFlags {
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly positionals: readonly string[];
  readonly help: boolean;
}

function readFlags(command: CommandName, args: readonly string[]): GivenFlags {
  const flags = flagsOf[command];
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(
        flags.map((flag) => [
          flag,
          { type: toggles.includes(flag) ? 'boolean' : 'string', ...(flag === 'output' ? { short: 'o' } : {}) },
        ]),
      ),
    },
  });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  let help = false;
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    if (token.name === 'help') help = true;
    else if (!flags.includes(token.name)) throw unknownFlag(command, token.rawName);
    else if (token.value === undefined && toggles.includes(token.name)) values.set(token.name, ['true']);
    else {
      // `--state --pin-path X` is a value forgotten, not a directory named "--pin-path".
      if (token.value === undefined || (!token.inlineValue && /^-./.test(token.value)))
        throw missingValue(token.rawName);
      values.set(token.name, [...(values.get(token.name) ?? []), token.value]);
    }
  }
  return { values, positionals, help };
}

function unknownFlag(command: CommandName, rawName: string): PortcullisError {
  const word = rawName.replace(/^--no-|^-+/, '');
  // A shortened name, such as `metrics` for `metrics-address`, is far away by letters alone.
  const close = nearest(word, flagsOf[command]) ?? flagsOf[command].find((flag) => word !== '' && flag.includes(word));
  const list = `portcullis-agent ${command} --help lists all flags.`;
  return new PortcullisError('UnknownSetting', `${rawName} is no flag of ${command}`, {
    field: rawName,
    remedy: close === undefined ? list : `Did you mean --${close}? ${list}`,
  });
}

function missingValue(rawName: string): PortcullisError {
  return new PortcullisError('BadSetting', `${rawName} has no value`, {
    field: rawName,
    remedy: `Write a value behind it; one that begins with a dash is written ${rawName}=VALUE.`,
  });
}

function takeArguments(command: CommandName, given: readonly string[], names: readonly string[]): readonly string[] {
  if (given.length === names.length) return given;
  const extra = given[names.length];
  const problem =
    extra === undefined ? `${names[given.length]} is missing` : `${JSON.stringify(extra)} is one argument too many`;
  throw new PortcullisError('BadSetting', `${command}: ${problem}`, {
    ...(extra === undefined ? { field: names[given.length]! } : { value: extra }),
    remedy: `Write: portcullis-agent ${[command, ...names].join(' ')}; ${command} --help tells more.`,
  });
}

function readRunSettings(values: GivenFlags['values'], env: Environment): RunSettings {
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries<Setting<unknown>>(settingTable)) {
    settings[name] = readSetting(setting, values, env);
  }
  // settingTable has exactly the keys of RunSettings, each of its type.
  const read = settings as unknown as RunSettings;
  checkSource(read);
  return read;
}

/** Policies come from a directory or from an API server, and each has settings of its own. */
function checkSource(settings: RunSettings): void {
  const { policies, kubernetes, nodeName, kubeconfig, nodeLabels } = settings;
  const refuse = (flag: string, problem: string, remedy: string) =>
    new PortcullisError('BadSetting', `--${flag} ${problem}`, { field: `--${flag}`, remedy });
  if (!kubernetes) {
    if (policies === undefined)
      throw missing(settingTable.policies, ', or --kubernetes to take them from an API server');
    if (nodeName !== undefined) throw refuse('node-name', 'has no meaning without --kubernetes', 'Leave it out.');
    if (kubeconfig !== undefined) throw refuse('kubeconfig', 'has no meaning without --kubernetes', 'Leave it out.');
    return;
  }
  if (policies !== undefined) {
    throw refuse('policies', 'and --kubernetes exclude each other', 'Give one of the two, as a flag or as a variable.');
  }
  if (nodeName === undefined) throw missing(settingTable.nodeName);
  if (Object.keys(nodeLabels).length > 0) {
    throw refuse('node-labels', 'has no meaning with --kubernetes', 'Leave it out, and label the Node.');
  }
}

function missing({ flag, form }: Setting<string | undefined>, or = ''): PortcullisError {
  return new PortcullisError('BadSetting', `--${flag} is missing`, {
    field: `--${flag}`,
    remedy: `Give --${flag} ${form.placeholder}, or set ${environmentName(flag)}${or}.`,
  });
}

function readSetting<T>(setting: Setting<T>, values: GivenFlags['values'], env: Environment): T {
  const { flag, form } = setting;
  const flags = values.get(flag);
  const variable = environmentName(flag);
  const fromEnv = env[variable] === '' ? undefined : env[variable];
  if (flags !== undefined) {
    // The last one holds, so that a wrapper's arguments can be overridden by appending.
    const text = setting.repeatable === true ? flags.filter((value) => value !== '').join(',') : flags.at(-1)!;
    return readValue<unknown>(form, text, `--${flag}`) as T;
  }
  if (fromEnv !== undefined) return readValue<unknown>(form, fromEnv, variable) as T;
  // Only a setting whose type takes undefined has no default.
  if (setting.default === undefined) return undefined as T;
  return readValue<unknown>(form, setting.default, `--${flag}`) as T;
}

function readValue<T>(form: ValueForm<T>, text: string, givenAs: string): T {
  const value = form.read(text);
  if (value !== undefined) return value;
  const suggestion = form.suggest?.(text);
  const usable = suggestion !== undefined && form.read(suggestion) !== undefined;
  throw new PortcullisError('BadSetting', `${givenAs} ${JSON.stringify(text)} must be ${form.allowed}`, {
    field: givenAs,
    value: text,
    remedy: usable ? `Write ${givenAs}=${suggestion}.` : `Give ${form.allowed}.`,
  });
}

function readPinPath(values: GivenFlags['values'], env: Environment): string {
  return readSetting(settingTable.pinPath, values, env);
}

function readOutput<const V extends string>(values: GivenFlags['values'], outputs: readonly [V, ...V[]]): V {
  const text = values.get('output')?.at(-1);
  return text === undefined ? outputs[0] : readValue(oneOf(outputs), text, '--output');
}

function readSource(text: string): string {
  const value = source.read(text);
  if (value !== undefined) return value;
  const suggestion = source.suggest?.(text);
  throw new PortcullisError('NotAnAddress', `${JSON.stringify(text)} is not ${source.allowed}`, {
    field: 'SOURCE',
    value: text,
    ...(suggestion === undefined ? {} : { remedy: `Write ${suggestion}.` }),
  });
}

function readBlockedSource(text: string): string {
  const value = readSource(text);
  const { family, length } = parsePrefixOrAddress(value)!;
  if (length >= minLength[family]) return value;
  throw new PortcullisError('TooWide', `${value} is wider than /${minLength[family]}`, {
    field: 'SOURCE',
    value,
    remedy: `Block /${minLength[family]} or narrower, or write an IpBlocklist with spec.allowWide.`,
  });
}

function readBlock(values: GivenFlags['values']): { durationMs: number; reason: string } {
  const duration = values.get('for')?.at(-1);
  const reason = values.get('reason')?.at(-1);
  if (duration === undefined || reason === undefined) {
    const flag = duration === undefined ? '--for' : '--reason';
    throw new PortcullisError('BadSetting', `block: ${flag} is missing`, {
      field: flag,
      remedy:
        duration === undefined
          ? 'Say how long, such as --for 1h; a block by hand always ends.'
          : 'Say why, such as --reason "credential stuffing"; it is shown wherever the block is.',
    });
  }
  return {
    durationMs: readValue(blockDuration, duration, '--for'),
    reason: readValue(blockReason, reason, '--reason'),
  };
}
