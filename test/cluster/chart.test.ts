/** What the chart makes, as a real API server reads it. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { prometheusCrds } from '../chart/prometheus-crds.ts';
import { type Manifest, render } from '../chart/render.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const combinations: (readonly [string, object])[] = [
  ['the defaults', {}],
  ...globSync('ci/*-values.yaml', { cwd: chartFolder }).map(
    (path) => [path, parse(readFileSync(join(chartFolder, path), 'utf8')) as object] as const,
  ),
];

/** Server-side apply that changes nothing; fields that the server does not know are errors. */
const tryOut = (objects: readonly Manifest[]) =>
  cluster.kubectl(
    [
      'apply',
      '--server-side',
      '--force-conflicts',
      '--dry-run=server',
      '--validate=strict',
      '--field-manager=chart',
      '-f',
      '-',
    ],
    { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }), timeoutMs: 60_000 },
  );

beforeAll(async () => {
  const crds = await prometheusCrds();
  const files = crds.flatMap((file) => ['-f', file]);
  await cluster.run(['apply', '--server-side', ...files]);
  await cluster.run(['wait', '--for=condition=Established', '--timeout=30s', ...files]);
});

describe('a real API server', () => {
  it.each(combinations)('takes all of %s, and warns of nothing', async (_, values) => {
    const { objects } = await render(values);
    const { code, stdout, stderr } = await tryOut(objects);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.trim().split('\n').length).toBe(objects.length);
  });

  it('would refuse a field that it does not know', async () => {
    const { objects } = await render();
    const broken = structuredClone(objects);
    broken.find(({ kind }: Manifest) => kind === 'DaemonSet').spec.template.spec.hostNetwrk = true;
    const { code, stderr } = await tryOut(broken);
    expect(code).not.toBe(0);
    expect(stderr).toContain('hostNetwrk');
  });
});
