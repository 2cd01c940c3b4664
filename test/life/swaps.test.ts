import { renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type RunningCommand, waitFor } from '../support/namespaces.ts';
import {
  type AgentProcess,
  attackerAddress,
  bystanderAddress,
  distinctTargets,
  GuardedHost,
  ipBlocklist,
  otherAddresses,
  portScanPolicy,
  type SpecChanges,
  victimAddress,
} from './guarded-host.ts';

const [manualAddress, listedAddress] = otherAddresses;
const args = ['--log-level', 'debug', '--node-labels', 'role=edge'];

/** A source's SYNs to a port that it has scanned already, several thousand a second until stopped. */
const flood = (host: GuardedHost, source: string): RunningCommand =>
  host.attacker.spawn(['hping3', '-q', '-n', '-S', '-a', source, '-p', '1000', '-i', 'u200', victimAddress]);

/** How many packets of each blocked source have reached the host. */
const reachedNow = (host: GuardedHost): Promise<number[]> =>
  Promise.all([attackerAddress, manualAddress, listedAddress].map((source) => host.reached(source)));

/** Nobody but the scanner before its Nth target. */
const noneReached = [distinctTargets - 1, 0, 0];

/** A host that three blocked sources flood: one that scanned, one blocked by hand, one on a list. */
async function createFlooded(): Promise<{ host: GuardedHost; agent: AgentProcess }> {
  const host = await GuardedHost.create();
  try {
    await host.victim.ip('link add spare0 type bridge', 'link set spare0 up');
    host.write('guard', portScanPolicy('guard'));
    host.write('bad', ipBlocklist('bad', [{ cidr: `${listedAddress}/32` }]));
    const agent = await host.start(args);
    await host.scan(20);
    const block = await host.ask(['block', manualAddress, '--for', '1h', '--reason', 'test']);
    expect(block).toMatchObject({ code: 0, stderr: '' });
    for (const source of [attackerAddress, manualAddress, listedAddress]) flood(host, source);
    await waitFor(async () => (await host.sent()) > 2_000, 30_000, { what: 'the flood' });
    expect(await reachedNow(host)).toEqual(noneReached);
    return { host, agent };
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs `step` under the flood, and a little on. Returns how many packets were sent meanwhile. */
async function underFlood(host: GuardedHost, step: () => Promise<unknown>): Promise<number> {
  const before = await host.sent();
  await step();
  await sleep(50);
  return (await host.sent()) - before;
}

interface PolicyStep {
  readonly what: string;
  /** Absent: another object changes, or a file. */
  readonly spec?: SpecChanges;
  readonly change?: (host: GuardedHost) => void;
  /** Whether the program has to be another one afterwards. */
  readonly swaps: boolean;
}

/** Each writes the policy anew, with nothing but `spec` beside what it began with; none lifts the block. */
const policySteps: readonly PolicyStep[] = [
  { what: 'detection.distinctTargets', spec: { detection: { distinctTargets: 9 } }, swaps: true },
  {
    what: 'detection.distinctTargets 64, which changes the shape of the tables',
    spec: { detection: { distinctTargets: 64 } },
    swaps: true,
  },
  { what: 'detection.window', spec: { detection: { window: '5m' } }, swaps: true },
  { what: 'detection.destinations', spec: { detection: { destinations: 'All' } }, swaps: true },
  {
    what: 'detection.ipv6PrefixLength, the source being IPv4',
    spec: { detection: { ipv6PrefixLength: 56 } },
    swaps: true,
  },
  { what: 'block.duration', spec: { block: { duration: '1h' } }, swaps: true },
  { what: 'block.unprovenDuration', spec: { block: { unprovenDuration: '4m' } }, swaps: true },
  { what: 'block.traffic', spec: { block: { traffic: 'All' } }, swaps: true },
  { what: 'connectionLog', spec: { connectionLog: 'All' }, swaps: true },
  { what: 'allow of somebody else', spec: { allow: [{ cidr: `${bystanderAddress}/32` }] }, swaps: true },
  { what: 'priority', spec: { priority: 7 }, swaps: false },
  { what: 'nodeSelector that still matches', spec: { nodeSelector: { matchLabels: { role: 'edge' } } }, swaps: false },
  { what: 'interfaces, widened', spec: { interfaces: { names: ['guard0', 'spare0'] } }, swaps: false },
  { what: 'interfaces, selected by pattern', spec: { interfaces: { patterns: ['g*0', 'none?'] } }, swaps: false },
  {
    what: 'interfaces, by exclusion',
    spec: { interfaces: { patterns: ['*'], exclude: ['lo', 'spare0'] } },
    swaps: false,
  },
  {
    what: 'a blocklist that is added',
    change: (host) => host.write('more', ipBlocklist('more', [{ cidr: '203.0.113.0/24' }])),
    swaps: false,
  },
  {
    what: 'a blocklist that spares the scanner, which weakens no other block',
    change: (host) =>
      host.write(
        'more',
        ipBlocklist('more', [{ cidr: '203.0.113.0/24' }], { except: [{ cidr: `${attackerAddress}/32` }] }),
      ),
    swaps: false,
  },
  { what: 'a blocklist that is removed', change: (host) => host.remove('more'), swaps: false },
  {
    what: 'a second policy that gives way',
    change: (host) =>
      host.write('second', portScanPolicy('second', { mode: 'Monitor', allow: [{ cidr: '203.0.113.1/32' }] })),
    swaps: false,
  },
  { what: 'the second policy removed', change: (host) => host.remove('second'), swaps: false },
  { what: 'a file that is broken', change: (host) => host.write('guard', 'spec: [unclosed'), swaps: false },
  { what: 'the file as it was at first', spec: {}, swaps: false },
];

describe('a change of a policy under a flood of blocked sources', () => {
  it('lets no packet pass, whichever field it changes', async () => {
    const { host, agent } = await createFlooded();
    await using _ = host;
    let sent = 0;
    for (const { what, spec, change, swaps } of policySteps) {
      const applied = agent.applied;
      const before = await host.xdp();
      sent += await underFlood(host, async () => {
        if (spec) host.write('guard', portScanPolicy('guard', spec));
        change?.(host);
        await waitFor(() => agent.applied > applied, 30_000, { what: `${what} to be applied` });
      });
      expect(await reachedNow(host), what).toEqual(noneReached);
      const after = await host.xdp();
      expect(after, what).toBeDefined();
      if (swaps) expect(after!.id, `${what}: a new program`).not.toBe(before!.id);
    }
    expect(sent).toBeGreaterThan(policySteps.length * 500);
    console.log(`figure: ${policySteps.length} changes of policies under ${sent} packets of blocked sources: 0 passed`);
    expect(await host.answers(bystanderAddress)).toBe(true);
    expect(agent.findings('TableFull')).toEqual([]);
    expect(agent.events('failed')).toEqual([]);
  });

  it('lets no packet pass while the directory of policies is gone', async () => {
    const { host, agent } = await createFlooded();
    await using _ = host;
    const sent = await underFlood(host, async () => {
      renameSync(host.policies, `${host.policies}-away`);
      await agent.finding('DirectoryUnreadable');
      await sleep(300);
      expect(await reachedNow(host)).toEqual(noneReached);
      renameSync(`${host.policies}-away`, host.policies);
      await agent.until(
        (line) => line.event === 'finding-gone' && line.code === 'DirectoryUnreadable',
        'the directory to be found again',
      );
    });
    expect(sent).toBeGreaterThan(500);
    expect(await reachedNow(host)).toEqual(noneReached);
  });
});

/** Each restarts the agent with these settings and the others as they are by default. */
const settingSteps: readonly (readonly string[])[] = [
  [],
  ['--max-blocks', '1024'],
  ['--max-first-targets', '3072'],
  ['--concern-cells', '65536'],
  ['--max-extension-headers', '4'],
  ['--ring-buffer-bytes', '65536'],
  ['--connection-events-per-second', '10', '--block-events-per-second', '10'],
  ['--max-owners', '16'],
  ['--max-manual-blocks', '16'],
  ['--max-never-block', '64', '--max-own-addresses', '16'],
  ['--max-list-entries', '64', '--max-allow-entries', '16'],
  ['--never-block', '203.0.113.0/24'],
  ['--node-labels', 'zone=eu'],
  ['--xdp-mode', 'native'],
];

describe('a restart of the agent under a flood of blocked sources', () => {
  it('lets no packet pass, by SIGTERM or by SIGKILL, whichever setting is another', async () => {
    let { host, agent } = await createFlooded();
    await using _ = host;
    let sent = 0;
    const everything = settingSteps.flat();
    const steps = [...settingSteps, everything, []];
    for (const [index, setting] of steps.entries()) {
      const what = setting.join(' ') || 'as before';
      sent += await underFlood(host, async () => {
        if (index % 2 === 0) await agent.crash();
        else await agent.stop();
        agent = await host.start([...args, ...setting]);
      });
      expect(await reachedNow(host), what).toEqual(noneReached);
      expect(agent.events('datapath-opened'), what).toMatchObject([{ adopted: true }]);
      expect(agent.events('failed'), what).toEqual([]);
    }
    const blocks = await host.blocks();
    expect(blocks.map(({ source }) => source).sort()).toEqual([attackerAddress, manualAddress]);
    expect(sent).toBeGreaterThan(steps.length * 500);
    console.log(`figure: ${steps.length} restarts and upgrades under ${sent} packets of blocked sources: 0 passed`);
    expect(await host.answers(bystanderAddress)).toBe(true);
  });

  it('has a gap when the mode changes between native and generic, and tells how long it was', async () => {
    let { host, agent } = await createFlooded();
    await using _ = host;
    expect(await host.xdp()).toMatchObject({ mode: 'native' });
    for (const mode of ['generic', 'native'] as const) {
      await agent.stop();
      const before = await reachedNow(host);
      agent = await host.start([...args, '--xdp-mode', mode]);
      expect(await host.xdp()).toMatchObject({ mode });
      const gap = await agent.finding('DetachGap');
      expect(gap).toMatchObject({ interface: 'guard0', level: 'warn' });
      const [, ms] = / unguarded for ([\d.]+) ms /.exec(String(gap.msg)) ?? [];
      expect(Number(ms)).toBeLessThan(30_000);
      await sleep(100);
      const after = await reachedNow(host);
      await sleep(200);
      // It is over: what came in the gap has, and nothing since.
      expect(await reachedNow(host)).toEqual(after);
      const passed = after.reduce((sum, packets, i) => sum + packets - before[i]!, 0);
      console.log(`figure: change to ${mode}: a gap of ${ms} ms in which ${passed} packets of three floods passed`);
    }
  });
});

describe('what lifts a block', () => {
  it.each<[string, (host: GuardedHost) => unknown]>([
    ['unblock', (host) => host.ask(['unblock', attackerAddress])],
    ['mode Monitor', (host) => host.write('guard', portScanPolicy('guard', { mode: 'Monitor' }))],
    ['the deletion of the policy', (host) => host.remove('guard')],
    [
      'a selector that the node no longer matches',
      (host) => host.write('guard', portScanPolicy('guard', { nodeSelector: { matchLabels: { role: 'core' } } })),
    ],
    [
      'an interface that is no longer selected',
      (host) => host.write('guard', portScanPolicy('guard', { interfaces: { names: ['spare0'] } })),
    ],
    [
      'an allow entry for the source',
      (host) => host.write('guard', portScanPolicy('guard', { allow: [{ cidr: `${attackerAddress}/32` }] })),
    ],
  ])('%s', async (_, lift) => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    await host.start(args);
    await host.scan(20);
    expect(await host.answers()).toBe(false);
    await lift(host);
    const startedAt = performance.now();
    await waitFor(() => host.answers(), 30_000, { what: 'the source to be answered again' });
    console.log(`figure: lifted after ${Math.round(performance.now() - startedAt)} ms, asked every 400 ms`);
  });
});
