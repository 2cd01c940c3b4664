import { parsePrefixOrAddress } from '../api/cidr.ts';
import { PortcullisError } from '../api/errors.ts';
import {
  type FlagSyntax,
  type GivenFlags,
  readCommandName,
  readFlags,
  readValue,
  takeArguments,
} from '../cli/flags.ts';
import { checkMetricsSettings } from '../cli/metrics-settings.ts';
import { blockDuration, blockReason, oneOf, source } from '../cli/setting-values.ts';
import {
  type Environment,
  environmentName,
  readSetting,
  readSettings,
  type Setting,
  syntaxOf,
} from '../cli/settings.ts';
import { type CommandName, commandHelp, commandNames, overviewHelp } from './help.ts';
import { type RunSettings, settingTable } from './settings-table.ts';

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

const program = 'portcullis-agent';

/** As for the entries of a list: nobody cuts off an eighth of the Internet by leaving a digit out. */
const minLength = { 4: 8, 6: 16 } as const;

const output: FlagSyntax = { short: 'o' };

const flagsOf: Readonly<Record<CommandName, Readonly<Record<string, FlagSyntax>>>> = {
  run: syntaxOf(settingTable),
  check: { output },
  status: { output, 'pin-path': {} },
  blocked: { output, 'pin-path': {} },
  block: { for: {}, reason: {}, 'pin-path': {} },
  unblock: { state: {}, 'pin-path': {} },
  detach: { 'pin-path': {} },
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
  const command = { program, name };
  const given = readFlags(command, flagsOf[name], rest);
  if (given.help) return { name: 'help', text: commandHelp(name), exitCode: 0 };
  switch (name) {
    case 'run':
      takeArguments(command, given.positionals, []);
      return { name, settings: readRunSettings(given.values, env) };
    case 'check': {
      const [directory] = takeArguments(command, given.positionals, ['DIR']);
      return { name, directory: directory!, output: readOutput(given.values, ['text', 'json']) };
    }
    case 'status':
      takeArguments(command, given.positionals, []);
      return { name, pinPath: readPinPath(given.values, env), output: readOutput(given.values, ['text', 'json']) };
    case 'blocked':
      takeArguments(command, given.positionals, []);
      return {
        name,
        pinPath: readPinPath(given.values, env),
        output: readOutput(given.values, ['table', 'wide', 'json']),
      };
    case 'block': {
      const [text] = takeArguments(command, given.positionals, ['SOURCE']);
      const pinPath = readPinPath(given.values, env);
      return { name, pinPath, source: readBlockedSource(text!), ...readBlock(given.values) };
    }
    case 'unblock': {
      const [text] = takeArguments(command, given.positionals, ['SOURCE']);
      const pinPath = readPinPath(given.values, env);
      return { name, pinPath, source: readSource(text!), stateDir: readSetting(settingTable.state, given.values, env) };
    }
    case 'detach':
      takeArguments(command, given.positionals, []);
      return { name, pinPath: readPinPath(given.values, env) };
  }
}

const commandName = (text: string): CommandName => readCommandName(text, commandNames, `${program} run`);

function readRunSettings(values: GivenFlags['values'], env: Environment): RunSettings {
  const read = readSettings(settingTable, values, env);
  checkSource(read);
  checkMetricsSettings(read);
  return read;
}

/** Policies come from a directory or from an API server, and each has settings of its own. */
function checkSource(settings: RunSettings): void {
  const { policies, kubernetes, nodeName, kubeconfig, nodeLabels, metricsAuthorization } = settings;
  const refuse = (flag: string, problem: string, remedy: string) =>
    new PortcullisError('BadSetting', `--${flag} ${problem}`, { field: `--${flag}`, remedy });
  if (!kubernetes) {
    if (policies === undefined)
      throw missing(settingTable.policies, ', or --kubernetes to take them from an API server');
    if (nodeName !== undefined) throw refuse('node-name', 'has no meaning without --kubernetes', 'Leave it out.');
    if (kubeconfig !== undefined) throw refuse('kubeconfig', 'has no meaning without --kubernetes', 'Leave it out.');
    if (metricsAuthorization === 'TokenReview') {
      const remedy = 'Leave it out, and let --metrics-address or a firewall keep others out.';
      throw refuse('metrics-authorization', 'TokenReview asks an API server, and needs --kubernetes', remedy);
    }
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
