/**
 * Whether an accepted object keeps the bounds of the API, written out by hand: shares nothing with the schemas, the validator or
 * the parsers under test.
 */
import ipaddr from 'ipaddr.js';
import type { PolicyObject } from '../../api/types.ts';

type Mapping = Readonly<Record<string, unknown>>;

function fail(what: string, value: unknown): never {
  throw new Error(`accepted, but ${what}: ${JSON.stringify(value)?.slice(0, 300)}`);
}

function keys(value: unknown, what: string, required: string[], optional: string[] = []): Mapping {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(`${what} is no mapping`, value);
  for (const key of Object.getOwnPropertyNames(value)) {
    if (!required.includes(key) && !optional.includes(key)) fail(`${what} has the field ${key}`, value);
  }
  for (const key of required) if (!Object.hasOwn(value, key)) fail(`${what} lacks ${key}`, value);
  return value as Mapping;
}

function oneOf(value: unknown, what: string, ...allowed: unknown[]): void {
  if (!allowed.includes(value)) fail(`${what} is not allowed`, value);
}

function integer(value: unknown, what: string, least: number, most: number): void {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most)
    fail(`${what} is out of range`, value);
}

function text(value: unknown, what: string, most: number): string {
  if (typeof value !== 'string' || [...value].length > most) fail(`${what} is no text of ${most} characters`, value);
  return value;
}

function listOf(value: unknown, what: string, most: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > most) fail(`${what} is no list of ${most}`, value);
  return value;
}

function duration(value: unknown, what: string, mostSeconds: number): void {
  let rest = text(value, what, 16);
  let seconds = 0;
  while (rest !== '') {
    const number = Number.parseInt(rest, 10);
    const digits = rest.search(/[^0-9]/);
    const unit = /^(ms|h|m|s)/.exec(rest.slice(digits))?.[0];
    if (digits < 1 || unit === undefined) fail(`${what} is no duration`, value);
    seconds += (number * { h: 3600, m: 60, s: 1, ms: 0.001 }[unit]!) as number;
    rest = rest.slice(digits + unit.length);
  }
  if (seconds < 1 || seconds > mostSeconds) fail(`${what} is out of range`, value);
}

function prefix(value: unknown, what: string): { family: string; length: number } {
  const given = text(value, what, 43);
  if (given.includes('%') || /::ffff:/i.test(given)) fail(`${what} has a zone or is mapped`, value);
  const [address, length] = ipaddr.parseCIDR(given);
  const family = address.kind();
  const network = (family === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6).networkAddressFromCIDR(given);
  const canonical = network.kind() === 'ipv4' ? network.toString() : (network as ipaddr.IPv6).toRFC5952String();
  if (`${canonical}/${length}` !== given) fail(`${what} is not canonical`, value);
  return { family, length };
}

function entries(value: unknown, what: string, most: number, mayBeWide: boolean): void {
  for (const item of listOf(value, what, most)) {
    const entry = keys(item, what, ['cidr'], ['reason', 'expiresAt']);
    const { family, length } = prefix(entry.cidr, what);
    if (!mayBeWide && length < (family === 'ipv4' ? 8 : 16)) fail(`${what} is too wide`, item);
    if (entry.reason !== undefined && /\p{Cc}/u.test(text(entry.reason, what, 32)))
      fail(`${what} has control characters`, item);
    if (entry.expiresAt === undefined) continue;
    const time = text(entry.expiresAt, what, 35);
    const local = time.replace(/(Z|[+-]\d\d:\d\d)$/, '').replace(/\.\d{1,9}$/, '');
    // A date that does not exist comes back as another one.
    if (local === time || new Date(`${local}Z`).toISOString().slice(0, 19) !== local)
      fail(`${what} has no such time`, item);
    if (Number.isNaN(Date.parse(time))) fail(`${what} has no time`, item);
  }
}

