import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { BlockDocument } from '../../agent/report/block-document.ts';
import { Agent, portScanPolicy } from '../support/agent.ts';
import { Arrivals } from '../support/arrivals.ts';
import { type Namespace, TestNet, waitFor } from '../support/namespaces.ts';
import { connectAll, connects, Flow, send, serve } from './tcp.ts';

const distinctTargets = 5;
const link = 'guard0';
const echoPort = 7000;
const victim4 = '192.0.2.1';
const client4 = '192.0.2.2';
const passed = (reason: string): string =>
  `portcullis_packets_total{verdict="pass",reason="${reason}",kind="PortScanPolicy",owner="guard"}`;

/** Ports at which nobody listens: as many as make a scanner. */
const closedPorts = Array.from({ length: distinctTargets }, (_, index) => 2000 + index);

interface Scene {
  readonly victim: Namespace;
  readonly client: Namespace;
  readonly agent: Agent;
}

/** A guarded host with an echo server, and a neighbour. */
async function scene(net: TestNet, block: object, counters: Readonly<Record<string, string>> = {}) {
  const victim = await net.namespace('victim');
  const client = await net.namespace('client');
  await net.veth(
    { namespace: victim, name: link, addresses: [`${victim4}/24`, '2001:db8::1/64', 'fe80::1/64'] },
    { namespace: client, name: 'out0', addresses: [`${client4}/24`, '2001:db8::2/64', 'fe80::2/64'] },
  );
  await serve(victim, 'echo', [echoPort]);
  const agent = await Agent.start(net, victim, {
    policies: { guard: portScanPolicy([link], { detection: { distinctTargets }, block }) },
  });
  return { victim, client, agent, arrivals: await Arrivals.count(victim, counters) };
}

/** Connects to closed ports of a host until that blocks the caller, who has touched `others` of its ports before. */
async function getBlocked({ client, agent }: Scene, others: 0 | 1, host: string = victim4): Promise<BlockDocument> {
  const result = await connectAll(client, { hosts: [host], ports: closedPorts, concurrency: 1, timeoutMs: 300 });
  const refused = distinctTargets - 1 - others;
  expect(result).toEqual({ connected: 0, refused, timedOut: distinctTargets - refused, failed: 0 });
  const blocks = await agent.blocks();
  expect(blocks).toMatchObject([{ state: 'blocked', probes: distinctTargets }]);
  return blocks[0]!;
}

const secondsOf = (block: BlockDocument): number =>
  Math.round((Date.parse(block.until) - Date.parse(block.since)) / 1000);

describe('a real connection of a source that is blocked for scanning', () => {
  it.each([
    ['IPv4', victim4, client4],
    ['IPv6', '2001:db8::1', '2001:db8::2'],
    ['link-local IPv6', 'fe80::1%out0', 'fe80::2'],
  ])('lives on over %s, also when its neighbour entry has gone, and no new one opens', async (_, host, source) => {
    await using net = await TestNet.create();
    const all = await scene(net, {});
    const { victim, client, agent } = all;
    const flow = await Flow.open(client, host, echoPort);
    const block = await getBlocked(all, 1, host);
    expect(block.source).toBe(source);
    expect(await connects(client, host, echoPort)).toBe(false);
    await flow.transfers();

    // The flow goes on all the while, so that its neighbour may be learned again before we look.
    const forgotten = async () => {
      await victim.exec(['ip', 'neigh', 'flush', 'dev', link]);
      const { stdout } = await victim.exec(['ip', 'neigh', 'show', 'dev', link]);
      return !new RegExp(`^${source} .*lladdr`, 'm').test(stdout);
    };
    await waitFor(forgotten, 30_000, { what: 'the neighbour entry to be gone' });
    await flow.transfers();
    const { stdout: learned } = await victim.exec(['ip', 'neigh', 'show', 'dev', link]);
    expect(learned).toMatch(new RegExp(`^${source} .*lladdr`, 'm'));
    expect(await agent.metric(passed('live-flow'))).toBeGreaterThan(40);
    expect(await connects(client, host, echoPort)).toBe(false);
    expect(await agent.blocks()).toMatchObject([{ source }]);
  });

  it('stalls where the policy blocks all traffic', async () => {
    await using net = await TestNet.create();
    const all = await scene(net, { traffic: 'All' });
    const flow = await Flow.open(all.client, victim4, echoPort);
    await getBlocked(all, 1);
    // What was on its way when the block began.
    await sleep(200);
    const before = flow.echoed;
    await sleep(1_500);
    expect(flow.echoed).toBe(before);
    await all.agent.ask('unblock', client4);
    await flow.transfers();
  });
});

