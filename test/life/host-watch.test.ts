import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostLink, HostSnapshot } from '../../agent/host/snapshot.ts';

/** A change is seen within a second; a test may run on a machine that is busy with others. */
const patienceMs = 15_000;
const namespace = `pc-host-${process.pid}`;
const script = join(import.meta.dirname, 'host-watch-child.ts');
// The one that runs TypeScript as it is, whichever runs the tests.
const node = join(import.meta.dirname, '../../node_modules/.bin/node');
const nsenter = ['nsenter', `--net=/run/netns/${namespace}`];

const run = (command: string, ...rest: string[]) => execFileSync(command, rest, { encoding: 'utf8' });
const ip = (line: string) => run('ip', '-n', namespace, ...line.split(' '));
const ipBatch = (lines: string[]) =>
  execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n'), encoding: 'utf8' });

class Watcher {
  readonly snapshots: HostSnapshot[] = [];
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  errors = '';

  constructor(folder: string) {
    const [command = '', ...args] = [...nsenter, node, script, '--watch', folder];
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.snapshots.push(JSON.parse(line)));
    this.child.stderr!.on('data', (text) => {
      this.errors += text;
    });
  }

  /** The newest snapshot, once it satisfies `holds`; fails after `timeoutMs` with what was there instead. */
  async until(holds: (snapshot: HostSnapshot) => boolean, timeoutMs = patienceMs): Promise<HostSnapshot> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const newest = this.snapshots.at(-1);
      if (newest && holds(newest)) return newest;
      if (performance.now() > deadline) {
        throw new Error(`not within ${timeoutMs} ms; newest: ${JSON.stringify(newest)}\n${this.errors}`);
      }
      await sleep(5);
    }
  }
}

let folder: string;
let host: Watcher;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portcullis-host-'));
  run('ip', 'netns', 'add', namespace);
  host = new Watcher(folder);
  await host.until(() => true);
});

afterEach(async () => {
  host.child.kill('SIGKILL');
  await host.ended;
  run('ip', 'netns', 'del', namespace);
  rmSync(folder, { recursive: true });
});

const link = (snapshot: HostSnapshot, name: string): HostLink | undefined =>
  snapshot.links.find((each) => each.name === name);
const indexOf = (snapshot: HostSnapshot, name: string) => link(snapshot, name)?.ifindex ?? -1;
const hasAddress = (address: string) => (snapshot: HostSnapshot) =>
  snapshot.addresses.some((each) => each.address === address);

