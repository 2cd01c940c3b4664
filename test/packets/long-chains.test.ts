/** IPv6 chains that cannot be read to their end although the host reads them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_CONFIG } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import { frame, ipv6, raw, tcp } from '../support/packets.ts';
import { NODE6, own, START, STRANGER6 } from './cases/case.ts';
import { KernelNode, XDP_DROP } from './kernel-node.ts';

let net: TestNet;
let node: KernelNode;
beforeAll(async () => {
  net = await TestNet.create();
  node = await KernelNode.create(net.pinPath());
  await node.apply(own(NODE6));
  node.tick = START;
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await net?.[Symbol.asyncDispose]();
});
const verdicts = async (policy: number, frames: Buffer[]) => {
  const run = await node.instance({ ...DEFAULT_CONFIG, policy, threshold: 5 });
  return frames.map((bytes) => run.run(bytes).action).filter((v) => v === XDP_DROP).length;
};

test('a first fragment that ends inside an extension header does not hide a scan', async () => {
  const frames = Array.from({ length: 40 }, () =>
    frame({
      packet: ipv6({
        source: STRANGER6,
        destination: NODE6,
        protocol: 60,
        extensions: [{ kind: 'fragment', more: true }],
        payload: raw(60, Buffer.from('3c011e0c00000000', 'hex')),
      }),
    }),
  );
  expect(await verdicts(2, frames)).toBeGreaterThanOrEqual(36);
});
test('a SYN whose header lies beyond the linear part of a jumbo frame does not hide a scan', async () => {
  const frames = Array.from({ length: 40 }, (_, i) =>
    frame({
      packet: ipv6({
        source: STRANGER6,
        destination: NODE6,
        extensions: [0, 1, 2, 3].map(() => ({ kind: 'destination' as const, bytes: 2040 })),
        payload: tcp({ flags: 'S', destinationPort: i + 1 }),
      }),
    }),
  );
  expect(await verdicts(3, frames)).toBeGreaterThanOrEqual(36);
});
