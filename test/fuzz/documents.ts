/** Random documents for the reader of policy files: valid ones, ones with something wrong in a field, and hostile text. */
import { Random } from './random.ts';

export interface FuzzDocument {
  readonly content: Buffer;
  /** What the generator knows of it: valid documents must be accepted. */
  readonly expectation: 'valid' | 'unknown';
  /** How it was made, to find it again. */
  readonly recipe: string;
}

type Mapping = { [key: string]: unknown };

const KEY_POOL = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  ' ',
  '<<',
  'spec',
  'on',
  '1',
  'null',
];
/** Written into the text as they are, without quotes. */
const RAW_SCALARS = [
  ...'yes no on off y N 0777 0o17 0b11 0x1F 1_000 1:30 .inf -.inf .nan ~ null 1e308 1e999 -0 +1 .5 1. 0.1'.split(' '),
  ...'9007199254740993 18446744073709551616 -9223372036854775809 2030-01-01 !!binary !x *a &a | > @x `x %x ? - : #'.split(
    ' ',
  ),
  ...'15 60s 10m 1h 0 -1 64 65 128 1000 1001 true false Enforce Monitor All None'.split(' '),
  '[]',
  '{}',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"\\x1b[2J"',
  "'it''s'",
  '&a [*a]',
  '9'.repeat(400),
  'x'.repeat(5000),
];
const PREFIXES = [
  ...[
    '10.0.0.0/8',
    '10.0.0.1/8',
    '0.0.0.0/0',
    '128.0.0.0/7',
    '::/0',
    '2000::/15',
    '::ffff:10.0.0.0/104',
    '2001:DB8::/32',
    '::1/128',
  ],
  ...[
    '01.2.3.4/32',
    '1.2.3.4',
    'fe80::%1/64',
    '1.2.3.4/33',
    '10.0.0.0/08',
    '::/129',
    '64:ff9b::1.2.3.4/128',
    '1:2:3:4:5:6:7::/112',
  ],
];
const DURATIONS = [
  ...[
    '1d',
    '-5s',
    '+5s',
    '99999h99999h99999h',
    '5ms',
    '721h',
    '720h',
    '719h3600s',
    '719h3601s',
    '1h1h',
    '1.5h',
    'PT1H',
    '0s',
    '1s',
  ],
  ...['1h', '1h1ms', '3600s', '3601s', '999ms', '1000ms', '1h1m1s1ms', '1h1m1s1ms1s', '60', 's', ''],
];
const TIMES = [
  ...[
    '2030-02-30T00:00:00Z',
    '2028-02-29T00:00:00Z',
    '2030-01-01T24:00:00Z',
    '2030-01-01T00:00:00z',
    '2030-01-01T00:00:00+00:00',
  ],
  ...[
    '1970-01-01T00:00:00Z',
    '2030-01-01',
    '2030-01-01T00:00:00.1234567890Z',
    '2030-01-01T00:00:60Z',
    '2030-01-01T00:00:00+24:00',
  ],
];
const NAMES = [
  'eth0',
  'eth*',
  '..',
  'a/b',
  'x'.repeat(15),
  'x'.repeat(16),
  'ä'.repeat(15),
  'a b',
  '',
  'a:b',
  'ens?f0',
  'x'.repeat(33),
];
const REASONS = ['🦀'.repeat(32), '🦀'.repeat(33), 'a\nb', '\u202e', '\u2028', '\ufeff', 'x'.repeat(33), ''];
const WORDS = [
  'enforce',
  'ENFORCE',
  'Enforce ',
  'In',
  'Exists',
  'DefaultRoute',
  'None',
  'All',
  'Monitor',
  'NewConnections',
];
const LABELS = ['a', 'a b', '-a', 'a/b/c', 'x'.repeat(63), 'x'.repeat(64), `${'x'.repeat(254)}/a`, 'ä', '', 'A.b/c'];
const OBJECT_NAMES = ['Web', 'a..b', '-', '', 'a.b', 'x'.repeat(253), 'x'.repeat(254), '../a', 'a_b'];
const RAW_STRINGS = [
  ...[...PREFIXES, ...DURATIONS, ...TIMES, ...NAMES, ...REASONS, ...WORDS, ...LABELS, ...OBJECT_NAMES],
  ...['portcullis.dev/v1', 'List', 'ConfigMap'],
];
/** Values that nearly fit the field, where its bounds are. */
const NEAR: Readonly<Record<string, readonly unknown[]>> = {
  cidr: PREFIXES,
  window: DURATIONS,
  duration: DURATIONS,
  unprovenDuration: DURATIONS,
  expiresAt: TIMES,
  source: PREFIXES,
  reason: REASONS,
  mode: WORDS,
  traffic: WORDS,
  destinations: WORDS,
  operator: WORDS,
  connectionLog: WORDS,
  names: [NAMES, ['eth0', 'x'.repeat(16)], Array(64).fill('a'), Array(65).fill('a'), []],
  patterns: [NAMES, ['eth*', ''], Array(65).fill('*'), []],
  exclude: [NAMES, ['eth*']],
  roles: [[], ['DefaultRoute', 'DefaultRoute'], ['Uplink'], Array(5).fill('DefaultRoute')],
  key: LABELS,
  values: [[], ['a'], LABELS, Array(65).fill('a')],
  name: OBJECT_NAMES,
  priority: [-1, 0, 1000, 1001, 1.5, '1'],
  distinctTargets: [0, 1, 64, 65, 15.5, '15'],
  ipv6PrefixLength: [47, 48, 128, 129, '64'],
  allowWide: [true, false, 'true', 1],
};

