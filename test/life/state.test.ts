import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SavedBlock } from '../../agent/state/state-store.ts';
import { waitFor } from '../support/namespaces.ts';
import {
  attackerAddress,
  bystanderAddress,
  distinctTargets,
  GuardedHost,
  otherAddresses,
  portScanPolicy,
  victimAddress,
  victimLink,
} from './guarded-host.ts';

const [manualAddress, expiredAddress] = otherAddresses;

interface SavedBlocks {
  readonly formatVersion: number;
  readonly bootId: string;
  readonly blocks: readonly SavedBlock[];
}

/** The folder of --state of one host. */
class StateFolder {
  readonly args: readonly string[];
  readonly blocksFile: string;
  readonly objectsFile: string;

  constructor(host: GuardedHost) {
    const folder = join(host.net.folder(), 'state');
    this.args = ['--state', folder];
    this.blocksFile = join(folder, 'blocks.json');
    this.objectsFile = join(folder, 'objects.json');
  }

  get blocks(): SavedBlocks {
    return JSON.parse(readFileSync(this.blocksFile, 'utf8')) as SavedBlocks;
  }

  /** Lets the blocks be of an earlier boot, after `change`. */
  ageBlocks(change: (blocks: readonly SavedBlock[]) => readonly unknown[] = (blocks) => blocks): void {
    const saved = this.blocks;
    const bootId = '00000000-0000-4000-8000-000000000000';
    writeFileSync(this.blocksFile, JSON.stringify({ ...saved, bootId, blocks: change(saved.blocks) }));
  }
}

/** What a reboot takes away: programs and tables, and the agent in the middle of its work. */
async function loseKernelState(host: GuardedHost): Promise<void> {
  expect(await host.ask(['detach'])).toMatchObject({ code: 0 });
  expect(await host.xdp()).toBeUndefined();
}

