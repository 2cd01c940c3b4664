import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DURATION_PATTERN } from './duration.ts';
import { formatPath } from './field-path.ts';
import { LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from './label-selector.ts';
import { MAX_PROBLEMS } from './problem.ts';
import { celRules } from './rules.ts';
import { TIME_PATTERN } from './time.ts';
import type { IpBlocklist, PortScanPolicy } from './types.ts';
import { validateObject } from './validate.ts';

type Mapping = Record<string, unknown>;

const policy = (spec: Mapping, rest: Mapping = {}) => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'PortScanPolicy',
  metadata: { name: 'web' },
  spec: { mode: 'Enforce', ...spec },
  ...rest,
});
const list = (spec: unknown, rest: Mapping = {}) => ({ ...policy({}), kind: 'IpBlocklist', spec, ...rest });
const entries = (...cidrs: string[]) => cidrs.map((cidr) => ({ cidr }));
/** What is refused, as `Code field`. */
const refusals = (value: unknown) =>
  validateObject(value).problems.map(({ code, path }) => `${code} ${formatPath(path)}`);

describe('defaults', () => {
  it('of a policy', () => {
    expect(validateObject(policy({})).object).toEqual({
      apiVersion: 'portcullis.dev/v1alpha1',
      kind: 'PortScanPolicy',
      metadata: { name: 'web' },
      spec: {
        priority: 0,
        interfaces: { roles: ['DefaultRoute'] },
        mode: 'Enforce',
        detection: { distinctTargets: 15, window: '60s', destinations: 'NodeAddresses', ipv6PrefixLength: 64 },
        block: { duration: '10m', unprovenDuration: '60s', traffic: 'NewConnections' },
        allow: [],
        connectionLog: 'None',
      },
    } satisfies PortScanPolicy);
  });

  it('of a list', () => {
    expect(validateObject(list({})).object).toEqual({
      apiVersion: 'portcullis.dev/v1alpha1',
      kind: 'IpBlocklist',
      metadata: { name: 'web' },
      spec: {
        interfaces: { roles: ['DefaultRoute'] },
        mode: 'Enforce',
        traffic: 'All',
        entries: [],
        configMapRefs: [],
        except: [],
        allowWide: false,
      },
    } satisfies IpBlocklist);
  });

  it('fill in what a mapping leaves out, and take null for absent', () => {
    const { object } = validateObject(
      policy({ detection: { window: '5m' }, block: null, allow: null, nodeSelector: null }),
    );
    expect(object?.spec).toMatchObject({
      detection: { window: '5m', distinctTargets: 15 },
      block: { duration: '10m' },
      allow: [],
    });
    expect(object?.spec).not.toHaveProperty('nodeSelector');
  });

  it('do not change the value that was given', () => {
    const given = policy({});
    validateObject(given);
    expect(given).toEqual(policy({}));
  });
});