function octets(random: Random): number {
  return random.below(2 ** 32);
}

/** A prefix in canonical form, made of numbers and not by the code under test. */
function prefix(random: Random, leastLength4: number, leastLength6: number): string {
  if (random.chance(0.6)) {
    const length = leastLength4 + random.below(33 - leastLength4);
    const network = length === 0 ? 0 : (octets(random) & (0xffffffff << (32 - length))) >>> 0;
    return `${[24, 16, 8, 0].map((shift) => (network >>> shift) & 255).join('.')}/${length}`;
  }
  // All fields of the network filled and the rest one run of zeros: canonical without a general algorithm.
  const fields = Math.ceil(leastLength6 / 16) + random.below(8 - Math.ceil(leastLength6 / 16));
  if (fields === 0) return '::/0';
  const filled = Array.from({ length: fields }, () => (1 + random.below(0xffff)).toString(16)).join(':');
  return fields < 7 ? `${filled}::/${fields * 16}` : `${filled}:0/112`;
}

function duration(random: Random, mostSeconds: number): string {
  const seconds = 1 + random.below(mostSeconds);
  const hours = Math.floor(seconds / 3600);
  return random.chance(0.5) || hours > 99999 ? `${Math.min(seconds, 99999)}s` : `${hours}h${seconds - hours * 3600}s`;
}

function time(random: Random): string {
  const text = new Date(
    Date.UTC(2000 + random.below(900), random.below(12), 1 + random.below(28), random.below(24)),
  ).toISOString();
  return random.pick([
    text,
    text.replace('.000Z', 'Z'),
    text.replace('Z', '+05:30'),
    text.replace('.000Z', '.123456789-23:59'),
  ]);
}

function entry(random: Random, least4: number, least6: number): Mapping {
  const made: Mapping = { cidr: prefix(random, least4, least6) };
  if (random.chance(0.4))
    made.reason = random.pick(['scan', 'ssh brute force', 'ümläut', '', '🦀'.repeat(32), 'yes', '0777', "it's: #1"]);
  if (random.chance(0.3)) made.expiresAt = time(random);
  return made;
}

function label(random: Random): string {
  return random.pick(['role', 'example.com/zone', 'a.b/c_d', 'x', 'kubernetes.io/hostname']);
}

function selectors(random: Random): Mapping {
  const made: Mapping = {};
  if (random.chance(0.4)) {
    const expression = () => {
      const operator = random.pick(['In', 'NotIn', 'Exists', 'DoesNotExist']);
      const values = operator.endsWith('In')
        ? { values: random.many(1, 3, () => random.pick(['a', 'b', '1.10', 'true', ''])) }
        : {};
      return { key: label(random), operator, ...values };
    };
    made.nodeSelector = {
      ...(random.chance(0.5) ? { matchLabels: { [label(random)]: random.pick(['web', '', 'on', '0777']) } } : {}),
      ...(random.chance(0.5) ? { matchExpressions: random.many(0, 3, expression) } : {}),
    };
  }
  if (random.chance(0.5)) {
    made.interfaces = random.pick([
      { names: ['eth0', 'enp0s31f6', 'x'.repeat(15)] },
      { patterns: ['eth*', 'ens?f[01]'], exclude: ['eth9'] },
      { roles: ['DefaultRoute'] },
      { roles: ['DefaultRoute'], names: [] },
    ]);
  }
  return made;
}

