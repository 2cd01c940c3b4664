import { parseArgs } from 'node:util';
import { PortcullisError } from '../api/errors.ts';
import { nearest } from '../api/nearest.ts';
import type { ValueForm } from './setting-values.ts';

/** How a flag is written. */
export interface FlagSyntax {
  /** One letter. */
  readonly short?: string;
  /** Takes no value. */
  readonly isSwitch?: true;
  /** Alone says true; may have a value. */
  readonly isToggle?: true;
}

/** The words behind a command, told apart. */
export interface GivenFlags {
  /** By flag; a switch has an empty text. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly positionals: readonly string[];
  /** --help or -h is among them. */
  readonly help: boolean;
}

/** A command as it is typed, such as `portcullis-agent` and `block`. */
export interface TypedCommand {
  readonly program: string;
  readonly name: string;
}

/** Throws UnknownSetting or BadSetting. */
export function readFlags(
  command: TypedCommand,
  flags: Readonly<Record<string, FlagSyntax>>,
  args: readonly string[],
): GivenFlags {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      ...Object.fromEntries(
        Object.entries(flags).map(([flag, { isSwitch, isToggle, short }]) => [
          flag,
          { type: isSwitch || isToggle ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) },
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
    const { name, rawName, value } = token;
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (name === 'help') help = true;
    else if (flag === undefined) throw unknownFlag(command, Object.keys(flags), rawName);
    else if (flag.isSwitch) {
      if (value !== undefined) throw surplusValue(rawName);
      values.set(name, ['']);
    } else if (flag.isToggle && value === undefined) values.set(name, ['true']);
    else {
      // `--state --pin-path X` is a value forgotten, not a directory named "--pin-path".
      if (value === undefined || (!token.inlineValue && /^-./.test(value))) throw missingValue(rawName);
      values.set(name, [...(values.get(name) ?? []), value]);
    }
  }
  return { values, positionals, help };
}

function unknownFlag({ program, name }: TypedCommand, flags: readonly string[], rawName: string): PortcullisError {
  const word = rawName.replace(/^--no-|^-+/, '');
  // A shortened name, such as `metrics` for `metrics-address`, is far away by letters alone.
  const close = nearest(word, flags) ?? flags.find((flag) => word.length > 1 && flag.includes(word));
  const list = `${program} ${name} --help lists all flags.`;
  return new PortcullisError('UnknownSetting', `${rawName} is no flag of ${name}`, {
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

function surplusValue(rawName: string): PortcullisError {
  return new PortcullisError('BadSetting', `${rawName} takes no value`, {
    field: rawName,
    remedy: `Write ${rawName}.`,
  });
}

/** Gives the arguments back when there are exactly as many as names. Throws BadSetting. */
export function takeArguments(
  { program, name }: TypedCommand,
  given: readonly string[],
  names: readonly string[],
): readonly string[] {
  if (given.length === names.length) return given;
  const extra = given[names.length];
  const problem =
    extra === undefined ? `${names[given.length]} is missing` : `${JSON.stringify(extra)} is one argument too many`;
  throw new PortcullisError('BadSetting', `${name}: ${problem}`, {
    ...(extra === undefined ? { field: names[given.length]! } : { value: extra }),
    remedy: `Write: ${[program, name, ...names].join(' ')}; ${name} --help tells more.`,
  });
}

/** Which of the commands a word is. Throws UnknownSetting. */
export function readCommandName<const N extends string>(given: string, names: readonly N[], example: string): N {
  const known = names.find((each) => each === given);
  if (known !== undefined) return known;
  if (given.startsWith('-')) {
    throw new PortcullisError('UnknownSetting', `${given}: a command must come first`, {
      field: given,
      remedy: `Write a command before the flags, such as: ${example} ${given}`,
    });
  }
  const close = nearest(given, names);
  const all = names.length === 1 ? `The command is ${names[0]}.` : `The commands are ${names.join(', ')}.`;
  throw new PortcullisError('UnknownSetting', `${JSON.stringify(given)} is no command`, {
    value: given,
    remedy: close === undefined ? all : `Did you mean ${close}?`,
  });
}

/** `givenAs`: a flag, a variable or the name of an argument. Throws BadSetting. */
export function readValue<T>(form: ValueForm<T>, given: string, givenAs: string): T {
  const value = form.read(given);
  if (value !== undefined) return value;
  const suggestion = form.suggest?.(given);
  const isUsable = suggestion !== undefined && form.read(suggestion) !== undefined;
  const written = /^(--|PORTCULLIS_)/.test(givenAs) ? `${givenAs}=${suggestion}` : `${givenAs} ${suggestion}`;
  throw new PortcullisError('BadSetting', `${givenAs} ${JSON.stringify(given)} must be ${form.allowed}`, {
    field: givenAs,
    value: given,
    remedy: isUsable ? `Write ${written}.` : `Give ${form.allowed}.`,
  });
}
