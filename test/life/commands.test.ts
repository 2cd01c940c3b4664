import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentScript } from '../support/agent.ts';
import { nodePath, waitFor } from '../support/namespaces.ts';
import {
  attackerAddress,
  bystanderAddress,
  distinctTargets,
  GuardedHost,
  ipBlocklist,
  otherAddresses,
  portScanPolicy,
  victimLink,
} from './guarded-host.ts';

const [oneAddress, twoAddress] = otherAddresses;
/** Covers both of otherAddresses, and neither the attacker nor the bystander. */
const prefix = '192.0.2.4/30';

describe('commands, with no agent running', () => {
  let host: GuardedHost;
  const state: string[] = [];

  beforeAll(async () => {
    host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    state.push('--state', join(host.net.folder(), 'state'));
    const agent = await host.start(state);
    await host.scan(20);
    await agent.stop();
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it('blocked shows who is blocked, why and until when: as a table, wide, and as JSON', async () => {
    const table = await host.ask(['blocked']);
    expect(table).toMatchObject({ code: 0, stderr: '' });
    expect(table.stdout).toMatch(/^SOURCE +POLICY +PROVEN +PROBES +PORTS +SINCE +UNTIL +DROPPED$/m);
    expect(table.stdout).toMatch(
      new RegExp(`^192\\.0\\.2\\.2 +guard +no +${distinctTargets} +1004(,100[0-3]){4} `, 'm'),
    );
    const wide = await host.ask(['blocked', '-o', 'wide']);
    expect(wide.stdout).toMatch(/ INTERFACE +STATE +REASON$/m);
    expect(wide.stdout).toMatch(new RegExp(` ${victimLink} +blocked +-$`, 'm'));
    const [block, ...more] = await host.blocks();
    expect(more).toEqual([]);
    expect(block).toMatchObject({
      source: attackerAddress,
      kind: 'PortScanPolicy',
      policy: 'guard',
      state: 'blocked',
      proven: false,
      probes: distinctTargets,
      interface: victimLink,
      packetsDropped: 16,
      reason: null,
    });
    // The newest is first; those that came within one tick of the kernel's clock have no order.
    expect(block!.ports[0]).toBe(1004);
    expect(block!.ports.toSorted()).toEqual([1000, 1001, 1002, 1003, 1004]);
    // unprovenDuration, and a little more: the scan went on for as many targets again, which renewed the block.
    const lastsMs = Date.parse(block!.until) - Date.parse(block!.since);
    expect(lastsMs).toBeGreaterThanOrEqual(300_000);
    expect(lastsMs).toBeLessThan(301_000);
  });

  it('status tells that no agent runs and what is in force all the same', async () => {
    const { code, stdout } = await host.ask(['status']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Pin path: ${host.pinPath}\nAgent: not running`);
    expect(stdout).toMatch(new RegExp(`^ *${victimLink} +native +[\\d,]+ +[\\d,]+ +guard$`, 'm'));
    expect(stdout).toMatch(/^ *15 +drop +scan-blocked +PortScanPolicy\/guard$/m);
    expect(stdout).toMatch(/^ *blocks +1 +65,536 +<1 %$/m);
    const json = JSON.parse((await host.ask(['status', '-o', 'json'])).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({ agentRunning: false, interfaces: [{ name: victimLink, policy: 'guard' }] });
  });

  it('unblock lifts the block at once and for good, and the source starts again at zero targets', async () => {
    expect(await host.answers()).toBe(false);
    const done = await host.ask(['unblock', attackerAddress, ...state]);
    expect(done).toMatchObject({ code: 0, stdout: `unblocked ${attackerAddress} (guard)\n` });
    expect(await host.answers()).toBe(true);
    // That was one target of five; another three are no scan yet.
    await host.scan(distinctTargets - 2, { first: 2000 });
    expect(await host.blocks()).toEqual([]);
    await host.scan(1, { first: 3000 });
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress, probes: distinctTargets }]);
    await host.ask(['unblock', attackerAddress, ...state]);
  });

  it('unblock takes the source out of --state, so that a reboot does not bring it back', async () => {
    await host.scan(20, { first: 4000 });
    const agent = await host.start(state);
    await agent.stop();
    const saved = async () => (await host.victim.exec(['cat', join(state[1]!, 'blocks.json')])).stdout;
    expect(await saved()).toContain(`"${attackerAddress}"`);
    await host.ask(['unblock', attackerAddress, ...state]);
    expect(JSON.parse(await saved())).toMatchObject({ formatVersion: 1, blocks: [] });
  });

  it('block cuts off an address or a prefix, shows the reason, and unblock takes exactly that back', async () => {
    const done = await host.ask(['block', prefix, '--for', '1h', '--reason', 'credential stuffing']);
    expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining(`blocked ${prefix}, ends `) });
    expect(await host.answers(oneAddress)).toBe(false);
    expect(await host.answers(twoAddress)).toBe(false);
    expect(await host.answers(bystanderAddress)).toBe(true);
    const [block] = await host.blocks();
    expect(block).toMatchObject({ source: prefix, kind: 'Manual', policy: null, reason: 'credential stuffing' });
    expect(block!.packetsDropped).toBeGreaterThanOrEqual(2);
    expect((await host.ask(['blocked', '-o', 'wide'])).stdout).toContain('credential stuffing');
    expect((await host.ask(['unblock', oneAddress])).stderr).toContain('NotBlocked');
    expect(await host.ask(['unblock', prefix])).toMatchObject({ stdout: `unblocked ${prefix} (manual)\n` });
    expect(await host.answers(oneAddress)).toBe(true);
  });

  it.each([
    { order: 'the wider one first', sources: [prefix, oneAddress] },
    { order: 'the narrower one first', sources: [oneAddress, prefix] },
  ])('a block that ends does not open a wider one that holds: $order', async ({ sources }) => {
    for (const source of sources) {
      const duration = source === prefix ? '1h' : '1s';
      expect(await host.ask(['block', source, '--for', duration, '--reason', 'test'])).toMatchObject({ code: 0 });
    }
    await waitFor(async () => (await host.blocks()).length === 1, 30_000, { what: 'the narrower block to end' });
    await sleep(100);
    expect(await host.answers(oneAddress)).toBe(false);
    await host.ask(['unblock', prefix]);
    expect(await host.answers(oneAddress)).toBe(true);
  });

  it('a block that is lifted leaves the narrower one inside in force until its own time', async () => {
    await host.ask(['block', prefix, '--for', '1h', '--reason', 'wide']);
    await host.ask(['block', oneAddress, '--for', '3s', '--reason', 'narrow']);
    await host.ask(['unblock', prefix]);
    expect(await host.answers(twoAddress)).toBe(true);
    expect(await host.answers(oneAddress)).toBe(false);
    await waitFor(() => host.answers(oneAddress), 30_000, { what: 'the narrower block to end by itself' });
  });

  it('block of an IPv6 prefix holds', async () => {
    const six = '2001:db8::2';
    expect(await host.answers(six)).toBe(true);
    expect(await host.ask(['block', '2001:db8::/64', '--for', '1h', '--reason', 'six'])).toMatchObject({ code: 0 });
    expect(await host.answers(six)).toBe(false);
    await host.ask(['unblock', '2001:db8::/64']);
    expect(await host.answers(six)).toBe(true);
  });

  it.each([
    ['a source that is not blocked', ['unblock', '198.51.100.7'], 'NotBlocked', '198.51.100.7'],
    ['no address', ['unblock', 'scanner.example'], 'NotAnAddress', 'scanner.example'],
    [
      'a prefix with host bits',
      ['block', '192.0.2.4/24', '--for', '1h', '--reason', 'x'],
      'NotAnAddress',
      '192.0.2.0/24',
    ],
    ['half of the Internet', ['block', '0.0.0.0/1', '--for', '1h', '--reason', 'x'], 'TooWide', '/8'],
  ])('%s is refused with a message that says so', async (_, args, code, text) => {
    const refused = await host.ask(args);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(`portcullis-agent: ${code}: `);
    expect(refused.stderr).toContain(text);
  });

  it.each([
    ['blocked'],
    ['status'],
    ['unblock', attackerAddress],
    ['block', attackerAddress, '--for', '1h', '--reason', 'x'],
    ['detach'],
  ])('says where nothing is pinned: %s', async (...args) => {
    const elsewhere = `${host.pinPath}/elsewhere`;
    const refused = await host.ask(args, elsewhere);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(`NothingPinned: nothing is pinned at ${elsewhere}`);
    expect(refused.stderr).toContain('--pin-path');
  });

  it('detach takes everything off, and a second time says that there is nothing', async () => {
    expect(await host.ask(['detach'])).toMatchObject({ code: 0, stdout: `detached from ${victimLink}\n` });
    expect(await host.xdp()).toBeUndefined();
    expect((await host.victim.exec(['ls', '-A', host.pinPath], { allowFailure: true })).stdout).toBe('');
    const again = await host.ask(['detach']);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('NothingPinned') });
  });
});

describe('commands of somebody who is not root', () => {
  const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs'];

  it('check reads policies and tells what is wrong; the others say that they need root', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    host.write('wrong', { ...(portScanPolicy('wrong', { mode: 'Block' as never }) as object) });
    // The folder of a test is its owner's alone.
    await host.victim.exec(['chmod', '-R', 'a+rX', join(host.policies, '..')]);
    const check = await host.victim.exec([...nobody, nodePath, agentScript, 'check', host.policies], {
      allowFailure: true,
    });
    expect(check.code).toBe(1);
    expect(check.stdout).toMatch(/wrong\.yaml:\d+: error NotAllowedValue PortScanPolicy\/wrong spec\.mode: /);
    expect(check.stdout).toContain('1 valid object, 1 error');
    for (const command of ['blocked', 'status']) {
      const refused = await host.victim.exec([...nobody, nodePath, agentScript, command], { allowFailure: true });
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('NotRoot') });
    }
  });
});

describe('commands beside an agent', () => {
  it('block and unblock take effect at once, and the agent keeps them', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const agent = await host.start();
    await host.ask(['block', prefix, '--for', '1h', '--reason', 'by hand']);
    await host.ask(['block', oneAddress, '--for', '2s', '--reason', 'short']);
    expect(await host.answers(oneAddress)).toBe(false);
    await waitFor(() => host.status()?.blocks.items.some(({ source }) => source === prefix), 5_000, {
      what: 'the block in the status file',
    });
    // The agent clears what has expired every ten seconds: that must not open the wider block either.
    await waitFor(async () => (await host.blocks()).length === 1, 30_000, { what: 'the short block to end' });
    await sleep(10_500);
    expect(await host.answers(oneAddress)).toBe(false);
    expect((await host.ask(['status'])).stdout).toContain('Agent: running');
    await host.ask(['unblock', prefix]);
    expect(await host.answers(oneAddress)).toBe(true);
    await host.scan(20);
    await host.ask(['unblock', attackerAddress]);
    expect(await host.answers()).toBe(true);
    expect(agent.events('failed')).toEqual([]);
  });
});

/** RFC 3339 without fractions, `seconds` from now. */
const inSeconds = (seconds: number): string =>
  new Date(Math.ceil(Date.now() / 1000 + seconds) * 1000).toISOString().replace('.000', '');

describe('entries that expire', () => {
  it('an allow entry ends on time, also without an agent', async () => {
    await using host = await GuardedHost.create();
    const expiresAt = inSeconds(4);
    host.write('guard', portScanPolicy('guard', { allow: [{ cidr: `${attackerAddress}/32`, expiresAt }] }));
    const agent = await host.start();
    await host.scan(20);
    expect(await host.blocks()).toEqual([]);
    expect(await host.reached()).toBe(20);
    await agent.stop();
    await sleep(Math.max(0, Date.parse(expiresAt) + 200 - Date.now()));
    await host.scan(20, { first: 5000 });
    expect(await host.blocks()).toMatchObject([{ source: attackerAddress }]);
    expect(await host.reached()).toBe(20 + distinctTargets - 1);
  });

  it('a listed entry ends on time, and the others of its list go on', async () => {
    await using host = await GuardedHost.create();
    const expiresAt = inSeconds(3);
    const expiresMs = Date.parse(expiresAt);
    host.write('bad', ipBlocklist('bad', [{ cidr: `${oneAddress}/32`, expiresAt }, { cidr: `${twoAddress}/32` }]));
    await host.start();
    expect(await host.answers(oneAddress)).toBe(false);
    await waitFor(() => host.answers(oneAddress), 30_000, { what: 'the entry to end' });
    const lateMs = Date.now() - expiresMs;
    console.log(`figure: a listed entry ended ${lateMs} ms after its time, probed every 400 ms`);
    expect(lateMs).toBeGreaterThan(-250);
    expect(await host.answers(twoAddress)).toBe(false);
    expect(await host.answers(bystanderAddress)).toBe(true);
  });
});

describe('the directory of policies', () => {
  it('is followed: a new file, a broken one, a deleted one', async () => {
    await using host = await GuardedHost.create();
    const agent = await host.start(['--log-level', 'debug']);
    const applied = async (change: () => void, what: string) => {
      const before = agent.applied;
      const startedAt = performance.now();
      change();
      await waitFor(() => agent.applied > before, 30_000, { what });
      console.log(`figure: ${what} after ${Math.round(performance.now() - startedAt)} ms`);
    };
    expect(await host.xdp()).toBeUndefined();

    await applied(
      () => host.write('bad', ipBlocklist('bad', [{ cidr: `${oneAddress}/32` }])),
      'a new file is in force',
    );
    expect(await host.answers(oneAddress)).toBe(false);
    expect(await host.answers(twoAddress)).toBe(true);

    await applied(() => host.write('bad', 'kind: IpBlocklist\nspec:\n  entries: [unclosed\n'), 'a broken file is told');
    expect(await agent.finding('YamlSyntax')).toMatchObject({ file: expect.stringMatching(/bad\.yaml$/), line: 4 });
    expect(await agent.finding('LastGoodKept')).toMatchObject({ object: 'IpBlocklist/bad' });
    expect(await host.answers(oneAddress)).toBe(false);

    await applied(
      () => host.write('bad', ipBlocklist('bad', [{ cidr: `${twoAddress}/32` }])),
      'the repaired file is in force',
    );
    expect(await host.answers(oneAddress)).toBe(true);
    expect(await host.answers(twoAddress)).toBe(false);
    await agent.until((line) => line.event === 'finding-gone' && line.code === 'YamlSyntax', 'the finding to go');

    await applied(() => host.remove('bad'), 'a deleted file is lifted');
    expect(await host.answers(twoAddress)).toBe(true);
    expect(await host.xdp()).toBeUndefined();
  });

  it('a file that its writer has not finished is not read', async () => {
    await using host = await GuardedHost.create();
    host.write('bad', ipBlocklist('bad', [{ cidr: `${oneAddress}/32` }]));
    const agent = await host.start();
    // A writer that takes two seconds, in place, and whose every half would be valid.
    const lines = [`kind: IpBlocklist`, `apiVersion: portcullis.dev/v1alpha1`, `metadata: {name: bad}`, `spec:`];
    const entries = [`  interfaces: {names: [${victimLink}]}`, `  entries:`, `  - cidr: ${oneAddress}/32`];
    const writer = `exec > ${join(host.policies, 'bad.yaml')}; ${[...lines, ...entries].map((line) => `echo '${line}'; sleep 0.2;`).join(' ')}`;
    await host.victim.exec(['sh', '-c', writer]);
    await sleep(1_500);
    expect(agent.events('finding')).toEqual([]);
    expect(await host.answers(oneAddress)).toBe(false);
  });
});
