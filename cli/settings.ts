import { parseArgs } from 'node:util';
import type { ValueForm } from '../agent/setting-values.ts';
import { PortcullisError } from '../api/errors.ts';
import { nearest } from '../api/nearest.ts';

/** One setting of a program, as a flag and as an environment variable. */
export interface Setting<T> {
  /** Without the leading dashes. */
  readonly flag: string;
  /** Heading in --help and in the documentation. */
  readonly group: string;
  readonly form: ValueForm<Exclude<T, undefined>>;
  /** As it would be written on the command line; absent when there is none. */
  readonly default?: string;
  readonly required?: true;
  /** The flag may be repeated: the values are joined by commas. */
  readonly repeatable?: true;
  readonly description: string;
}

/** In the order in which they are shown. */
export type SettingTable<S> = { readonly [K in keyof S]: Setting<S[K]> };

export type Environment = Readonly<Record<string, string | undefined>>;

/** The environment variable of a flag: `pin-path` is PORTCULLIS_PIN_PATH. */
export function environmentName(flag: string): string {
  return `PORTCULLIS_${flag.toUpperCase().replaceAll('-', '_')}`;
}

/** Undefined when the arguments ask for help. */
export function readSettings<S extends object>(
  /** What is to be typed, such as `portcullis-operator run`. */
  command: string,
  table: SettingTable<S>,
  args: readonly string[],
  env: Environment,
): S | undefined {
  const all = Object.entries<Setting<unknown>>(table);
  const flags = all.map(([, setting]) => setting.flag);
  const given = readFlags(command, flags, args);
  if (given === 'help') return undefined;
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of all) settings[name] = readSetting(setting, given.get(setting.flag), env);
  // The table has exactly the keys of S, each of its type.
  return settings as S;
}

function readFlags(
  command: string,
  flags: readonly string[],
  args: readonly string[],
): ReadonlyMap<string, readonly string[]> | 'help' {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(flags.map((flag) => [flag, { type: 'string' }])),
    },
  });
  const values = new Map<string, string[]>();
  let help = false;
  for (const token of tokens) {
    if (token.kind === 'positional') {
      throw new PortcullisError('BadSetting', `${JSON.stringify(token.value)} is one argument too many`, {
        value: token.value,
        remedy: `${command} takes flags alone; ${command} --help lists them.`,
      });
    }
    if (token.kind !== 'option') continue;
    if (token.name === 'help') help = true;
    else if (!flags.includes(token.name)) throw unknownFlag(command, flags, token.rawName);
    else {
      // `--namespace --workers 2` is a value forgotten, not a namespace named "--workers".
      if (token.value === undefined || (!token.inlineValue && /^-./.test(token.value))) {
        throw missingValue(token.rawName);
      }
      values.set(token.name, [...(values.get(token.name) ?? []), token.value]);
    }
  }
  return help ? 'help' : values;
}

function unknownFlag(command: string, flags: readonly string[], rawName: string): PortcullisError {
  const word = rawName.replace(/^--no-|^-+/, '');
  // A shortened name, such as `metrics` for `metrics-address`, is far away by letters alone.
  const close = nearest(word, flags) ?? flags.find((flag) => word !== '' && flag.includes(word));
  const list = `${command} --help lists all flags.`;
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

function readSetting(setting: Setting<unknown>, flags: readonly string[] | undefined, env: Environment): unknown {
  const { flag, form } = setting;
  const variable = environmentName(flag);
  if (flags !== undefined) {
    // The last one holds, so that a wrapper's arguments can be overridden by appending.
    const text = setting.repeatable === true ? flags.filter((value) => value !== '').join(',') : flags.at(-1)!;
    return readValue(form, text, `--${flag}`);
  }
  const fromEnv = env[variable];
  // An empty variable is as good as none.
  if (fromEnv !== undefined && fromEnv !== '') return readValue(form, fromEnv, variable);
  if (setting.required === true) {
    throw new PortcullisError('BadSetting', `--${flag} is missing`, {
      field: `--${flag}`,
      remedy: `Give --${flag} ${form.placeholder}, or set ${variable}.`,
    });
  }
  return setting.default === undefined ? undefined : readValue(form, setting.default, `--${flag}`);
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

/** All flags with what they take, for --help. */
export function settingsHelp<S extends object>(table: SettingTable<S>): string {
  let text = '';
  let group = '';
  for (const setting of Object.values<Setting<unknown>>(table)) {
    if (setting.group !== group) text += `\n${setting.group}:\n`;
    group = setting.group;
    text += flagHelp(setting);
  }
  return `${text}\n  -h, --help\n      Show this text.\n`;
}

function flagHelp(setting: Setting<unknown>): string {
  const { flag, form, description } = setting;
  const notes = [`${sentence(form.allowed)}.`, defaultNote(setting), `${environmentName(flag)}.`];
  const repeat = setting.repeatable === true ? ' May be repeated.' : '';
  return `  --${flag} ${form.placeholder}\n${wrap(description + repeat, 6)}${wrap(notes.join(' '), 6)}`;
}

function defaultNote(setting: Setting<unknown>): string {
  if (setting.required === true) return 'Required.';
  return setting.default === undefined || setting.default === '' ? 'Default none.' : `Default ${setting.default}.`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function wrap(text: string, indent: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > 100) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((part) => `${' '.repeat(indent)}${part}\n`).join('');
}