describe('--state over a reboot', () => {
  it('puts active blocks in force again before the first packet, and no others', async () => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state.args);
    await host.scan(20);
    await host.ask(['block', manualAddress, '--for', '1h', '--reason', 'by hand']);
    const before = await host.blocks();
    expect(before.map(({ source }) => source).sort()).toEqual([attackerAddress, manualAddress]);
    // Blocks are saved while it runs: the machine may lose power.
    await waitFor(() => state.blocks.blocks.length === 2, 30_000, { what: 'the blocks to be saved' });
    await first.crash();
    await loseKernelState(host);
    const arrivedBefore = await Promise.all([attackerAddress, manualAddress].map((source) => host.reached(source)));
    state.ageBlocks((blocks) => {
      const scan = blocks.find(({ source }) => source === attackerAddress)!;
      return [
        ...blocks,
        { ...scan, source: expiredAddress, untilMs: Date.now() - 1 },
        { ...scan, source: bystanderAddress, policy: 'deleted-meanwhile' },
      ];
    });

    // As at boot, the agent is there before the network is.
    await host.victim.ip(`link set ${victimLink} down`);
    const second = await host.start(state.args);
    const [restored] = second.events('blocks-restored');
    expect(restored).toMatchObject({ restored: 2 });
    const flood = [attackerAddress, manualAddress].map((source) =>
      host.attacker.spawn(['hping3', '-q', '-n', '-S', '-a', source, '-p', '1000', '-i', 'u500', victimAddress]),
    );
    await host.victim.ip(`link set ${victimLink} up`);
    const dropped = () => host.blocks().then((blocks) => Math.min(...blocks.map((each) => each.packetsDropped)));
    await waitFor(async () => (await dropped()) > 200, 30_000, { what: 'the flood to be dropped' });
    for (const each of flood) each.kill();

    expect(await Promise.all([attackerAddress, manualAddress].map((source) => host.reached(source)))).toEqual(
      arrivedBefore,
    );
    const after = await host.blocks();
    for (const block of before) {
      const same = after.find(({ source }) => source === block.source)!;
      const { source, policy, kind, proven, probes, ports, reason } = block;
      expect(same).toMatchObject({ source, policy, kind, proven, probes, ports, reason });
      // Seconds are saved, and two clocks are read.
      expect(Math.abs(Date.parse(same.until) - Date.parse(block.until))).toBeLessThan(2_000);
      expect(Math.abs(Date.parse(same.since) - Date.parse(block.since))).toBeLessThan(2_000);
    }
    expect(after).toHaveLength(2);
    expect(await host.answers(expiredAddress)).toBe(true);
    expect(await host.answers(bystanderAddress)).toBe(true);
  });

  it('does not bring back what was detached on purpose in this boot', async () => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state.args);
    await host.scan(20);
    await first.stop();
    expect(state.blocks.blocks).toMatchObject([{ source: attackerAddress, policy: 'guard' }]);
    await loseKernelState(host);
    await host.start(state.args);
    expect(await host.blocks()).toEqual([]);
    expect(await host.answers()).toBe(true);
  });

  it('leaves out what is no block, and restores the others', async () => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state.args);
    await host.scan(20);
    await first.stop();
    await loseKernelState(host);
    state.ageBlocks(([good]) => [
      null,
      'text',
      { ...good, source: 'localhost' },
      { ...good, source: '192.0.2.9', untilMs: 'soon' },
      { ...good, source: '192.0.2.10', flags: 1e300 },
      { ...good, source: '192.0.2.11', flags: -1 },
      { ...good, source: '192.0.2.12', probes: 0.5 },
      { ...good, source: '192.0.2.13', packetsDropped: -1 },
      { ...good, source: '192.0.2.14', packetsDropped: 1e300 },
      { ...good, source: '192.0.2.15', untilMs: 1e300 },
      { ...good, source: '192.0.2.16', sinceMs: -1e300 },
      { ...good, source: '192.0.2.17', ports: [70_000] },
      { ...good, source: '192.0.2.18', ports: Array.from({ length: 1_000 }, (_, i) => i) },
      { ...good, source: '192.0.2.0/24' },
      { ...good, source: '192.0.2.19', policy: undefined, reason: 'x'.repeat(10_000) },
      { ...good, source: '192.0.2.20', policy: undefined, reason: 7 },
      good,
    ]);
    const second = await host.start(state.args);
    expect(second.events('failed')).toEqual([]);
    const sources = (await host.blocks()).map(({ source }) => source);
    expect(sources).toContain(attackerAddress);
    // The bystander's address lies in the prefix that no scan block can have.
    expect(sources).not.toContain('192.0.2.0/24');
    expect(sources.filter((source) => /\.(9|10|11|12|13|14|15|16|17|20)$/.test(source))).toEqual([]);
    expect(sources).toEqual(expect.arrayContaining(['192.0.2.18', '192.0.2.19']));
    expect(await host.answers()).toBe(false);
    expect(await host.answers(bystanderAddress)).toBe(true);
  });

  it('brings thousands of blocks back without delay, as many as there is room for', async () => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start(state.args);
    await host.scan(20);
    await first.stop();
    await loseKernelState(host);
    state.ageBlocks(([good]) =>
      Array.from({ length: 5_000 }, (_, i) => {
        const rest = `${i >> 8}.${i & 255}`;
        const sinceMs = good!.sinceMs - i;
        return [
          { ...good, sinceMs, source: `198.18.${rest}` },
          { ...good, sinceMs, source: `198.19.${rest}`, policy: undefined, flags: 0, reason: 'many' },
        ];
      }).flat(),
    );
    const startedAt = performance.now();
    const second = await host.start([...state.args, '--max-blocks', '2048', '--max-manual-blocks', '4096']);
    console.log(
      `figure: 6,144 blocks of an earlier boot in force ${Math.round(performance.now() - startedAt)} ms after the start`,
    );
    expect(second.events('failed')).toEqual([]);
    expect(second.events('blocks-restored')).toMatchObject([{ restored: 6_144, saved: 10_000 }]);
    const blocks = await host.blocks();
    expect(blocks.filter(({ kind }) => kind === 'Manual')).toHaveLength(4_096);
    expect(blocks.filter(({ kind }) => kind === 'PortScanPolicy')).toHaveLength(2_048);
    // The newest are worth the most.
    expect(blocks.map(({ source }) => source)).toEqual(expect.arrayContaining(['198.18.0.0', '198.19.0.0']));
  });

  it('lets the last good objects stand in for a file that is broken at the start', async () => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    host.write('guard', portScanPolicy('guard'));
    host.write('deleted', portScanPolicy('deleted', { interfaces: { names: ['none0'] } }));
    const first = await host.start(state.args);
    await first.stop();
    await loseKernelState(host);
    host.write('guard', 'kind: [PortScanPolicy');
    host.remove('deleted');

    const second = await host.start(state.args);
    expect(await second.finding('YamlSyntax')).toMatchObject({ level: 'error' });
    expect(await second.finding('LastGoodKept')).toMatchObject({ object: 'PortScanPolicy/guard' });
    await host.scan(20);
    expect(await host.reached()).toBe(distinctTargets - 1);
    const policies = await waitFor(() => host.status()?.policies, 30_000, { what: 'the status file' });
    expect(policies.map(({ name }) => name)).toEqual(['guard']);
  });
});

