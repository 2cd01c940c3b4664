import { describe, expect, it } from 'vitest';
import { Agent, portScanPolicy } from '../support/agent.ts';
import { Arrivals } from '../support/arrivals.ts';
import { type Namespace, TestNet } from '../support/namespaces.ts';
import { connectAll, connects, serve } from './tcp.ts';

const distinctTargets = 15;
const scanned = Array.from({ length: 1000 }, (_, index) => index + 1);
const packets = (verdict: string, reason: string): string =>
  `portcullis_packets_total{verdict="${verdict}",reason="${reason}",kind="PortScanPolicy",owner="guard"}`;
const blocksTotal = 'portcullis_blocks_total{policy="guard",state="blocked"}';

interface Attacker {
  readonly namespace: Namespace;
  /** The victim's end of the link between the two. */
  readonly link: string;
  readonly victim: { readonly v4: string; readonly v6: string };
  readonly v4: string;
  readonly v6: string;
}

/** A victim with one link to each of its attackers. Link i is 192.0.i.0/24 and 2001:db8:i+1::/64. */
async function attackedHost(
  net: TestNet,
  attackers: number,
  options: { readonly mtu?: number; readonly offloads?: boolean } = {},
): Promise<{ readonly victim: Namespace; readonly attackers: readonly Attacker[]; readonly links: readonly string[] }> {
  const victim = await net.namespace('victim');
  const all: Attacker[] = [];
  for (let i = 0; i < attackers; i++) {
    const namespace = await net.namespace(`attacker${i}`);
    const attacker: Attacker = {
      namespace,
      link: `guard${i}`,
      victim: { v4: `192.0.${i}.1`, v6: `2001:db8:${i + 1}::1` },
      v4: `192.0.${i}.2`,
      v6: `2001:db8:${i + 1}::2`,
    };
    await net.veth(
      {
        namespace: victim,
        name: attacker.link,
        addresses: [`${attacker.victim.v4}/24`, `${attacker.victim.v6}/64`],
      },
      { namespace, name: 'out0', addresses: [`${attacker.v4}/24`, `${attacker.v6}/64`] },
      options,
    );
    all.push(attacker);
  }
  return { victim, attackers: all, links: all.map(({ link }) => link) };
}

/**
 * Scans ports 1 to 1000 as fast as nmap can: it slows down to a few probes a second where nothing answers, unless it has a
 * least rate. It sends more than one probe to a port that does not answer.
 */
async function nmap(from: Namespace, args: readonly string[], target: string): Promise<number> {
  const startedMs = performance.now();
  const family = target.includes(':') ? ['-6'] : [];
  await from.exec(['nmap', '-n', '-Pn', '-T5', '--min-rate', '2000', '-p1-1000', ...family, ...args, target], {
    timeoutMs: 60_000,
  });
  return Math.round(performance.now() - startedMs);
}

/** N-1 distinct ports of those scanned reached the host, and the agent tells the one scan once, everywhere. */
async function expectCutOff(agent: Agent, arrivals: Arrivals, source: string, blocked = source): Promise<void> {
  const reached = await arrivals.ports(source);
  expect(reached).toHaveLength(distinctTargets - 1);
  const isOfScan = (record: Readonly<Record<string, unknown>>) => record.blocked === blocked;
  await agent.until((line) => line.event === 'scan' && isOfScan(line), `the scan of ${source} to be told`);
  const told = agent.events('scan').filter(isOfScan);
  expect(told).toMatchObject([{ policy: 'guard', source, state: 'blocked', probes: distinctTargets }]);
  const ports = told[0]!.ports as number[];
  expect(ports).toHaveLength(distinctTargets);
  // The newest was dropped; the others are what reached the host.
  expect(ports.slice(1).toSorted((a, b) => a - b)).toEqual(reached);
  expect(scanned).toContain(ports[0]);
  expect(reached).not.toContain(ports[0]);

  const listed = (await agent.blocks()).filter((block) => block.source === blocked);
  expect(listed).toMatchObject([{ policy: 'guard', state: 'blocked', probes: distinctTargets, ports }]);
  expect(listed[0]!.packetsDropped).toBeGreaterThanOrEqual(scanned.length - reached.length);
}

