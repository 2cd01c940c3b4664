import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import manifest from '../package.json' with { type: 'json' };
import { chartFolder, describedValues, freshFiles, schemaProblems } from './generate-chart-docs.ts';

const valuesText = readFileSync(join(chartFolder, 'values.yaml'), 'utf8');
const schema = JSON.parse(readFileSync(join(chartFolder, 'values.schema.json'), 'utf8'));
const chart = parse(readFileSync(join(chartFolder, 'Chart.yaml'), 'utf8'));
const validate = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true }).compile(schema);

/** The default values with one of them replaced. */
function withValue(path: string, value: unknown): unknown {
  const values = parse(valuesText);
  const keys = path.split('.');
  const last = keys.pop()!;
  keys.reduce((at, key) => at[key], values)[last] = value;
  return values;
}

describe('the chart', () => {
  it('has the README table and the CRDs that npm run generate writes', () => {
    for (const { path, committed, fresh } of freshFiles()) expect(committed, path).toBe(fresh);
    const copies = globSync('crds/*.yaml', { cwd: chartFolder }).map((path) => basename(path));
    expect(copies.sort()).toEqual(
      globSync('crds/*.yaml')
        .map((path) => basename(path))
        .sort(),
    );
  });

  it('has the version of the programs', () => {
    expect([chart.version, chart.appVersion]).toEqual([manifest.version, manifest.version]);
  });

  it('tells Artifact Hub of the images and kinds that it has', () => {
    const { operator, agent } = parse(valuesText);
    const images = parse(chart.annotations['artifacthub.io/images']).map(({ image }: { image: string }) => image);
    expect(images).toEqual([operator, agent].map(({ image }) => `${image.repository}:${chart.appVersion}`));
    const kinds = parse(chart.annotations['artifacthub.io/crds']).map(({ name }: { name: string }) => name);
    const crds = globSync('crds/*.yaml', { cwd: chartFolder }).map(
      (path) => parse(readFileSync(join(chartFolder, path), 'utf8')).metadata.name,
    );
    expect(kinds.sort()).toEqual(crds.sort());
  });
});

describe('the values', () => {
  it('are fewer than 60, so that they can be read', () => {
    expect(describedValues(valuesText).length).toBeLessThan(60);
  });

  it('are all described', () => {
    expect(() => describedValues('a:\n  # -- Known.\n  b: 1\n  c: 2\n')).toThrow(
      'values.yaml:4: a.c has no description',
    );
  });

  it('of a described value belong to its default', () => {
    expect(describedValues('a:\n  # -- Two\n  # lines.\n  b:\n    c: 1\n')).toEqual([
      { path: 'a.b', default: { c: 1 }, description: 'Two lines.' },
    ]);
  });
});

describe('the schema', () => {
  it('knows the same values as values.yaml, and no other key', () => {
    expect(schemaProblems(describedValues(valuesText), schema)).toEqual([]);
  });

  it('is found wrong when it knows a value less, or one more', () => {
    const { roles, ...fewer } = schema.properties;
    const more = { ...schema.properties, other: { type: 'string' } };
    expect(schemaProblems(describedValues(valuesText), { ...schema, properties: fewer })).toEqual([
      'roles.create is in values.yaml, and not in the schema',
    ]);
    expect(schemaProblems(describedValues(valuesText), { ...schema, properties: more })).toEqual([
      'other is in the schema, and values.yaml does not describe it',
    ]);
    expect(roles).toBeDefined();
  });

  it('admits the defaults', () => {
    expect(validate(parse(valuesText)), JSON.stringify(validate.errors)).toBe(true);
  });

  it.each(globSync('ci/*-values.yaml', { cwd: chartFolder }))('admits %s', (path) => {
    const values = parse(readFileSync(join(chartFolder, path), 'utf8'));
    expect(validate(values), JSON.stringify(validate.errors)).toBe(true);
  });

  it.each([
    ['agent.tabels', {}],
    ['agent.tables.maxBlock', 1],
    ['agent.xdpMode', 'Native'],
    ['agent.maxUnavailable', '0%'],
    ['agent.maxUnavailable', 0],
    ['agent.tables.distinctTargets', 15],
    ['agent.tables.ringBufferBytes', 1_000_000],
    ['agent.resources.limits.memory', '1.5Gi'],
    ['agent.resources.limits.cpu', '1'],
    ['agent.extraArgs', ['report-interval=1m']],
    ['agent.podLabels', { 'app.kubernetes.io/name': 'mine' }],
    ['operator.replicas', 0],
    ['neverBlock', ['example.com']],
    ['metrics.agent.listen', '0.0.0.0'],
    ['metrics.serviceMonitor.interval', '30'],
  ])('refuses %s: %j', (path, value) => {
    expect(validate(withValue(path, value))).toBe(false);
  });
});