describe('a policy is refused for', () => {
  const cases: [string, Mapping, string][] = [
    ['no mode', { mode: undefined }, 'MissingField spec.mode'],
    ['a mode that does not exist', { mode: 'enforce' }, 'NotAllowedValue spec.mode'],
    ['a priority below its bound', { priority: -1 }, 'OutOfRange spec.priority'],
    ['a priority above its bound', { priority: 1001 }, 'OutOfRange spec.priority'],
    ['a fraction', { priority: 1.5 }, 'WrongType spec.priority'],
    ['a number in quotes', { priority: '1' }, 'WrongType spec.priority'],
    ['an infinite number', { priority: Number.POSITIVE_INFINITY }, 'WrongType spec.priority'],
    ['no targets', { detection: { distinctTargets: 0 } }, 'OutOfRange spec.detection.distinctTargets'],
    ['too many targets', { detection: { distinctTargets: 65 } }, 'OutOfRange spec.detection.distinctTargets'],
    ['a window too short', { detection: { window: '999ms' } }, 'OutOfRange spec.detection.window'],
    ['a window too long', { detection: { window: '1h1ms' } }, 'OutOfRange spec.detection.window'],
    ['a window without unit', { detection: { window: '60' } }, 'BadDuration spec.detection.window'],
    ['a window as a number', { detection: { window: 60 } }, 'WrongType spec.detection.window'],
    [
      'a window of too many characters',
      { detection: { window: `${'1'.repeat(16)}s` } },
      'TooLong spec.detection.window',
    ],
    ['IPv6 prefixes too short', { detection: { ipv6PrefixLength: 47 } }, 'OutOfRange spec.detection.ipv6PrefixLength'],
    ['a block too long', { block: { duration: '721h' } }, 'OutOfRange spec.block.duration'],
    [
      'a block of unproven sources too short',
      { block: { unprovenDuration: '0s' } },
      'OutOfRange spec.block.unprovenDuration',
    ],
    ['a field misspelt', { detection: { distinctTarget: 15 } }, 'UnknownField spec.detection.distinctTarget'],
    ['a field of the prototype', JSON.parse('{"__proto__": {"mode": "Monitor"}}'), 'UnknownField spec.__proto__'],
    ['a field that every object inherits', { constructor: 1 }, 'UnknownField spec.constructor'],
    ['host bits', { allow: entries('10.0.0.1/8') }, 'BadPrefix spec.allow[0].cidr'],
    ['no prefix', { allow: [{ reason: 'x' }] }, 'MissingField spec.allow[0].cidr'],
    ['null in a list', { allow: [null] }, 'WrongType spec.allow[0]'],
    ['a reason too long', { allow: [{ cidr: '::/0', reason: 'x'.repeat(33) }] }, 'TooLong spec.allow[0].reason'],
    ['a reason of two lines', { allow: [{ cidr: '::/0', reason: 'a\nb' }] }, 'BadPattern spec.allow[0].reason'],
    [
      'a date that does not exist',
      { allow: [{ cidr: '::/0', expiresAt: '2030-02-30T00:00:00Z' }] },
      'BadTime spec.allow[0].expiresAt',
    ],
    [
      'a time before the year 2000 of UTC',
      { allow: [{ cidr: '::/0', expiresAt: '2000-01-01T00:00:00+00:01' }] },
      'BadTime spec.allow[0].expiresAt',
    ],
    ['a list for a time', { allow: [{ cidr: '::/0', expiresAt: [] }] }, 'WrongType spec.allow[0].expiresAt'],
    ['a date without time', { allow: [{ cidr: '::/0', expiresAt: '2030-02-01' }] }, 'BadTime spec.allow[0].expiresAt'],
    ['no interface', { interfaces: {} }, 'MissingField spec.interfaces'],
    [
      'nothing but excluded interfaces',
      { interfaces: { exclude: ['eth0'], names: [] } },
      'MissingField spec.interfaces',
    ],
    ['a name with a star', { interfaces: { names: ['eth*'] } }, 'BadPattern spec.interfaces.names[0]'],
    ['a name too long', { interfaces: { names: ['x'.repeat(16)] } }, 'TooLong spec.interfaces.names[0]'],
    ['a name with a slash', { interfaces: { names: ['a/b'] } }, 'BadPattern spec.interfaces.names[0]'],
    ['a pattern with a blank', { interfaces: { patterns: ['eth 0'] } }, 'BadPattern spec.interfaces.patterns[0]'],
    ['a role that does not exist', { interfaces: { roles: ['Uplink'] } }, 'NotAllowedValue spec.interfaces.roles[0]'],
    [
      'a label that is no string',
      { nodeSelector: { matchLabels: { version: 1.1 } } },
      'WrongType spec.nodeSelector.matchLabels.version',
    ],
    [
      'a bad label key',
      { nodeSelector: { matchLabels: { 'a b': 'c' } } },
      'BadSelector spec.nodeSelector.matchLabels["a b"]',
    ],
    [
      'a bad label value',
      { nodeSelector: { matchLabels: { a: 'b c' } } },
      'BadSelector spec.nodeSelector.matchLabels.a',
    ],
    [
      'In without values',
      { nodeSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
      'BadSelector spec.nodeSelector.matchExpressions[0]',
    ],
    [
      'Exists with values',
      { nodeSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] } },
      'BadSelector spec.nodeSelector.matchExpressions[0]',
    ],
    [
      'an operator that does not exist',
      { nodeSelector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } },
      'NotAllowedValue spec.nodeSelector.matchExpressions[0].operator',
    ],
  ];
  it.each(cases)('%s', (_, spec, expected) => expect(refusals(policy(spec))[0]).toBe(expected));

  it.each(cases)('%s, and for nothing else', (_, spec) => {
    const { mode, ...rest } = spec;
    const alone = refusals(policy({ ...rest, ...('mode' in spec ? { mode } : {}) }));
    // Two cases are wrong in two ways by nature: an operator out of the list also has values it may not have.
    expect(alone.length).toBeLessThanOrEqual(2);
  });
});