function validObject(random: Random, name: string): Mapping {
  const envelope = (kind: string, spec: Mapping) => ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind,
    metadata: random.chance(0.3) ? { name, labels: { [label(random)]: 'x' }, annotations: { note: 'y: z' } } : { name },
    spec,
  });
  if (random.chance(0.5)) {
    const spec: Mapping = { mode: random.pick(['Enforce', 'Monitor']), ...selectors(random) };
    if (random.chance(0.4)) spec.priority = random.below(1001);
    if (random.chance(0.5)) {
      spec.detection = {
        distinctTargets: 1 + random.below(64),
        window: duration(random, 3600),
        destinations: random.pick(['NodeAddresses', 'All']),
        ipv6PrefixLength: 48 + random.below(81),
      };
    }
    if (random.chance(0.5)) {
      spec.block = {
        duration: duration(random, 720 * 3600),
        unprovenDuration: duration(random, 3600),
        traffic: random.pick(['All', 'NewConnections']),
      };
    }
    if (random.chance(0.4)) spec.allow = random.many(0, 4, () => entry(random, 0, 0));
    if (random.chance(0.3)) spec.connectionLog = random.pick(['None', 'All']);
    return envelope('PortScanPolicy', spec);
  }
  if (random.chance(0.2)) {
    const spec: Mapping = { source: prefix(random, 8, 16), expiresAt: time(random) };
    if (random.chance(0.5)) spec.policies = random.many(0, 3, () => random.pick(['web', 'a.b', 'x'.repeat(253)]));
    if (random.chance(0.5)) spec.reason = random.pick(['audit', '', 'ümläut']);
    return envelope('SourceException', spec);
  }
  const wide = random.chance(0.2);
  const spec: Mapping = {
    ...selectors(random),
    entries: random.many(0, 8, () => entry(random, wide ? 0 : 8, wide ? 0 : 16)),
  };
  if (wide) spec.allowWide = true;
  if (random.chance(0.3)) spec.mode = random.pick(['Enforce', 'Monitor']);
  if (random.chance(0.3)) spec.traffic = random.pick(['All', 'NewConnections']);
  if (random.chance(0.3)) spec.except = random.many(0, 3, () => entry(random, 0, 0));
  if (random.chance(0.2)) {
    spec.configMapRefs = random.many(0, 3, () => ({ name: random.pick(['a', 'a.b', 'a-1']), key: 'list_1.txt' }));
  }
  return envelope('IpBlocklist', spec);
}

/** Text put into the document as it is. */
class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function hostileValue(random: Random): unknown {
  switch (random.below(6)) {
    case 0:
      return new Raw(random.pick(RAW_SCALARS));
    case 1:
      return random.pick(RAW_STRINGS);
    case 2:
      return random.pick([0, -1, 1.5, 2 ** 53, 1e21, 65, 1001, 15]);
    case 3:
      return random.pick([null, true, false, [], {}, [null], [[]], { a: 1 }]);
    case 4:
      return random.many(0, 70, () => random.pick(RAW_STRINGS));
    default: {
      const made: Mapping = {};
      for (const key of random.many(0, 4, () => random.pick(KEY_POOL))) {
        put(made, key, random.pick(RAW_STRINGS));
      }
      return made;
    }
  }
}

/** Every place of an object, as a container and a key in it. */
function places(value: unknown): { container: Mapping; key: string }[] {
  if (typeof value !== 'object' || value === null || value instanceof Raw) return [];
  const container = value as Mapping;
  return Object.keys(container).flatMap((key) => [{ container, key }, ...places(container[key])]);
}

/** Assignment to __proto__ would set the prototype. */
function put(container: Mapping, key: string, value: unknown): void {
  Object.defineProperty(container, key, { value, enumerable: true, configurable: true, writable: true });
}