async function expectMode(victim: Namespace, link: string, mode: 'native' | 'generic'): Promise<void> {
  const { stdout } = await victim.exec(['ip', '-j', 'link', 'show', 'dev', link]);
  // XDP_ATTACHED_DRV is 1 and XDP_ATTACHED_SKB is 2, include/uapi/linux/if_link.h.
  expect(JSON.parse(stdout)).toMatchObject([{ xdp: { mode: mode === 'native' ? 1 : 2 } }]);
}

describe('a scan of 1,000 ports as fast as nmap can', () => {
  const ways = (['native', 'generic'] as const).flatMap((mode) => [1500, 9000].map((mtu) => ({ mode, mtu })));

  it.each(ways)('finds exactly N-1 ports, SYN or connect, in $mode mode at MTU $mtu', async ({ mode, mtu }) => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 2, { mtu });
    const agent = await Agent.start(net, victim, {
      policies: { guard: portScanPolicy(links) },
      args: ['--xdp-mode', mode],
    });
    await expectMode(victim, links[0]!, mode);
    const arrivals = await Arrivals.count(victim);
    const [half, full] = attackers as [Attacker, Attacker];
    const tookMs = await Promise.all([
      nmap(half.namespace, ['-sS'], half.victim.v4),
      nmap(full.namespace, ['-sT'], full.victim.v4),
    ]);
    await expectCutOff(agent, arrivals, half.v4);
    await expectCutOff(agent, arrivals, full.v4);
    console.log(`figure: ${mode}, MTU ${mtu}: -sS and -sT let ${distinctTargets - 1} ports through, ${tookMs} ms`);

    const dropped = (await agent.blocks()).reduce((sum, block) => sum + block.packetsDropped, 0);
    expect(await agent.metric(blocksTotal)).toBe(2);
    expect(await agent.metric(packets('drop', 'scan-detected'))).toBe(2);
    expect(await agent.metric(packets('drop', 'scan-blocked'))).toBe(dropped - 2);
    expect(await agent.metric(packets('pass', 'new-connection'))).toBe(2 * (distinctTargets - 1));
  });

  it('finds exactly N-1 ports over IPv6, and blocks a neighbour alone', async () => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 2);
    const agent = await Agent.start(net, victim, { policies: { guard: portScanPolicy(links) } });
    const arrivals = await Arrivals.count(victim);
    const [half, full] = attackers as [Attacker, Attacker];
    await Promise.all([nmap(half.namespace, ['-sS'], half.victim.v6), nmap(full.namespace, ['-sT'], full.victim.v6)]);
    await expectCutOff(agent, arrivals, half.v6);
    await expectCutOff(agent, arrivals, full.v6);
  });

  it('finds exactly N-1 ports from a routed IPv6 network, which is blocked as the /64 it is', async () => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 1, { mtu: 9000 });
    const attacker = attackers[0]!;
    const routed = '2001:db8:f::7';
    await attacker.namespace.ip(`addr add ${routed}/128 dev lo`);
    await victim.ip(`route add 2001:db8:f::/64 via ${attacker.v6}`);
    const agent = await Agent.start(net, victim, {
      policies: { guard: portScanPolicy(links) },
      args: ['--xdp-mode', 'generic'],
    });
    const arrivals = await Arrivals.count(victim);
    await nmap(attacker.namespace, ['-sS', '-S', routed, '-e', 'out0'], attacker.victim.v6);
    await expectCutOff(agent, arrivals, routed, '2001:db8:f::/64');
  });

  it('finds exactly N-1 ports from a neighbour whose checksums are left to the network card', async () => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 1, { offloads: true });
    const attacker = attackers[0]!;
    const { stdout } = await attacker.namespace.exec(['ethtool', '-k', 'out0']);
    expect(stdout).toMatch(/^tx-checksumming: on$/m);
    const agent = await Agent.start(net, victim, { policies: { guard: portScanPolicy(links) } });
    const arrivals = await Arrivals.count(victim);
    await nmap(attacker.namespace, ['-sT'], attacker.victim.v4);
    await expectCutOff(agent, arrivals, attacker.v4);
  });

  it.each([
    ['FIN', '-sF'],
    ['NULL', '-sN'],
    ['Xmas', '-sX'],
  ])('is cut off after N-1 ports when it is a %s scan', async (_, kind) => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 1);
    const attacker = attackers[0]!;
    const agent = await Agent.start(net, victim, { policies: { guard: portScanPolicy(links) } });
    const arrivals = await Arrivals.count(victim);
    await nmap(attacker.namespace, [kind], attacker.victim.v4);
    await expectCutOff(agent, arrivals, attacker.v4);
    expect(await agent.metric(packets('pass', 'probe'))).toBe(distinctTargets - 1);
  });
});