describe('a list', () => {
  it('is refused for a wide prefix unless it allows wide ones', () => {
    const wide = entries('10.0.0.0/8', '128.0.0.0/7', '::/16', '2000::/15');
    expect(refusals(list({ entries: wide }))).toEqual(['TooWide spec.entries[1].cidr', 'TooWide spec.entries[3].cidr']);
    expect(refusals(list({ entries: wide, allowWide: true }))).toEqual([]);
    expect(refusals(list({ except: entries('0.0.0.0/0') }))).toEqual([]);
  });

  it('takes 10,000 entries, also twice the same, and refuses one more', () => {
    const full = Array.from({ length: 10_000 }, () => ({
      cidr: '192.0.2.0/24',
      reason: 'x',
      expiresAt: '2030-01-01T00:00:00Z',
    }));
    expect(refusals(list({ entries: full }))).toEqual([]);
    expect(refusals(list({ entries: [...full, full[0]] }))).toEqual(['TooMany spec.entries']);
  });

  it('tells the first problems of very many and counts the rest', () => {
    const { problems } = validateObject(list({ entries: Array.from({ length: 10_000 }, () => ({ cidr: 'x' })) }));
    expect(problems).toHaveLength(MAX_PROBLEMS + 1);
    expect(problems.at(-1)?.message).toContain(String(10_000 - MAX_PROBLEMS));
  });

  it('counts a reason in characters, not in UTF-16 units', () => {
    expect(refusals(list({ entries: [{ cidr: '::/16', reason: '🦀'.repeat(32) }] }))).toEqual([]);
    expect(refusals(list({ entries: [{ cidr: '::/16', reason: '🦀'.repeat(33) }] }))).toEqual([
      'TooLong spec.entries[0].reason',
    ]);
  });
});

describe('the envelope', () => {
  it.each<[unknown, string]>([
    [null, 'WrongType '],
    [[], 'WrongType '],
    ['text', 'WrongType '],
    [{}, 'MissingField kind'],
    [policy({}, { kind: undefined }), 'MissingField kind'],
    [policy({}, { apiVersion: 1 }), 'WrongType apiVersion'],
    [policy({}, { kind: 'PortscanPolicy' }), 'UnknownKind kind'],
    [policy({}, { kind: 'constructor' }), 'UnknownKind kind'],
    [policy({}, { kind: 'NodeReport' }), 'UnknownKind kind'],
    [policy({}, { apiVersion: 'portcullis.dev/v1' }), 'UnknownKind apiVersion'],
    [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } }, 'UnknownKind apiVersion'],
    [{ apiVersion: 'v1', kind: 'List', items: [] }, 'UnknownKind kind'],
    [policy({}, { spec: undefined }), 'MissingField spec'],
    [policy({}, { spec: null }), 'MissingField spec'],
    [policy({}, { spec: [] }), 'WrongType spec'],
    [policy({}, { statuss: {} }), 'UnknownField statuss'],
    [policy({}, { metadata: undefined }), 'MissingField metadata.name'],
    [policy({}, { metadata: [] }), 'WrongType metadata'],
    [policy({}, { metadata: { generateName: 'x-' } }), 'MissingField metadata.name'],
    [policy({}, { metadata: { name: 7 } }), 'WrongType metadata.name'],
    [policy({}, { metadata: { name: 'Web' } }), 'BadName metadata.name'],
    [policy({}, { metadata: { name: 'a..b' } }), 'BadName metadata.name'],
    [policy({}, { metadata: { name: '../web' } }), 'BadName metadata.name'],
    [policy({}, { metadata: { name: 'x'.repeat(254) } }), 'TooLong metadata.name'],
    [policy({}, { metadata: { name: 'web', lables: {} } }), 'UnknownField metadata.lables'],
    [policy({}, { metadata: { name: 'web', labels: { a: 1 } } }), 'WrongType metadata.labels.a'],
    [policy({}, { metadata: { name: 'web', labels: { a: 'b c' } } }), 'BadPattern metadata.labels.a'],
    [
      policy({}, { metadata: { name: 'web', annotations: { a: 'x'.repeat(262_144) } } }),
      'TooLong metadata.annotations',
    ],
  ])('%j', (value, expected) => expect(refusals(value)[0]).toBe(expected));

  it('takes an object as a cluster writes it, and keeps what is read of it', () => {
    const metadata = {
      name: 'a.b-c',
      uid: 'u',
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'app.kubernetes.io/name': 'x' },
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
    };
    const { object } = validateObject(
      policy({}, { metadata: { ...metadata, resourceVersion: '7', managedFields: [] }, status: { conditions: [] } }),
    );
    expect(object?.metadata).toEqual(metadata);
    expect(object).not.toHaveProperty('status');
  });
});