function mutate(random: Random, object: Mapping): string {
  const all = places(object);
  const near = all.filter(({ key }) => Object.hasOwn(NEAR, key));
  if (near.length > 0 && random.chance(0.5)) {
    const { container, key } = random.pick(near);
    put(container, key, structuredClone(random.pick(NEAR[key]!)));
    return `near ${key}`;
  }
  if (all.length === 0) return 'nothing left';
  const { container, key } = random.pick(all);
  if (Array.isArray(container)) {
    const item = random.pick([hostileValue(random), container[Number(key)]]);
    container.splice(Number(key), random.below(2), item);
    return `change item ${key}`;
  }
  switch (random.below(5)) {
    case 0:
      delete container[key];
      return `delete ${key}`;
    case 1: {
      const value = container[key];
      delete container[key];
      const renamed = random.pick([`${key}x`, key.toUpperCase(), ...KEY_POOL]);
      put(container, renamed, value);
      return `rename ${key}`;
    }
    case 2: {
      const added = random.pick([...KEY_POOL, 'protocols', 'scope', 'feeds', 'status']);
      put(container, added, hostileValue(random));
      return `add beside ${key}`;
    }
    default:
      put(container, key, hostileValue(random));
      return `replace ${key}`;
  }
}

/** Strings that any reader takes as the same text without quotes. */
const SAFE_PLAIN = /^[A-Za-z][A-Za-z0-9./-]*$/;
const NOT_PLAIN = /^(true|false|null|yes|no|on|off|y|n)$/i;

function scalar(random: Random, value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (typeof value !== 'string') return JSON.stringify(value) ?? 'null';
  if (SAFE_PLAIN.test(value) && !NOT_PLAIN.test(value) && random.chance(0.7)) return value;
  // JSON leaves these as they are, YAML wants them escaped.
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function keyText(random: Random, key: string): string {
  return SAFE_PLAIN.test(key) && !NOT_PLAIN.test(key) && random.chance(0.98) ? key : scalar(random, key);
}

function emit(random: Random, value: unknown, indent: number): string {
  if (typeof value !== 'object' || value === null || value instanceof Raw) return ` ${scalar(random, value)}\n`;
  const keys = Object.keys(value);
  if (keys.length === 0 || random.chance(0.15)) return ` ${flow(random, value)}\n`;
  const pad = ' '.repeat(indent);
  const comment = random.chance(0.05) ? ' # comment\n' : '\n';
  if (Array.isArray(value)) return comment + value.map((item) => `${pad}-${emit(random, item, indent + 2)}`).join('');
  return (
    comment +
    keys.map((key) => `${pad}${keyText(random, key)}:${emit(random, (value as Mapping)[key], indent + 2)}`).join('')
  );
}

function flow(random: Random, value: unknown): string {
  if (typeof value !== 'object' || value === null || value instanceof Raw) return scalar(random, value);
  if (Array.isArray(value)) return `[${value.map((item) => flow(random, item)).join(', ')}]`;
  return `{${Object.keys(value)
    .map((key) => `${keyText(random, key)}: ${flow(random, (value as Mapping)[key])}`)
    .join(', ')}}`;
}

function toYaml(random: Random, object: Mapping): string {
  if (random.chance(0.05)) return `${flow(random, object)}\n`;
  return Object.keys(object)
    .map((key) => `${keyText(random, key)}:${emit(random, object[key], 2)}`)
    .join('');
}

function corrupt(random: Random, text: string): Buffer {
  const at = random.below(text.length + 1);
  const insert = (part: string) => Buffer.from(text.slice(0, at) + part + text.slice(at));
  const lines = text.split('\n');
  const line = random.below(lines.length);
  switch (random.below(12)) {
    case 0:
      return insert(random.pick(['\0', '\ufeff', '\r', '\u0085', '\u2028', '\t', '\u001b[2J', '\u007f']));
    case 1:
      return insert(
        random.pick([
          '[',
          '{',
          ']',
          '}',
          '"',
          "'",
          ':',
          ': ',
          '- ',
          '\n',
          '#',
          '&a ',
          '*a',
          '!',
          '|',
          '>',
          '%',
          '@',
          '`',
          ',',
        ]),
      );
    case 2:
      return Buffer.from(text.slice(0, at));
    case 3: {
      const bytes = Buffer.from(text);
      if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
      return bytes;
    }
    case 4:
      lines.splice(line, 0, lines[line]!);
      break;
    case 5:
      lines.splice(line, 1);
      break;
    case 6:
      lines[line] = ' '.repeat(random.below(5)) + lines[line];
      break;
    case 7:
      lines[line] = lines[line]!.trimStart();
      break;
    case 8:
      lines.splice(
        line,
        0,
        random.pick(['---', '...', '--- x', '---x', '%YAML 1.2', '%TAG ! x', '? a', '<<: *a', '# x']),
      );
      break;
    case 9:
      return Buffer.from(text.replaceAll('\n', '\r\n'));
    case 10:
      return Buffer.from(text.slice(at) + text.slice(0, at));
    default:
      return Buffer.from(text, 'utf16le');
  }
  return Buffer.from(lines.join('\n'));
}

function hostile(random: Random): string {
  const many = 10 + random.below(3000);
  const laughs = () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x]'];
    for (let i = 1; i < 10; i++) lines.push(`a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}]`);
    return lines.join('\n');
  };
  return random.pick([
    () =>
      random
        .pick(['[', '{', '- ', '? ', '{a: ', '[[', '!', '&a ', '*a ', '"', "'", '|', '%', '\t', ': ', ','])
        .repeat(many),
    () => '['.repeat(many) + ']'.repeat(many),
    () => Array.from({ length: Math.min(many, 300) }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    laughs,
    () => `apiVersion: portcullis.dev/v1alpha1\nkind: IpBlocklist\nmetadata: {name: a}\nspec: &a\n  entries: *a\n`,
    () => `a: "${'\\'.repeat(many)}`,
    () => `${'a'.repeat(many)}: ${'b'.repeat(many)}`,
    () => Array.from({ length: many }, (_, i) => `k${i}: v`).join('\n'),
    () => Array.from({ length: many }, () => 'k: yes').join('\n'),
    () => '---\n'.repeat(many),
    () => `apiVersion: v1\nkind: List\nitems:\n- {}\n`,
    () => `{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}`,
    () => String.fromCharCode(...random.many(1, 200, () => random.below(0xd800))),
    () => String.fromCharCode(...random.many(1, 200, () => 32 + random.below(95))),
    () => random.many(1, 40, () => random.pick([...RAW_SCALARS, ...RAW_STRINGS, '\n', '\n  ', ': ', '- '])).join(''),
  ])();
}

