import { addressBits, formatAddress, formatPrefix, masked, parseAddress, parsePrefixOrAddress } from '../api/cidr.ts';
import { formatDuration, parseDuration } from '../api/duration.ts';
import { isLabelKey, isLabelValue } from '../api/label-selector.ts';
import { grouped } from './format-text.ts';

/** The form of a value on the command line or in the environment. */
export interface ValueForm<T> {
  /** Stands for the value in --help, such as `DIR`. */
  readonly placeholder: string;
  /** Which values are taken, in words that fit behind "must be". */
  readonly allowed: string;
  /** Undefined when the text is not allowed. */
  readonly read: (text: string) => T | undefined;
  /** A spelling that would be taken instead of the text at fault, where there is one. */
  readonly suggest?: (text: string) => string | undefined;
  /** The flag alone says true. */
  readonly isToggle?: true;
}

export const toggle: ValueForm<boolean> = {
  placeholder: '',
  allowed: 'true or false',
  read: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  suggest: (text) =>
    ({ 1: 'true', yes: 'true', on: 'true', 0: 'false', no: 'false', off: 'false' })[text.toLowerCase()],
  isToggle: true,
};

// NUL ends a path for the kernel, so what follows it would be lost in silence.
const usablePath = /^[^\0]{1,4096}$/;

export function path(placeholder: string): ValueForm<string> {
  return {
    placeholder,
    allowed: 'a path of at most 4,096 characters',
    read: (text) => (usablePath.test(text) ? text : undefined),
  };
}

export function absolutePath(placeholder: string): ValueForm<string> {
  return {
    placeholder,
    allowed: 'an absolute path of at most 4,096 characters',
    read: (text) => (usablePath.test(text) && text.startsWith('/') ? text : undefined),
    suggest: (text) => (usablePath.test(text) ? `/${text}` : undefined),
  };
}

export function oneOf<const V extends string>(values: readonly V[]): ValueForm<V> {
  return {
    placeholder: values.join('|'),
    allowed: `one of ${values.join(', ')}`,
    read: (text) => values.find((value) => value === text),
    suggest: (text) => values.find((value) => value === text.trim().toLowerCase()),
  };
}

function readInteger(text: string): number | undefined {
  return /^(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : undefined;
}

export function integer(min: number, max: number): ValueForm<number> {
  return {
    placeholder: 'N',
    allowed: `a whole number from ${grouped(min)} to ${grouped(max)}`,
    read: (text) => inRange(readInteger(text), min, max),
    suggest: (text) => (/^\d[\d,_]*$/.test(text) ? text.replace(/[,_]/g, '').replace(/^0+(?=\d)/, '') : undefined),
  };
}

export function powerOfTwo(min: number, max: number): ValueForm<number> {
  return {
    placeholder: 'N',
    allowed: `a power of two from ${grouped(min)} to ${grouped(max)}`,
    read: (text) => {
      const value = inRange(readInteger(text), min, max);
      return value !== undefined && Number.isInteger(Math.log2(value)) ? value : undefined;
    },
    suggest: (text) => {
      const value = inRange(readInteger(text), min, max);
      return value === undefined ? undefined : String(nextPowerOfTwo(value));
    },
  };
}

export function nextPowerOfTwo(value: number): number {
  return 2 ** Math.ceil(Math.log2(value));
}

function inRange(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

export interface ListenAddress {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
}

/** `off` is given as null, so that it differs from a setting that is absent. */
export const listenAddress: ValueForm<ListenAddress | null> = {
  placeholder: 'HOST:PORT|off',
  allowed: 'an address and a port, such as 127.0.0.1:9469 or [::1]:9469, or off',
  read: (text) => {
    if (text === 'off') return null;
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)):(\d{1,5})$/.exec(text);
    if (match === null) return undefined;
    const [, bracketed, plain, digits] = match;
    const port = inRange(readInteger(digits!), 0, 65_535);
    if (port === undefined) return undefined;
    if (plain === 'localhost') return { host: plain, port };
    const family = bracketed === undefined ? 4 : 6;
    const address = parseAddress(bracketed ?? plain!);
    return address?.family === family ? { host: formatAddress(address), port } : undefined;
  },
  suggest: (text) => (/^\d{1,5}$/.test(text) ? `127.0.0.1:${text}` : undefined),
};

