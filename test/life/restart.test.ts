import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { nodePath, waitFor } from '../support/namespaces.ts';
import {
  attackerAddress,
  bystanderAddress,
  distinctTargets,
  GuardedHost,
  metric,
  otherAddresses,
  portScanPolicy,
  victimAddress,
  victimLink,
} from './guarded-host.ts';

const dropped = 'portcullis_packets_total{verdict="drop",reason="scan-blocked",kind="PortScanPolicy",owner="guard"}';
const detected = 'portcullis_blocks_total{policy="guard",state="blocked"}';

describe('an agent that is killed in the middle of a scan', () => {
  it('leaves a block that holds, ends on time without it, and is adopted with its counters by the next', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard', { block: { unprovenDuration: '8s' } }));
    const first = await host.start();
    const scan = host.attacker.spawn(['hping3', '-q', '-n', '-S', '-p', '++1000', '-i', 'u5000', '192.0.2.1']);
    const startedAt = Date.now();
    await first.until((line) => line.event === 'scan', 'the scan to be told');
    await first.crash();
    await scan.stop('SIGINT');

    expect(await host.xdp()).toMatchObject({ id: expect.any(Number) });
    expect(await host.reached()).toBe(distinctTargets - 1);
    const [orphan] = await host.blocks();
    expect(orphan).toMatchObject({ source: attackerAddress, policy: 'guard', proven: false, probes: distinctTargets });
    expect(Date.parse(orphan!.since)).toBeGreaterThan(startedAt - 1_000);

    const second = await host.start();
    expect(second.events('datapath-opened')).toMatchObject([{ adopted: true, interfaces: 1 }]);
    const [adopted] = await host.blocks();
    expect(adopted).toMatchObject({ source: attackerAddress, probes: distinctTargets, ports: orphan!.ports });
    expect(adopted!.packetsDropped).toBeGreaterThanOrEqual(orphan!.packetsDropped);
    const metrics = await host.metrics();
    expect(metric(metrics, detected)).toBe(1);
    // The packet that was detected is counted by the block, and as a reason of its own.
    expect(metric(metrics, dropped)).toBe(adopted!.packetsDropped - 1);
    await second.crash();

    const untilMs = Date.parse(orphan!.until);
    if (Date.now() < untilMs - 1_500) expect(await host.answers()).toBe(false);
    await sleep(Math.max(0, untilMs - 300 - Date.now()));
    expect(await host.reached()).toBe(distinctTargets - 1);
    const opened = await waitFor(() => host.answers().then((does) => does && Date.now()), 30_000, { what: 'the end' });
    expect(opened).toBeGreaterThan(untilMs - 250);
    console.log(`figure: a block without an agent ended ${opened - untilMs} ms after its time, probed every 400 ms`);
    expect(await host.blocks()).toEqual([]);

    const third = await host.start();
    const later = await host.metrics();
    expect(metric(later, detected)).toBe(1);
    expect(metric(later, dropped)).toBeGreaterThanOrEqual(metric(metrics, dropped)!);
    await third.stop();
  });
});

describe('an agent that is killed at any moment of its start', () => {
  it('leaves what the next one can take over, and no packet of a blocked source passes meanwhile', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    // Others every time, so that tables are made anew, copied and pinned in the place of the old ones.
    const settings = [
      [],
      ['--max-blocks', '1024', '--concern-cells', '65536', '--max-manual-blocks', '64'],
      ['--max-first-targets', '3072', '--max-owners', '64', '--max-never-block', '128'],
    ];
    // The first of all, which finds nothing to adopt.
    for (const afterMs of [100, 200, 300, 400]) await killed(host, [], afterMs);
    const first = await host.start();
    await host.scan(20);
    await host.ask(['block', otherAddresses[0], '--for', '1h', '--reason', 'by hand']);
    await first.crash();
    for (const source of [attackerAddress, otherAddresses[0]])
      host.attacker.spawn(['hping3', '-q', '-n', '-S', '-a', source, '-p', '1000', '-i', 'u500', victimAddress]);
    let ended = 0;
    for (let afterMs = 150; afterMs < 650; afterMs += 25) {
      if (await killed(host, settings[(afterMs / 25) % settings.length]!, afterMs)) ended++;
      expect(await host.reached(), `killed after ${afterMs} ms`).toBe(distinctTargets - 1);
      expect(await host.reached(otherAddresses[0]), `killed after ${afterMs} ms`).toBe(0);
    }
    console.log(
      `figure: 20 agents killed 150 to 625 ms after their start, ${ended} of them while they enforced already`,
    );
    const last = await host.start();
    expect(last.events('failed')).toEqual([]);
    expect((await host.blocks()).map(({ source }) => source).sort()).toEqual([attackerAddress, otherAddresses[0]]);
    expect(await host.answers(bystanderAddress)).toBe(true);
    expect(await host.reached()).toBe(distinctTargets - 1);
  });
});

