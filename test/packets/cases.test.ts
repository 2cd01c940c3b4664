import { afterAll, beforeAll, describe, test } from 'vitest';
import { TestNet } from '../support/namespaces.ts';
import { caseFiles } from './cases/index.ts';
import { KernelNode } from './kernel-node.ts';
import { runCase } from './run-case.ts';

let net: TestNet;
let node: KernelNode;
beforeAll(async () => {
  net = await TestNet.create();
  node = await KernelNode.create(net.pinPath());
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await net?.[Symbol.asyncDispose]();
});

for (const [file, list] of Object.entries(caseFiles)) {
  describe(file, () => {
    test.each(list.map((one) => [one.name, one] as const))('%s', async (_, one) => await runCase(node, one));
  });
}