/** `a=1,b=2`, as on a node's labels. */
export const labels: ValueForm<Readonly<Record<string, string>>> = {
  placeholder: 'K=V,...',
  allowed: 'labels such as zone=eu-1,example.com/role=edge, each key once',
  read: (text) => {
    const result = new Map<string, string>();
    if (text === '') return {};
    for (const part of text.split(',')) {
      const [key, value, ...more] = part.split('=');
      if (key === undefined || value === undefined || more.length > 0) return undefined;
      if (!isLabelKey(key) || !isLabelValue(value) || result.has(key)) return undefined;
      result.set(key, value);
    }
    return Object.fromEntries(result);
  },
};

/** `192.0.2.0/24,2001:db8::1`; given back as canonical prefixes. */
export const prefixes: ValueForm<readonly string[]> = {
  placeholder: 'CIDR,...',
  allowed: 'addresses or prefixes without host bits, such as 192.0.2.0/24,2001:db8::1',
  read: (text) => {
    const result: string[] = [];
    if (text === '') return result;
    for (const part of text.split(',')) {
      const prefix = parsePrefixOrAddress(part);
      if (prefix === undefined || masked(prefix).value !== prefix.value) return undefined;
      result.push(formatPrefix(prefix));
    }
    return result;
  },
  suggest: (text) => {
    const parts = text.split(',').map((part) => {
      const prefix = parsePrefixOrAddress(part.trim());
      return prefix && formatPrefix(masked(prefix));
    });
    return parts.includes(undefined) ? undefined : parts.join(',');
  },
};

/** One address, or a prefix without host bits; given back in canonical form, an address without its length. */
export const source: ValueForm<string> = {
  placeholder: 'SOURCE',
  allowed: 'an address or a prefix without host bits, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::7',
  read: (text) => {
    const prefix = parsePrefixOrAddress(text);
    if (prefix === undefined || masked(prefix).value !== prefix.value) return undefined;
    return prefix.length === addressBits(prefix.family) ? formatAddress(prefix) : formatPrefix(prefix);
  },
  suggest: (text) => {
    const prefix = parsePrefixOrAddress(text.trim().replace(/%[^/]*/, ''));
    return prefix && formatPrefix(masked(prefix)).replace(/^([^:]*)\/32$|^(.*)\/128$/, '$1$2');
  },
};

/** In ms. */
export function duration(minMs: number, maxMs: number): ValueForm<number> {
  return {
    placeholder: 'DURATION',
    allowed: `a duration from ${formatDuration(minMs)} to ${formatDuration(maxMs)}, such as 500ms, 90s or 1h30m`,
    read: (text) => inRange(parseDuration(text), minMs, maxMs),
    suggest: (text) => (/^\d+$/.test(text) ? `${text}s` : undefined),
  };
}

/** As the API has names of objects: a DNS subdomain. */
export const objectName: ValueForm<string> = {
  placeholder: 'NAME',
  allowed: 'a name of lower-case letters, digits, "-" and ".", at most 253',
  read: (text) =>
    text.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text)
      ? text
      : undefined,
  suggest: (text) => text.trim().toLowerCase(),
};

const maxBlockMs = 720 * 3_600_000;

export const blockDuration: ValueForm<number> = {
  placeholder: 'DURATION',
  allowed: 'a duration from 1s to 720h, such as 90s, 10m or 1h30m',
  read: (text) => {
    const durationMs = parseDuration(text);
    return durationMs !== undefined && durationMs >= 1000 && durationMs <= maxBlockMs ? durationMs : undefined;
  },
  suggest: (text) => {
    const days = /^(\d{1,2})d$/.exec(text)?.[1];
    return days === undefined ? `${text}s` : `${Number(days) * 24}h`;
  },
};

/** A reason is kept in the kernel beside the block: 64 bytes with the NUL that ends it. */
const maxReasonBytes = 63;

export const blockReason: ValueForm<string> = {
  placeholder: 'TEXT',
  allowed: `a text of 1 to ${maxReasonBytes} bytes on one line`,
  read: (text) =>
    text !== '' && Buffer.byteLength(text) <= maxReasonBytes && !/\p{Cc}/u.test(text) ? text : undefined,
};