describe('a remedy', () => {
  const remedy = (value: unknown) => validateObject(value).problems[0]?.remedy;
  it('gives the canonical prefix', () =>
    expect(remedy(policy({ allow: entries('2001:DB8::1/32') }))).toBe('Write 2001:db8::/32.'));
  it('guesses the field that was meant', () => expect(remedy(policy({ prioritty: 1 }))).toBe('Did you mean priority?'));
  it('guesses the kind that was meant', () =>
    expect(remedy(policy({}, { kind: 'IPBlockList' }))).toBe('Did you mean IpBlocklist?'));
  it('names the values that are allowed', () => expect(remedy(policy({ mode: 'Off' }))).toContain('Enforce, Monitor'));
  it('tells to quote a number that should be text', () =>
    expect(remedy(policy({ nodeSelector: { matchLabels: { v: 1.1 } } }))).toBe('Put the value in quotes.'));
});

describe('the CRDs', () => {
  const folder = new URL('../crds/', import.meta.url);
  const texts = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'));
  const nodes: Mapping[] = [];
  const visit = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return;
    nodes.push(value as Mapping);
    Object.values(value).forEach(visit);
  };
  for (const text of texts) visit(parse(text).spec.versions[0].schema.openAPIV3Schema.properties.spec);

  it('have no rule without a counterpart, and no counterpart without a rule', () => {
    const rules = nodes
      .flatMap((node) => (node['x-kubernetes-validations'] ?? []) as { rule: string }[])
      .map(({ rule }) => rule)
      // About a change of an object; one object alone cannot break it.
      .filter((rule) => !rule.includes('oldSelf'));
    expect([...new Set(rules)].sort()).toEqual(Object.keys(celRules).sort());
  });

  it('use the patterns that are read here', () => {
    const patterns = new Set(nodes.map(({ pattern }) => pattern));
    for (const pattern of [DURATION_PATTERN, TIME_PATTERN, LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN]) {
      expect(patterns).toContain(pattern);
    }
  });

  it('describe and bound every field', () => {
    const check = (schema: Mapping, path: string, described: boolean) => {
      if (described) expect(schema.description, path).toMatch(/^.+\.$/s);
      const bounded =
        schema.type === 'boolean' ||
        (schema.type === 'string' &&
          (schema.enum || schema.maxLength !== undefined || schema.format === 'date-time')) ||
        // Its format bounds an integer above.
        (schema.type === 'integer' &&
          schema.minimum !== undefined &&
          (schema.maximum ?? schema.format) !== undefined) ||
        (schema.type === 'array' && schema.maxItems !== undefined) ||
        (schema.type === 'object' && (schema.properties || schema.maxProperties !== undefined));
      expect(bounded, `${path} has no bound`).toBeTruthy();
      for (const [name, sub] of Object.entries((schema.properties ?? {}) as Record<string, Mapping>)) {
        check(sub, `${path}.${name}`, true);
      }
      if (schema.items) check(schema.items as Mapping, `${path}[]`, false);
      if (schema.additionalProperties) check(schema.additionalProperties as Mapping, `${path}{}`, false);
    };
    for (const text of texts) {
      const { spec, status } = parse(text).spec.versions[0].schema.openAPIV3Schema.properties;
      if (spec) check(spec, 'spec', true);
      if (status) check(status, 'status', true);
    }
  });
});