/** Starts an agent and kills it. True when it had come to enforcing. */
async function killed(host: GuardedHost, args: readonly string[], afterMs: number): Promise<boolean> {
  const agent = host.launch(args);
  await sleep(afterMs);
  // Anything else would be an agent that could not work with what the ones before left.
  expect(agent.command.isRunning, agent.command.stderr).toBe(true);
  await agent.crash();
  expect(agent.events('failed')).toEqual([]);
  return agent.events('enforcing').length > 0;
}

describe('an agent that is told to stop', () => {
  it('ends with 0, detaches nothing, and leaves the host guarded: new scanners are blocked without it', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const agent = await host.start();
    const before = await host.xdp();
    expect(before).toBeDefined();
    expect(await agent.stop()).toMatchObject({ code: 0, stderr: '' });
    expect(agent.events('stopped')).toHaveLength(1);
    expect(await host.xdp()).toEqual(before);
    await host.scan(20);
    expect(await host.reached()).toBe(distinctTargets - 1);
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress, probes: distinctTargets }]);
    expect(await host.answers(bystanderAddress)).toBe(true);

    const detach = await host.ask(['detach']);
    expect(detach).toMatchObject({ code: 0, stdout: `detached from ${victimLink}\n` });
    expect(await host.xdp()).toBeUndefined();
    expect(await host.answers()).toBe(true);
  });

  it('counts targets from before a restart with those after it', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const agent = await host.start();
    await host.scan(distinctTargets - 1, { first: 2000 });
    await agent.stop();
    await host.start();
    expect(await host.blocks()).toEqual([]);
    await host.scan(1, { first: 3000 });
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress, probes: distinctTargets }]);
    expect(await host.reached()).toBe(distinctTargets - 1);
  });
});

describe('a pin path', () => {
  it('belongs to one agent: a second one is refused and the first goes on', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start();
    const program = await host.xdp();
    const second = await host.launch(['--metrics-address', '127.0.0.1:0']).command.ended;
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('PinPathLocked') });
    expect(second.stderr).toContain(host.pinPath);
    const detach = await host.ask(['detach']);
    expect(detach).toMatchObject({ code: 1, stderr: expect.stringContaining('PinPathLocked') });
    expect(await host.xdp()).toEqual(program);
    expect(first.command.isRunning).toBe(true);
  });

  it('must lie on a bpffs, and the message names the folder that does not', async () => {
    await using host = await GuardedHost.create();
    host.pinPath = join(host.net.folder(), 'pins');
    const { code, stderr } = await host.launch().command.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('PinPathNotBpffs');
    expect(stderr).toContain(host.pinPath);
    expect(stderr).toMatch(/mount -t bpf/);
  });

  it.each([
    ['another version', { offset: 4, value: 2 }, 'LayoutMismatch'],
    ['another program', { offset: 0, value: 0x12345678 }, 'LayoutForeign'],
  ])(
    'that holds tables of %s is refused without saved blocks, never misread, and stays in force',
    async (_, change, code) => {
      await using host = await GuardedHost.create();
      host.write('guard', portScanPolicy('guard'));
      const agent = await host.start();
      await agent.stop();
      await host.scan(20);
      const program = await host.xdp();
      await overwriteLayout(host, change);

      const refused = await host.launch().command.ended;
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(code);
      expect(refused.stderr).toContain(host.pinPath);
      expect((await host.ask(['blocked'])).stderr).toContain(code);
      expect(await host.xdp()).toEqual(program);
      expect(await host.answers()).toBe(false);
      expect(await host.reached()).toBe(distinctTargets - 1);
    },
  );
});

describe('a port for metrics that somebody else has taken', () => {
  it('is told at the first start, and keeps no node from being guarded that was guarded before', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const script = "require('node:net').createServer().listen(9469, '127.0.0.1', () => console.log('taken'))";
    const take = async () => {
      const taker = host.victim.spawn([nodePath, '-e', script]);
      await waitFor(() => taker.stdout.includes('taken'), 10_000, { what: 'the port to be taken' });
      return taker;
    };
    let taker = await take();
    const refused = await host.launch().command.ended;
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('--metrics-address 127.0.0.1:9469') });
    await taker.stop();

    await (await host.start()).stop();
    taker = await take();
    const agent = await host.start();
    await host.scan(20);
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress }]);
    expect(agent.events('failed')).toMatchObject([{ what: 'metrics' }]);
    await taker.stop();
    await agent.until((line) => line.event === 'metrics', 'metrics to be served');
    expect(await host.metrics()).toContain('portcullis_');
  });
});

