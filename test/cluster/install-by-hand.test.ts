/** What docs/install.md says for tools without hooks, typed as it stands there, on an API server that has nothing of Portcullis. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { helmBinary } from './real-nodes/build.ts';

const root = join(import.meta.dirname, '../..');
let plane: ControlPlane;
beforeAll(async () => {
  plane = await ControlPlane.start();
});
afterAll(() => plane?.stop());

it('installs without hooks, twice, into a namespace that admits its pods, and removes the CRDs', async () => {
  const text = readFileSync(join(root, 'docs/install.md'), 'utf8');
  const [, install] = /```\n(kubectl create namespace portcullis-system\n[^`]*--no-hooks[^`]*)```/.exec(text)!;
  const [, remove] = /`(kubectl get crd -o name \\\| [^`]*)`/.exec(text)!;
  const PATH = [dirname(plane.kubectlPath), dirname(await helmBinary()), process.env.PATH].join(':');
  const env = { PATH, KUBECONFIG: plane.kubeconfig, KUBECACHEDIR: join(plane.folder, 'kubectl-cache'), KUBERC: 'off' };
  const type = async (script: string) => {
    const { code, stderr } = await run(['sh', '-ec', script], {
      env,
      cwd: root,
      timeoutMs: 90_000,
      allowFailure: true,
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
  };

  await type(install!);
  // An upgrade types all but the first line again.
  await type(install!.slice(install!.indexOf('\n') + 1));
  expect(await plane.get('daemonset', 'portcullis-agent', 'portcullis-system')).toBeDefined();
  expect(await plane.get('role', 'portcullis-operator', 'default')).toBeDefined();
  expect(await plane.get('job', 'portcullis-crds', 'portcullis-system')).toBeUndefined();
  await plane.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'every-node' },
    spec: { mode: 'Monitor' },
  });

  // Where Pod Security is enforced, the agents' pods are refused below the level that the page says to give.
  const { template } = (await plane.get('daemonset', 'portcullis-agent', 'portcullis-system'))!.spec;
  const [, label] = /```\n[\s\S]*?\n(kubectl label namespace portcullis-system [^\n]*)\n/.exec(text)!;
  const tryPod = () =>
    plane.kubectl(['create', '--dry-run=server', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'agent', namespace: 'portcullis-system' },
        spec: template.spec,
      }),
    });
  await type(label!.replace('=privileged', '=baseline'));
  expect(await tryPod()).toMatchObject({ code: 1, stderr: expect.stringContaining('violates PodSecurity') });
  await type(`${label} --overwrite`);
  expect(await tryPod()).toMatchObject({ code: 0 });

  // An API server that has served a kind for a second or two was seen never to end its deletion: "storage is (re)initializing".
  const kinds = (await plane.run(['api-resources', '--api-group=portcullis.dev', '-o', 'name'])).trim().split('\n');
  for (const kind of kinds)
    await waitFor(async () => (await plane.kubectl(['get', kind])).code === 0, 60_000, {
      what: `${kind} to be served`,
    });
  await sleep(10_000);
  // The bar is escaped for the table that it stands in.
  await type(remove!.replaceAll('\\|', '|')).catch(async (error: Error) => {
    const conditions =
      '-o=jsonpath={range .items[*]}{.metadata.name} {.metadata.finalizers} {.status.conditions}{"\\n"}{end}';
    throw new Error(`${error.message}\n${await plane.run(['get', 'crd', conditions])}`, { cause: error });
  });
  expect(await plane.run(['get', 'crd', '-o', 'name'])).toBe('');
}, 300_000);
