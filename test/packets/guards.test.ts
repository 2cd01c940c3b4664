/** The guard is compiled twice: with connection tracking, and for kernels that do not let a program ask it. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { conntrackSupport } from '../../agent/datapath/kernel.ts';
import { objectImage } from '../../agent/datapath/objects.ts';
import { TestNet } from '../support/namespaces.ts';
import { caseFiles } from './cases/index.ts';
import { KernelNode } from './kernel-node.ts';
import { runCase } from './run-case.ts';

const LOOKUP = 'bpf_xdp_ct_lookup';

let net: TestNet;
let node: KernelNode;
beforeAll(async () => {
  net = await TestNet.create();
  node = await KernelNode.create(net.pinPath(), undefined, undefined, false);
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await net?.[Symbol.asyncDispose]();
});

test('the guard without connection tracking names no function that an old kernel lacks', () => {
  expect(objectImage('guard').includes(LOOKUP)).toBe(true);
  expect(objectImage('conntrack').includes(LOOKUP)).toBe(true);
  expect(objectImage('guard-sockets').includes(LOOKUP)).toBe(false);
});

test('connection tracking is asked where the kernel itself has the function', async () => {
  const isBuiltIn = readFileSync('/proc/kallsyms', 'utf8').includes(` ${LOOKUP}\n`);
  const support = await conntrackSupport();
  if (isBuiltIn) expect(support).toEqual({ available: true });
  else if (!support.available) expect(support.reason).toContain('nf_conntrack');
});

// Cases know no flow but what a socket shows, so both guards must agree on all of them; these are about blocked sources.
describe.each(['policies', 'tables', 'limits'])('without connection tracking: %s', (file) => {
  const list = caseFiles[file]!;
  test.each(list.map((one) => [one.name, one] as const))('%s', async (_, one) => await runCase(node, one));
});