describe('the host itself', () => {
  it('still opens connections to a source that it blocks', async () => {
    await using net = await TestNet.create();
    const all = await scene(net, {});
    await serve(all.client, 'echo', [echoPort]);
    await getBlocked(all, 0);
    const flow = await Flow.open(all.victim, client4, echoPort);
    await flow.transfers();
    expect(await connects(all.client, victim4, echoPort)).toBe(false);
  });
});

/** Each kind: how hping3 sends one, and how it is told apart on the host. */
const strays: readonly (readonly [name: string, args: readonly string[], match: string])[] = [
  ['ack', ['-A', '-p', '2000'], 'tcp dport 2000 tcp flags == ack'],
  ['fin', ['-F', '-p', '2000'], 'tcp dport 2000 tcp flags == fin'],
  ['fin_ack', ['-F', '-A', '-p', '2000'], 'tcp dport 2000 tcp flags == fin | ack'],
  ['syn_ack', ['-S', '-A', '-p', '2000'], 'tcp dport 2000 tcp flags == syn | ack'],
  ['rst', ['-R', '-p', `${echoPort}`], `tcp dport ${echoPort} tcp flags == rst`],
  ['ack_to_listener', ['-A', '-p', `${echoPort}`, '-s', '50000'], 'tcp sport 50000'],
  ['fragments', ['-A', '-p', '2001', '-f', '-d', '64'], 'ip frag-off & 0x3fff != 0'],
  ['datagrams', ['-2', '-p', '2000'], 'meta l4proto udp'],
  ['ping', ['-1'], 'icmp type echo-request'],
  ['icmp_error', ['-1', '-C', '3', '-K', '1'], 'icmp type destination-unreachable'],
];