describe('a file of policies that is broken at the start, without --state', () => {
  it('leaves in force what an earlier agent programmed', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const first = await host.start();
    await host.scan(20);
    await first.stop();
    const program = await host.xdp();
    host.write('guard', 'kind: [PortScanPolicy');

    const second = host.launch();
    await second.finding('YamlSyntax');
    await waitFor(() => host.status(), 30_000, { what: 'the status file' });
    expect(await host.xdp()).toEqual(program);
    expect(await host.answers()).toBe(false);

    host.write('guard', portScanPolicy('guard'));
    await second.until((line) => line.event === 'finding-gone' && line.code === 'YamlSyntax', 'the finding to go');
    expect(await host.answers()).toBe(false);
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress }]);
  });
});

describe('a damaged file of --state', () => {
  it.each([
    ['no JSON', '{"formatVersion": 1, "blocks": ['],
    ['of another version', '{"formatVersion": 99}'],
    ['empty', ''],
    ['JSON of something else', '[1, 2, 3]'],
  ])('is told, left aside and written anew: %s', async (_, text) => {
    await using host = await GuardedHost.create();
    const state = new StateFolder(host);
    mkdirSync(join(state.blocksFile, '..'));
    writeFileSync(state.blocksFile, text);
    writeFileSync(state.objectsFile, text);
    host.write('guard', portScanPolicy('guard'));
    const agent = await host.start(state.args);
    const told = agent.events('failed').filter(({ code }) => code === 'StateUnreadable');
    expect(told.map(({ msg }) => String(msg).split(':')[0]).sort()).toEqual([state.blocksFile, state.objectsFile]);
    expect(agent.events('failed')).toHaveLength(2);
    await host.scan(20);
    expect(await host.reached()).toBe(distinctTargets - 1);
    await agent.stop();
    expect(state.blocks).toMatchObject({ formatVersion: 1, blocks: [{ source: attackerAddress }] });
    expect(readFileSync(state.objectsFile, 'utf8')).toContain('"guard"');
  });

  it('refuses the start when the folder itself cannot be made, and names it', async () => {
    await using host = await GuardedHost.create();
    const file = join(host.net.folder(), 'file');
    writeFileSync(file, '');
    const { code, stderr } = await host.launch(['--state', join(file, 'state')]).command.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('StateUnreadable');
    expect(stderr).toContain(join(file, 'state'));
  });
});