describe('tables of another layout', () => {
  const another = { offset: 4, value: 77 };

  it('give way to new ones that hold the saved blocks, and no packet of a blocked source passes meanwhile', async () => {
    await using host = await GuardedHost.create();
    const state = ['--state', join(host.net.folder(), 'state')];
    const [manualAddress] = otherAddresses;
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state);
    await host.scan(20);
    expect(await host.ask(['block', manualAddress, '--for', '1h', '--reason', 'by hand'])).toMatchObject({ code: 0 });
    const before = await host.blocks();
    const blocked = [attackerAddress, manualAddress];
    const reached = () => Promise.all(blocked.map((source) => host.reached(source)));
    const reachedBefore = await reached();
    const floods = blocked.map((source) =>
      host.attacker.spawn(['hping3', '-q', '-n', '-S', '-a', source, '-p', '1000', '-i', 'u1000', victimAddress]),
    );
    const sentBefore = await host.sent();
    await first.stop();
    const program = await host.xdp();
    await overwriteLayout(host, another);

    const second = await host.start(state);
    expect(second.events('datapath-opened')).toMatchObject([{ adopted: true, interfaces: 1, replacesLayout: 77 }]);
    expect(second.events('blocks-restored')).toMatchObject([{ restored: 2 }]);
    expect((await host.xdp())!.id).not.toBe(program!.id);
    const after = await host.blocks();
    expect(after.map(({ source }) => source).sort()).toEqual(before.map(({ source }) => source).sort());
    await waitFor(async () => (await host.blocks()).every(({ packetsDropped }) => packetsDropped > 200), 10_000, {
      what: 'the floods to be dropped by the new tables',
    });

    // And they are the ones that are pinned: the next agent adopts them.
    await second.crash();
    const third = await host.start(state);
    const [opened] = third.events('datapath-opened');
    expect(opened).toMatchObject({ adopted: true });
    expect(opened).not.toHaveProperty('replacesLayout');
    expect((await host.blocks()).map(({ source }) => source).sort()).toEqual(blocked.toSorted());
    for (const flood of floods) flood.kill();
    expect(await reached()).toEqual(reachedBefore);
    console.log(
      `figure: another layout: ${(await host.sent()) - sentBefore} packets of blocked sources sent, 0 passed`,
    );
  });

  it('give way without saved blocks where nothing is attached: nobody is blocked there', async () => {
    await using host = await GuardedHost.create();
    const first = await host.start();
    await first.stop();
    await overwriteLayout(host, another);
    const second = await host.start();
    expect(second.events('datapath-opened')).toMatchObject([{ interfaces: 0, replacesLayout: 77 }]);
    await second.stop();
    const third = await host.start();
    expect(third.events('datapath-opened')[0]).not.toHaveProperty('replacesLayout');
  });

  it('are left half replaced by a crash, and the next agent begins anew', async () => {
    await using host = await GuardedHost.create();
    const state = ['--state', join(host.net.folder(), 'state')];
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state);
    await host.scan(20);
    await first.stop();
    // As an agent writes it before it touches a pin.
    await overwriteLayout(host, { offset: 4, value: 0 });
    const second = await host.start(state);
    expect(second.events('datapath-opened')).toMatchObject([{ adopted: true, replacesLayout: 0 }]);
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress }]);
    expect(await host.answers()).toBe(false);
    expect(await host.reached()).toBe(distinctTargets - 1);
  });
});

/** Writes a 32-bit number into the pinned layout, as another version would have. */
async function overwriteLayout(host: GuardedHost, { offset, value }: { offset: number; value: number }): Promise<void> {
  const script = `
    import { BpfMap, u32 } from ${JSON.stringify(join(import.meta.dirname, '../../agent/libbpf/map.ts'))};
    using map = BpfMap.openPinned(${JSON.stringify(join(host.pinPath, 'maps/layout'))}, 'layout');
    const layout = map.lookup(u32(0));
    layout.writeUInt32LE(${value}, ${offset});
    map.update(u32(0), layout);`;
  await host.victim.exec([nodePath, '--input-type=module-typescript', '-e', script]);
}