/** The n-th document of a seed. */
export function fuzzDocument(seed: number, n: number): FuzzDocument {
  const random = new Random(seed * 1_000_003 + n);
  const kind = random.below(10);
  if (kind === 9) return { content: Buffer.from(hostile(random)), expectation: 'unknown', recipe: 'hostile' };
  const object = validObject(random, `fuzz-${n}`);
  if (kind < 2) return { content: Buffer.from(toYaml(random, object)), expectation: 'valid', recipe: 'valid' };
  if (kind < 7) {
    const recipe = random.many(1, 3, () => mutate(random, object)).join(', ');
    return { content: Buffer.from(toYaml(random, object)), expectation: 'unknown', recipe };
  }
  return { content: corrupt(random, toYaml(random, object)), expectation: 'unknown', recipe: 'corrupt' };
}

/** The n-th object of a seed, as plain data: no text is involved that two readers could read in two ways. */
export function fuzzObject(
  seed: number,
  n: number,
): { object: unknown; expectation: 'valid' | 'unknown'; recipe: string } {
  const random = new Random(seed * 1_000_003 + n);
  const object = validObject(random, `fuzz-${n}`);
  if (random.chance(0.2)) return { object, expectation: 'valid', recipe: 'valid' };
  const recipe = random.many(1, 3, () => mutate(random, object)).join(', ');
  return { object: withoutRaw(object), expectation: 'unknown', recipe };
}

/** Text for a document means nothing in an object: it becomes a string, or what JSON makes of it. */
function withoutRaw(value: unknown): unknown {
  if (value instanceof Raw) {
    try {
      return JSON.parse(value.text);
    } catch {
      return value.text;
    }
  }
  if (Array.isArray(value)) return value.map(withoutRaw);
  if (typeof value !== 'object' || value === null) return value;
  const made: Mapping = {};
  for (const [key, item] of Object.entries(value)) put(made, key, withoutRaw(item));
  return made;
}