describe('a source that is blocked for scanning', () => {
  it('gets nothing else through to the host: ACK, FIN, RST, fragments, UDP, ping and ICMP errors', async () => {
    await using net = await TestNet.create();
    const counters = Object.fromEntries(strays.map(([name, , match]) => [name, match]));
    const all = await scene(net, {}, { ...counters });
    const { victim, client, arrivals } = all;
    // The counters would take what the host says to itself for strays.
    await victim.exec([
      'nft',
      'insert',
      'rule',
      'inet',
      'arrivals',
      'arrivals',
      'ip',
      'saddr',
      '!=',
      client4,
      'accept',
    ]);
    const answered = async (name: string, args: readonly string[]): Promise<number> => {
      const sent = ['hping3', '-q', '-n', '-c', '3', '-i', 'u10000', ...(name === 'ack_to_listener' ? ['-k'] : [])];
      const { stderr } = await client.exec([...sent, ...args, victim4], { allowFailure: true });
      return Number(/(\d+) packets received/.exec(stderr)![1]);
    };

    const silent = new Set(['rst', 'icmp_error']);
    for (const [name, args] of strays) {
      const answers = await answered(name, args);
      if (!silent.has(name)) expect(answers, `answers to ${name} before the block`).toBeGreaterThan(0);
      expect(await arrivals.packets(name), `${name} before the block`).toBeGreaterThanOrEqual(3);
    }
    await connectAll(client, { hosts: [victim4], ports: closedPorts, concurrency: 1, timeoutMs: 300 });
    expect(await all.agent.blocks()).toHaveLength(1);

    // All at once, since hping3 waits a second for answers that must not come.
    const arrived = () => Promise.all(strays.map(async ([name]) => [name, await arrivals.packets(name)] as const));
    const before = await arrived();
    const answers = await Promise.all(strays.map(async ([name, args]) => [name, await answered(name, args)] as const));
    expect(answers).toEqual(strays.map(([name]) => [name, 0]));
    expect(await arrived()).toEqual(before);
    const [block] = await all.agent.blocks();
    expect(block!.packetsDropped).toBeGreaterThanOrEqual(strays.length * 3);
  });

  it('gets nothing else through over IPv6 either', async () => {
    await using net = await TestNet.create();
    const all = await scene(net, {});
    const probe = async (kind: string): Promise<string> => {
      const args = ['-6', '-n', '-Pn', '--max-retries', '1', '--max-rtt-timeout', '200ms', '-p9', kind, '2001:db8::1'];
      return /^9\/\w+\s+(\S+)/m.exec((await all.client.exec(['nmap', ...args])).stdout)![1]!;
    };
    expect(await probe('-sA')).toBe('unfiltered');
    expect(await probe('-sU')).toBe('closed');
    expect(await probe('-sM')).toBe('closed');
    await getBlocked(all, 0, '2001:db8::1');
    expect(await probe('-sA')).toBe('filtered');
    expect(await probe('-sU')).toBe('open|filtered');
    expect(await probe('-sM')).toBe('open|filtered');
  });
});

describe('an ICMP error of a blocked source', () => {
  it('passes when it quotes a live flow: the host learns the smaller MTU of the path', async () => {
    await using net = await TestNet.create();
    const [victim, near, far, peer] = await Promise.all(
      ['victim', 'near', 'far', 'peer'].map((each) => net.namespace(each)),
    );
    const farAddress = '198.51.100.2';
    await net.veth(
      { namespace: victim!, name: link, addresses: [`${victim4}/24`] },
      { namespace: near!, name: 'outer0', addresses: ['192.0.2.254/24'] },
    );
    await net.veth(
      { namespace: near!, name: 'inner0', addresses: ['198.51.100.1/24'] },
      { namespace: far!, name: 'outer0', addresses: [`${farAddress}/24`] },
    );
    await net.veth(
      { namespace: far!, name: 'inner0', addresses: ['203.0.113.1/24'] },
      { namespace: peer!, name: 'out0', addresses: ['203.0.113.2/24'] },
    );
    await victim!.ip('route add default via 192.0.2.254');
    await near!.ip('route add 203.0.113.0/24 via 198.51.100.2');
    await far!.ip('route add 192.0.2.0/24 via 198.51.100.1', 'link set inner0 mtu 1300');
    await peer!.ip('route add default via 203.0.113.1');
    // Only where an error is rate-limited does its number depend on time.
    for (const router of [near!, far!]) await router.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv4.icmp_ratelimit': 0 });
    // Without this a host may find out the MTU by itself.
    await victim!.sysctl({ 'net.ipv4.tcp_mtu_probing': 0 });
    await serve(peer!, 'sink', [echoPort]);
    const agent = await Agent.start(net, victim!, {
      policies: { guard: portScanPolicy([link], { detection: { distinctTargets } }) },
    });
    const arrivals = await Arrivals.count(victim!, { too_big: 'icmp type destination-unreachable icmp code 4' });
    await connectAll(far!, { hosts: [victim4], ports: closedPorts, timeoutMs: 300 });
    expect(await agent.blocks()).toMatchObject([{ source: farAddress, state: 'blocked' }]);

    // Made up by the source, of the same kind and quoting nothing that is there.
    await far!.exec(['hping3', '-q', '-n', '-c', '5', '-i', 'u10000', '-1', '-C', '3', '-K', '4', victim4], {
      allowFailure: true,
    });
    expect(await arrivals.packets('too_big')).toBe(0);
    expect((await agent.metric(passed('icmp-error'))) ?? 0).toBe(0);

    const bytes = 200_000;
    expect(await send(victim!, { host: '203.0.113.2', port: echoPort, bytes, timeoutMs: 8_000 })).toBe(bytes);
    expect(await arrivals.packets('too_big')).toBeGreaterThan(0);
    expect(await agent.metric(passed('icmp-error'))).toBe(await arrivals.packets('too_big'));
    expect(await agent.blocks()).toMatchObject([{ source: farAddress }]);
  });
});

