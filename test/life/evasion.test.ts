/** Ways round the guard that the host's own stack lets through: frames that it mends, puts together or reads on. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AgentProcess, GuardedHost, ipBlocklist, portScanPolicy } from './guarded-host.ts';

const script = `${import.meta.dirname}/send-frames.py`;

let host: GuardedHost;
let agent: AgentProcess;
let mac: string;

beforeEach(async () => {
  host = await GuardedHost.create();
  await host.attacker.exec(['ethtool', '-K', 'out0', 'tx', 'on']);
  const link = await host.victim.exec(['ip', '-j', 'link', 'show', 'guard0']);
  mac = JSON.parse(link.stdout)[0].address;
  host.write('p', portScanPolicy('p'));
  agent = await host.start(['--metrics-address', 'off']);
  // Neighbours are known before raw frames are sent.
  await host.attacker.exec(['ping', '-c1', '-W1', '2001:db8::1'], { allowFailure: true });
  await host.attacker.exec(['ping', '-c1', '-W1', '192.0.2.1'], { allowFailure: true });
});

afterEach(async () => {
  await agent?.stop();
  await host?.[Symbol.asyncDispose]();
});

/** How many of so many ports answered a SYN that was sent in this way. */
async function answers(way: string, ports: number): Promise<number> {
  const { stdout } = await host.attacker.exec(['python3', script, way, 'out0', mac, String(ports)]);
  expect(stdout).toMatch(/^\d+ /);
  return Number.parseInt(stdout, 10);
}

test.each([
  ['plain SYNs', 'plain', 4],
  ['plain SYNs over IPv6', 'plain6', 4],
  ['SYNs behind three priority tags', 'tags', 0],
  ['SYNs behind extension headers that go on in another fragment', 'chain', 0],
  ['SYNs in IPv6 packets of payload length 0', 'zero', 4],
])('of 40 ports N-1 answer %s at the most', async (_, way, most) => {
  expect(await answers(way, 40)).toBe(most);
});

test('nothing of a listed source gets through by a payload length of zero, a third tag or a fragmented chain', async () => {
  host.write('list', ipBlocklist('list', [{ cidr: '192.0.2.2/32' }, { cidr: '2001:db8::2/128' }]));
  await sleep(2_500);
  for (const way of ['plain', 'plain6', 'chain', 'tags', 'zero']) expect(await answers(way, 10), way).toBe(0);
});