/** A client, a guarded router, and a target behind it that has every address of 10.7.0.0/22. */
async function routedNet(net: TestNet): Promise<{
  readonly client: Namespace;
  readonly router: Namespace;
  readonly target: Namespace;
}> {
  const client = await net.namespace('client');
  const router = await net.namespace('router');
  const target = await net.namespace('target');
  await net.veth(
    { namespace: router, name: 'guard0', addresses: ['192.0.2.1/24'] },
    { namespace: client, name: 'out0', addresses: ['192.0.2.2/24'] },
  );
  await net.veth(
    { namespace: router, name: 'inner0', addresses: ['198.51.100.1/24'] },
    { namespace: target, name: 'out0', addresses: ['198.51.100.2/24'] },
  );
  await router.sysctl({ 'net.ipv4.ip_forward': 1 });
  await router.ip('route add 10.7.0.0/22 via 198.51.100.2');
  await client.ip('route add default via 192.0.2.1');
  await target.ip('route add default via 198.51.100.1', 'route add local 10.7.0.0/22 dev lo');
  return { client, router, target };
}

describe('traffic that a guarded host only forwards', () => {
  it('does not count: a scan of another host passes whole, and its source stays free', async () => {
    await using net = await TestNet.create();
    const { client, router, target } = await routedNet(net);
    const agent = await Agent.start(net, router, { policies: { guard: portScanPolicy(['guard0']) } });
    const arrivals = await Arrivals.count(target);
    await nmap(client, ['-sS'], '198.51.100.2');
    expect(await arrivals.ports('192.0.2.2')).toEqual(scanned);
    expect(await agent.blocks()).toEqual([]);
    expect(agent.events('scan')).toEqual([]);
    expect(await agent.metric(packets('pass', 'not-own-address'))).toBeGreaterThanOrEqual(1000);
  });

  it('counts with destinations All', async () => {
    await using net = await TestNet.create();
    const { client, router, target } = await routedNet(net);
    const agent = await Agent.start(net, router, {
      policies: { guard: portScanPolicy(['guard0'], { detection: { destinations: 'All' } }) },
    });
    const arrivals = await Arrivals.count(target);
    await nmap(client, ['-sS'], '198.51.100.2');
    await expectCutOff(agent, arrivals, '192.0.2.2');
  });

  it('leaves a client alone that connects to 1,000 foreign addresses', async () => {
    await using net = await TestNet.create();
    const { client, router, target } = await routedNet(net);
    await serve(target, 'echo', [443]);
    const agent = await Agent.start(net, router, { policies: { guard: portScanPolicy(['guard0']) } });
    const hosts = Array.from({ length: 1000 }, (_, index) => `10.7.${index >> 8}.${index & 255}`);
    expect(await connectAll(client, { hosts, ports: [443] })).toMatchObject({ connected: 1000 });
    expect(await agent.blocks()).toEqual([]);
    expect((await agent.metric(packets('drop', 'scan-blocked'))) ?? 0).toBe(0);
  });
});

describe('an honest client', () => {
  it('makes 10,000 connections to two ports and is never touched', async () => {
    await using net = await TestNet.create();
    const { victim, attackers, links } = await attackedHost(net, 1);
    const { namespace, victim: host } = attackers[0]!;
    await serve(victim, 'echo', [80, 443]);
    const agent = await Agent.start(net, victim, { policies: { guard: portScanPolicy(links) } });
    const startedMs = performance.now();
    const result = await connectAll(namespace, { hosts: [host.v4], ports: [80, 443], rounds: 5000 });
    console.log(`figure: 10,000 connections to two ports, ${Math.round(performance.now() - startedMs)} ms`);
    expect(result).toEqual({ connected: 10_000, refused: 0, timedOut: 0, failed: 0 });
    expect(await agent.blocks()).toEqual([]);
    expect(await agent.metric(packets('pass', 'new-connection'))).toBeGreaterThanOrEqual(10_000);
    for (const reason of ['scan-blocked', 'scan-detected'])
      expect((await agent.metric(packets('drop', reason))) ?? 0).toBe(0);
    expect(await connects(namespace, host.v4, 80)).toBe(true);
  });
});