describe('watchHost', () => {
  it('starts with what is there', async () => {
    const snapshot = await host.until(() => true);
    expect(link(snapshot, 'lo')).toMatchObject({ ifindex: 1, type: 772, up: false, mtu: 65536 });
    expect(snapshot.addresses).toEqual([]);
    expect(snapshot.resolvers).toEqual([]);
  });

  it('follows an interface that is made, brought up, resized, renamed, enslaved and deleted', async () => {
    ip('link add v0 mtu 9000 type veth peer name v1');
    const made = await host.until((snapshot) => link(snapshot, 'v0') !== undefined);
    expect(link(made, 'v0')).toMatchObject({ type: 1, kind: 'veth', up: false, mtu: 9000 });
    ip('link set v0 up');
    await host.until((snapshot) => link(snapshot, 'v0')?.up === true);
    ip('link set v0 mtu 1400');
    await host.until((snapshot) => link(snapshot, 'v0')?.mtu === 1400);
    ip('link set v0 name lan0');
    const renamed = await host.until((snapshot) => link(snapshot, 'lan0') !== undefined);
    expect(link(renamed, 'v0')).toBeUndefined();
    expect(indexOf(renamed, 'lan0')).toBe(indexOf(made, 'v0'));
    ip('link add br0 type bridge');
    ip('link set lan0 master br0');
    const enslaved = await host.until((snapshot) => link(snapshot, 'lan0')?.master !== undefined);
    expect(link(enslaved, 'lan0')!.master).toBe(indexOf(enslaved, 'br0'));
    ip('link del lan0');
    const gone = await host.until((snapshot) => link(snapshot, 'lan0') === undefined);
    expect(link(gone, 'v1')).toBeUndefined();
  });

  it('tells the type of an interface that is not Ethernet', async () => {
    ip('tuntap add tun0 mode tun');
    const snapshot = await host.until((each) => link(each, 'tun0') !== undefined);
    expect(link(snapshot, 'tun0')).toMatchObject({ type: 65534, kind: 'tun' });
  });

  it('follows addresses of every scope, tentative ones at once', async () => {
    ip('link set lo up');
    await host.until((snapshot) => hasAddress('127.0.0.1')(snapshot) && hasAddress('::1')(snapshot));
    ip('link add v0 type veth peer name v1');
    ip('address add 192.0.2.130/24 broadcast + dev v0');
    const four = await host.until(hasAddress('192.0.2.130'));
    expect(four.addresses.find((each) => each.address === '192.0.2.130')).toEqual({
      ifindex: indexOf(four, 'v0'),
      address: '192.0.2.130',
      prefixLength: 24,
      broadcast: '192.0.2.255',
    });
    // The peer is down, so duplicate detection cannot end: the address stays tentative.
    ip('link set v0 up');
    ip('address add 2001:db8::a/64 dev v0');
    await host.until(hasAddress('2001:db8::a'));
    ip('address add 198.51.100.1 peer 198.51.100.2/32 dev v0');
    const peer = await host.until(hasAddress('198.51.100.1'));
    expect(hasAddress('198.51.100.2')(peer)).toBe(false);
    ip('address del 192.0.2.130/24 dev v0');
    await host.until((snapshot) => !hasAddress('192.0.2.130')(snapshot));
  });

  it('follows routes of both families, of other tables, with several next hops, and those that go with their link', async () => {
    ip('link add v0 type veth peer name v1');
    ip('link set v0 up');
    ip('link set v1 up');
    ip('address add 192.0.2.2/24 dev v0');
    ip('address add 2001:db8::2/64 dev v0 nodad');
    ip('route add default via 192.0.2.1 metric 7');
    ip('-6 route add default via 2001:db8::1 dev v0');
    ip('route add default via 192.0.2.3 table 1000');
    ip('route add 198.51.100.0/24 nexthop via 192.0.2.4 dev v0 nexthop via 192.0.2.5 dev v0');
    ip('route add 203.0.113.0/24 via inet6 2001:db8::6 dev v0');
    ip('route add blackhole 10.0.0.0/8');
    const gateways = (snapshot: HostSnapshot) => snapshot.routes.flatMap((each) => each.gateway ?? []).sort();
    const wanted = ['192.0.2.1', '192.0.2.3', '192.0.2.4', '192.0.2.5', '2001:db8::1', '2001:db8::6'];
    const snapshot = await host.until((each) => gateways(each).length >= wanted.length);
    expect(gateways(snapshot)).toEqual(wanted);
    const ifindex = indexOf(snapshot, 'v0');
    expect(snapshot.routes).toContainEqual({
      family: 4,
      destination: '0.0.0.0/0',
      ifindex,
      gateway: '192.0.2.1',
      table: 254,
      metric: 7,
    });
    expect(snapshot.routes).toContainEqual(
      expect.objectContaining({ destination: '2001:db8::/64', ifindex, table: 254 }),
    );
    expect(snapshot.routes).toContainEqual(expect.objectContaining({ destination: '0.0.0.0/0', table: 1000 }));
    expect(snapshot.routes.filter((each) => each.destination.startsWith('10.'))).toEqual([]);
    expect(snapshot.routes.filter((each) => each.table === 255)).toEqual([]);
    ip('link set v0 down');
    await host.until((each) => !gateways(each).includes('192.0.2.1'));
  });

  it('reads a table that is far larger than one message, and tells one route for each next hop', async () => {
    ip('link add v0 type veth peer name v1');
    ip('link set v0 up');
    ip('address add 192.0.2.2/24 dev v0');
    const before = host.snapshots.length;
    ipBatch(
      Array.from({ length: 20_000 }, (_, i) => `route add 10.${i >> 8}.${i & 255}.0/24 via 192.0.2.${3 + (i % 50)}`),
    );
    ipBatch(Array.from({ length: 2_000 }, (_, i) => `address add 172.16.${i >> 8}.${i & 255}/12 dev v0`));
    const snapshot = await host.until((each) => each.addresses.length >= 2_001);
    expect(snapshot.routes.filter((each) => each.gateway !== undefined)).toHaveLength(50);
    // One for each burst, not one for each of 22,000 changes.
    expect(host.snapshots.length - before).toBeLessThan(100);
  });

  it('sees resolvers change, by a write and by a rename', async () => {
    writeFileSync(join(folder, 'resolv.conf'), 'nameserver 192.0.2.53\n');
    await host.until((snapshot) => snapshot.resolvers.join() === '192.0.2.53');
    writeFileSync(join(folder, 'upstreams.conf'), 'nameserver 192.0.2.54\n');
    writeFileSync(join(folder, 'new-resolv.conf'), 'nameserver 127.0.0.53\n');
    renameSync(join(folder, 'new-resolv.conf'), join(folder, 'resolv.conf'));
    await host.until((snapshot) => snapshot.resolvers.join() === '127.0.0.53,192.0.2.54');
  });

  it('tells XDP programs of others; the driver says itself why native mode is refused', async () => {
    ip('link add br0 type bridge');
    // The kernel announces XDP changes of interfaces that are up.
    ip('link set br0 up');
    const ifindex = indexOf(await host.until((snapshot) => link(snapshot, 'br0') !== undefined), 'br0');
    const [command = '', ...args] = [...nsenter, node, script, '--xdp', String(ifindex)];
    const [native, generic] = JSON.parse(run(command, ...args));
    expect(native.code).toBe('EOPNOTSUPP');
    expect(native.message).toMatch(/native mode/);
    expect(generic.code).toBe('OK');
    const snapshot = await host.until((each) => link(each, 'br0')?.xdp !== undefined);
    expect(link(snapshot, 'br0')?.xdp).toEqual({ mode: 'generic', programId: expect.any(Number) });
    expect(link(snapshot, 'br0')?.xdp?.programId).toBeGreaterThan(0);
  });

  it('says nothing while nothing changes, and ends by itself when told to stop', async () => {
    const before = host.snapshots.length;
    await sleep(500);
    expect(host.snapshots.length).toBe(before);
    host.child.kill('SIGTERM');
    expect(await host.ended).toBe(0);
    expect(host.errors).toBe('');
  });
});
