/** `portcullis-operator apply-crds`, on an API server that has none of the CRDs. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { versionAnnotation } from '../../operator/crds/apply-crds.ts';
import { run } from '../support/command.ts';
import { ControlPlane } from './control-plane/control-plane.ts';

const main = join(import.meta.dirname, '../../operator/main.ts');
const policy = 'portscanpolicies.portcullis.dev';
let plane: ControlPlane;
beforeAll(async () => {
  plane = await ControlPlane.start();
});
afterAll(() => plane?.stop());

const applyCrds = () =>
  run([process.execPath, main, 'apply-crds', '--kubeconfig', plane.kubeconfig], { allowFailure: true });
const annotate = (version: string) =>
  plane.run(['annotate', '--overwrite', 'crd', policy, `${versionAnnotation}=${version}`]);
/** What the CRD says of a field that every version has. */
const described = async () =>
  (await plane.get('crd', policy))!.spec.versions[0].schema.openAPIV3Schema.description as string;
const describeAs = (description: string) =>
  plane.run([
    'patch',
    'crd',
    policy,
    '--type=json',
    '-p',
    JSON.stringify([
      { op: 'replace', path: '/spec/versions/0/schema/openAPIV3Schema/description', value: description },
    ]),
  ]);

it('leaves CRDs that another release of the chart can bring: Helm applies its own without force', async () => {
  expect((await applyCrds()).code).toBe(0);
  const { spec } = (await plane.get('crd', policy))!;
  spec.versions[0].schema.openAPIV3Schema.description = 'of another release';
  const apply = ['apply', '--server-side', '--field-manager=helm', '-f', '-'];
  const crd = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: policy },
    spec,
  };
  await plane.run(apply, { input: JSON.stringify(crd) });
  expect(await described()).toBe('of another release');
  expect((await applyCrds()).code).toBe(0);
  expect(await described()).not.toBe('of another release');
});

it('makes the CRDs, brings them to its version again, and leaves newer ones alone', async () => {
  const first = await applyCrds();
  expect([first.code, first.stderr]).toEqual([0, '']);
  expect(first.stdout.trim().split('\n').length).toBe(7);
  expect(await plane.list('portscanpolicies.portcullis.dev')).toEqual([]);
  const original = await described();

  await describeAs('somebody else was here');
  expect((await applyCrds()).code).toBe(0);
  expect(await described()).toBe(original);

  await describeAs('of the next version');
  await annotate('99.0.0');
  const third = await applyCrds();
  expect(third.stdout).toContain(`${policy} is of version 99.0.0`);
  expect(await described()).toBe('of the next version');
});
