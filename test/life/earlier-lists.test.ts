/** What an earlier agent left in force, when the next one cannot know what it was told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { attackerAddress, GuardedHost, ipBlocklist, portScanPolicy } from './guarded-host.ts';

test('a blocklist of an earlier agent holds while its file cannot be read', async () => {
  await using host = await GuardedHost.create();
  const entries = Array.from({ length: 3000 }, (_, i) => ({ cidr: `10.${i >> 8}.${i & 255}.7/32` }));
  host.write('p', portScanPolicy('p'));
  host.write('list', ipBlocklist('list', [...entries, { cidr: `${attackerAddress}/32` }]));
  const first = await host.start(['--metrics-address', 'off']);
  await host.scan(5);
  expect(await host.reached()).toBe(0);
  await first.crash();
  host.write('list', 'kind: IpBlocklist\n  broken: [');
  const second = await host.start(['--metrics-address', 'off']);
  await host.scan(5);
  const soon = await host.reached();
  await sleep(13_000);
  await host.scan(5, { first: 3000 });
  console.log(
    'soon',
    soon,
    'after collect',
    await host.reached(),
    second.events('finding').map((f) => f.code),
  );
  expect(await host.reached()).toBe(0);
  await second.stop();
}, 60_000);

test('an interface for which the next agent has no owner id keeps its lists and allow entries', async () => {
  await using host = await GuardedHost.create();
  host.write('p', portScanPolicy('zz'));
  host.write('list', ipBlocklist('mine', [{ cidr: `${attackerAddress}/32` }]));
  const first = await host.start(['--metrics-address', 'off']);
  await host.scan(3);
  expect(await host.reached()).toBe(0);
  await first.crash();
  // More objects than the next agent has ids for.
  for (let i = 0; i < 16; i++) host.write(`a${i}`, ipBlocklist(`a${i}`, [{ cidr: `10.0.0.${i}/32` }]));
  host.remove('p');
  host.write('p2', portScanPolicy('another'));
  const second = await host.start(['--metrics-address', 'off', '--max-owners', '16']);
  await host.scan(3, { first: 3000 });
  console.log(
    'reached',
    await host.reached(),
    second.events('finding').map((f) => f.msg),
  );
  expect(await host.reached()).toBe(0);
  await second.stop();
}, 60_000);