function selectors(spec: Mapping): void {
  const chosen = keys(spec.interfaces, 'interfaces', [], ['names', 'patterns', 'exclude', 'roles']);
  let selecting = 0;
  for (const [field, value] of Object.entries(chosen)) {
    const items = listOf(value, field, field === 'roles' ? 4 : 64);
    if (field !== 'exclude') selecting += items.length;
    for (const item of items) {
      if (field === 'roles') oneOf(item, field, 'DefaultRoute');
      else if (/[^\x21-\x7e]|[/:]/.test(text(item, field, field === 'names' ? 15 : 32)) || item === '')
        fail(field, item);
      if (field === 'names' && /[*?]/.test(item as string)) fail(field, item);
    }
  }
  if (selecting === 0) fail('no interface is selected', spec.interfaces);
  if (spec.nodeSelector === undefined) return;
  const selector = keys(spec.nodeSelector, 'nodeSelector', [], ['matchLabels', 'matchExpressions']);
  const labels = Object.entries((selector.matchLabels ?? {}) as Mapping);
  if (labels.length > 16) fail('too many labels', labels);
  for (const [key, value] of labels) {
    if (!/^[a-zA-Z0-9]/.test(key) || key.length > 317 || /[^-_./a-zA-Z0-9]/.test(key)) fail('label key', key);
    if (/[^-_.a-zA-Z0-9]/.test(text(value, 'label', 63))) fail('label value', value);
  }
  for (const item of listOf(selector.matchExpressions ?? [], 'matchExpressions', 16)) {
    const { key, operator, values = [] } = keys(item, 'matchExpressions', ['key', 'operator'], ['values']);
    if (/[^-_./a-zA-Z0-9]/.test(text(key, 'key', 317)) || key === '') fail('label key', key);
    oneOf(operator, 'operator', 'In', 'NotIn', 'Exists', 'DoesNotExist');
    const count = listOf(values, 'values', 64).length;
    if (count > 0 !== (operator === 'In' || operator === 'NotIn')) fail('values do not fit the operator', item);
  }
}

/** Throws when the object breaks a bound. */
export function checkBounds(object: PolicyObject): void {
  const { apiVersion, kind, metadata } = keys(object, 'the object', ['apiVersion', 'kind', 'metadata', 'spec']);
  oneOf(apiVersion, 'apiVersion', 'portcullis.dev/v1alpha1');
  const meta = keys(
    metadata,
    'metadata',
    ['name'],
    ['labels', 'annotations', 'uid', 'generation', 'creationTimestamp'],
  );
  const name = text(meta.name, 'name', 253);
  if (name.split('.').some((part) => !/^[a-z0-9-]+$/.test(part) || part.startsWith('-') || part.endsWith('-')))
    fail('name', name);

  if (kind === 'IpBlocklist') {
    const fields = ['interfaces', 'mode', 'traffic', 'entries', 'configMapRefs', 'except', 'allowWide'];
    const spec = keys(object.spec, 'spec', fields, ['nodeSelector']);
    oneOf(spec.mode, 'mode', 'Enforce', 'Monitor');
    oneOf(spec.traffic, 'traffic', 'All', 'NewConnections');
    oneOf(spec.allowWide, 'allowWide', true, false);
    entries(spec.entries, 'entries', 10_000, spec.allowWide as boolean);
    entries(spec.except, 'except', 1000, true);
    for (const ref of listOf(spec.configMapRefs, 'configMapRefs', 16)) {
      const { name, key } = keys(ref, 'configMapRefs', ['name', 'key']);
      if (!/^[a-z0-9.-]+$/.test(text(name, 'name', 253))) fail('name of a ConfigMap', name);
      if (!/^[a-zA-Z0-9._-]+$/.test(text(key, 'key', 253))) fail('key of a ConfigMap', key);
    }
    selectors(spec);
    return;
  }
  if (kind === 'SourceException') {
    const spec = keys(object.spec, 'spec', ['source', 'expiresAt', 'policies'], ['reason']);
    entries([{ cidr: spec.source, expiresAt: spec.expiresAt }], 'source', 1, false);
    for (const policy of listOf(spec.policies, 'policies', 16)) {
      if (text(policy, 'policies', 253) === '') fail('empty name', policy);
    }
    text(spec.reason ?? '', 'reason', 128);
    return;
  }
  oneOf(kind, 'kind', 'PortScanPolicy');
  const fields = ['priority', 'interfaces', 'mode', 'detection', 'block', 'allow', 'connectionLog'];
  const spec = keys(object.spec, 'spec', fields, ['nodeSelector']);
  integer(spec.priority, 'priority', 0, 1000);
  oneOf(spec.mode, 'mode', 'Enforce', 'Monitor');
  oneOf(spec.connectionLog, 'connectionLog', 'None', 'All');
  const detection = keys(spec.detection, 'detection', [
    'distinctTargets',
    'window',
    'destinations',
    'ipv6PrefixLength',
  ]);
  integer(detection.distinctTargets, 'distinctTargets', 1, 64);
  integer(detection.ipv6PrefixLength, 'ipv6PrefixLength', 48, 128);
  oneOf(detection.destinations, 'destinations', 'NodeAddresses', 'All');
  duration(detection.window, 'window', 3600);
  const block = keys(spec.block, 'block', ['duration', 'unprovenDuration', 'traffic']);
  duration(block.duration, 'duration', 720 * 3600);
  duration(block.unprovenDuration, 'unprovenDuration', 720 * 3600);
  oneOf(block.traffic, 'traffic', 'All', 'NewConnections');
  entries(spec.allow, 'allow', 1000, true);
  selectors(spec);
}
