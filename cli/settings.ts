import { type FlagSyntax, type GivenFlags, readValue } from './flags.ts';
import type { ValueForm } from './setting-values.ts';

/** One setting of a program, as a flag and as an environment variable. */
export interface Setting<T> {
  /** Without the leading dashes. */
  readonly flag: string;
  /** Heading in --help and in the documentation. */
  readonly group: string;
  readonly form: ValueForm<Exclude<T, undefined>>;
  /** As it would be written on the command line; absent when there is none. */
  readonly default?: string;
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

/** How the settings are written as flags. */
export function syntaxOf<S extends object>(table: SettingTable<S>): Readonly<Record<string, FlagSyntax>> {
  const all = Object.values<Setting<unknown>>(table);
  return Object.fromEntries(all.map(({ flag, form }) => [flag, form.isToggle === true ? { isToggle: true } : {}]));
}

/** A flag wins over its variable. Throws BadSetting. */
export function readSettings<S extends object>(
  table: SettingTable<S>,
  values: GivenFlags['values'],
  env: Environment,
): S {
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries<Setting<unknown>>(table)) {
    settings[name] = readSetting(setting, values, env);
  }
  // The table has exactly the keys of S, each of its type.
  return settings as S;
}

export function readSetting<T>(setting: Setting<T>, values: GivenFlags['values'], env: Environment): T {
  const { flag, form } = setting;
  const flags = values.get(flag);
  const variable = environmentName(flag);
  const fromEnv = env[variable];
  if (flags !== undefined) {
    // The last one holds, so that a wrapper's arguments can be overridden by appending.
    const text = setting.repeatable === true ? flags.filter((value) => value !== '').join(',') : flags.at(-1)!;
    return readValue<unknown>(form, text, `--${flag}`) as T;
  }
  // An empty variable is as good as none.
  if (fromEnv !== undefined && fromEnv !== '') return readValue<unknown>(form, fromEnv, variable) as T;
  // Only a setting whose type takes undefined has no default.
  if (setting.default === undefined) return undefined as T;
  return readValue<unknown>(form, setting.default, `--${flag}`) as T;
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
  return `  ${`--${flag} ${form.placeholder}`.trimEnd()}\n${wrap(description + repeat, 6)}${wrap(notes.join(' '), 6)}`;
}

function defaultNote(setting: Setting<unknown>): string {
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