describe('how long a source is blocked', () => {
  const block = { unprovenDuration: '3s', duration: '20s' };

  it('is unprovenDuration after a SYN scan, whose source may be forged', async () => {
    await using net = await TestNet.create();
    const { client, agent } = await scene(net, block);
    // Begins at the open port, whose SYN+ACK the scanner's kernel answers by a RST.
    const scan = [
      'hping3',
      '-q',
      '-n',
      '-S',
      '-p',
      `++${echoPort}`,
      '-c',
      `${distinctTargets}`,
      '-i',
      'u20000',
      victim4,
    ];
    await client.exec(scan, { allowFailure: true });
    const [found] = await agent.blocks();
    expect(found).toMatchObject({ source: client4, proven: false });
    expect(secondsOf(found!)).toBe(3);
    await sleep(Math.max(0, Date.parse(found!.until) + 500 - Date.now()));
    expect(await agent.blocks()).toEqual([]);
    expect(await connects(client, victim4, echoPort)).toBe(true);
  });

  it('is duration once a connect scanner answers the SYN+ACK of an open port, though nothing opens for it', async () => {
    await using net = await TestNet.create();
    const all = await scene(net, block);
    // As a long way does: the answer reaches the scanner when it is blocked already.
    await all.client.exec(['nft', '-f', '-'], {
      input: `table ip slow { chain in { type filter hook prerouting priority -400; tcp sport ${echoPort} drop; }; }`,
    });
    const open = connectAll(all.client, { hosts: [victim4], ports: [echoPort], timeoutMs: 6_000 });
    await waitFor(async () => (await all.arrivals.ports(client4)).includes(echoPort), 30_000, {
      what: 'the first SYN',
    });
    expect(await getBlocked(all, 1)).toMatchObject({ source: client4, proven: false });
    await all.client.exec(['nft', 'delete', 'table', 'ip', 'slow']);
    // The host repeats its SYN+ACK after 1 s, 2 s and 4 s.
    const proven = await waitFor(async () => (await all.agent.blocks()).find((each) => each.proven), 8_000, {
      what: 'the proof',
    });
    expect(secondsOf(proven)).toBe(20);
    const { stdout } = await all.victim.exec(['ss', '-Hnt', 'state', 'established', `sport = :${echoPort}`]);
    expect(stdout).toBe('');
    await open;
  });

  it('is duration, from the beginning of the block, once a connection that has carried nothing yet proves the source', async () => {
    await using net = await TestNet.create();
    const all = await scene(net, block);
    const flow = await Flow.openSilently(all.client, victim4, echoPort, 2_000);
    const first = await getBlocked(all, 1);
    expect(first.proven).toBe(false);
    await flow.transfers();
    const [proven] = await all.agent.blocks();
    expect(proven).toMatchObject({ source: client4, proven: true });
    expect(Math.abs(Date.parse(proven!.since) - Date.parse(first.since))).toBeLessThan(100);
    expect(secondsOf(proven!)).toBe(20);
    await sleep(Math.max(0, Date.parse(proven!.since) + 4_000 - Date.now()));
    expect(await connects(all.client, victim4, echoPort)).toBe(false);
  });
});
