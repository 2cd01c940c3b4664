import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Agent, portScanPolicy } from '../support/agent.ts';
import { Arrivals } from '../support/arrivals.ts';
import { type Namespace, type RunningCommand, TestNet, waitFor } from '../support/namespaces.ts';
import { connectAll, connects, Flow, serve } from './tcp.ts';

const distinctTargets = 5;
const link = 'guard0';
const node = { IPv4: '192.0.2.1', IPv6: '2001:db8::1' } as const;
const remote = { IPv4: '192.0.2.2', IPv6: '2001:db8::2' } as const;
const bystander = '192.0.2.3';
const pods = Array.from({ length: 30 }, (_, index) => `10.244.0.${index + 1}`);
const families = ['IPv4', 'IPv6'] as const;
type Family = (typeof families)[number];

const echoPort = 7000;
const udpPort = 5353;
/** Lead to the first pod's echo servers. */
const nodePort = 30_080;
const udpNodePort = 30_053;
/** Ports of the node at which nobody listens: as many as make a scanner. */
const closedPorts = Array.from({ length: distinctTargets }, (_, index) => 2000 + index);
const passed = (reason: string): string =>
  `portcullis_packets_total{verdict="pass",reason="${reason}",kind="PortScanPolicy",owner="guard"}`;

const NAT = `
  table inet nat {
    chain incoming {
      type nat hook prerouting priority dstnat;
      iifname ${link} tcp dport ${nodePort} dnat ip to ${pods[0]}:${echoPort}
      iifname ${link} udp dport ${udpNodePort} dnat ip to ${pods[0]}:${udpPort}
    }
    chain outgoing {
      type nat hook postrouting priority srcnat;
      oifname ${link} ip saddr 10.244.0.0/24 masquerade
      oifname ${link} ip6 saddr fd00:10::/64 masquerade
    }
  }`;

interface Scene {
  readonly host: Namespace;
  readonly outside: Namespace;
  readonly inside: Namespace;
  readonly agent: Agent;
}

/** Pods behind a guarded node that masquerades what they send and hands a NodePort on to the first of them. */
async function scene(net: TestNet): Promise<Scene> {
  const host = await net.namespace('node');
  const outside = await net.namespace('outside');
  const inside = await net.namespace('pods');
  await net.veth(
    { namespace: host, name: link, addresses: [`${node.IPv4}/24`, `${node.IPv6}/64`] },
    {
      namespace: outside,
      name: 'out0',
      addresses: [`${remote.IPv4}/24`, `${bystander}/24`, `${remote.IPv6}/64`],
    },
  );
  await net.veth(
    { namespace: host, name: 'pods0', addresses: ['10.244.0.254/24', 'fd00:10::fe/64'] },
    { namespace: inside, name: 'eth0', addresses: [...pods.map((pod) => `${pod}/24`), 'fd00:10::1/64'] },
  );
  await host.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  await host.exec(['nft', '-f', '-'], { input: NAT });
  await inside.ip('route add default via 10.244.0.254', 'route add default via fd00:10::fe');
  await outside.ip(`route add 10.244.0.0/24 via ${node.IPv4}`);
  const agent = await Agent.start(net, host, {
    policies: { guard: portScanPolicy([link], { detection: { distinctTargets } }) },
  });
  return { host, outside, inside, agent };
}

const udpScript = join(import.meta.dirname, 'forwarded-udp-child.ts');

async function serveUdp(namespace: Namespace): Promise<void> {
  const server = namespace.spawnNode([udpScript, 'echo', `${udpPort}`]);
  await waitFor(() => server.stdout.includes('listening'), 30_000, { what: `a server: ${server.stderr}` });
}

const ask = (namespace: Namespace, ...args: readonly (string | number)[]): RunningCommand =>
  namespace.spawnNode([udpScript, 'ask', ...args.map(String)]);

const answers = (asker: RunningCommand): number => Number(/answered (\d+)\n[^\n]*$/.exec(asker.stdout)?.[1] ?? 0);

async function isAnswered(asker: RunningCommand, more = 5): Promise<void> {
  const before = answers(asker);
  await waitFor(() => answers(asker) >= before + more, 30_000, { what: `${more} answers more than ${before}` });
}

/** Scans the node from the remote end until that blocks it. */
async function blockRemote({ outside, agent }: Scene, family: Family = 'IPv4'): Promise<void> {
  await connectAll(outside, {
    ...{ hosts: [node[family]], ports: closedPorts, from: remote[family], concurrency: 1, timeoutMs: 300 },
  });
  expect(await agent.blocks()).toMatchObject([{ source: remote[family], state: 'blocked', probes: distinctTargets }]);
}

/** A new connection to the node is dropped, not refused. */
async function getsNoAnswer({ outside }: Scene, family: Family = 'IPv4'): Promise<void> {
  const plan = { hosts: [node[family]], ports: [9], from: remote[family], timeoutMs: 400 };
  expect(await connectAll(outside, plan)).toMatchObject({ timedOut: 1 });
}

describe('a pod whose traffic the node masquerades', () => {
  it.each(families)('keeps its connections to a blocked source and opens new ones, over %s', async (family) => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serve(all.outside, 'echo', [echoPort]);
    const flow = await Flow.open(all.inside, remote[family], echoPort);
    await blockRemote(all, family);
    await flow.transfers();
    expect(await connects(all.inside, remote[family], echoPort, 3_000)).toBe(true);
    await (await Flow.open(all.inside, remote[family], echoPort)).transfers();
    expect(await all.agent.metric(passed('live-flow'))).toBeGreaterThan(40);
    await getsNoAnswer(all, family);
    expect(await all.agent.blocks()).toHaveLength(1);
  });

  it.each(families)('gets UDP answers of a blocked source, and ICMP errors, over %s', async (family) => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serveUdp(all.outside);
    const before = ask(all.inside, remote[family], udpPort);
    await isAnswered(before);
    await blockRemote(all, family);
    await isAnswered(before);
    await isAnswered(ask(all.inside, remote[family], udpPort));
    const refused = ask(all.inside, 'connected', remote[family], 9);
    await waitFor(() => refused.stdout.includes('ECONNREFUSED'), 30_000, { what: 'the ICMP error' });
    expect(await all.agent.metric(passed('icmp-error'))).toBeGreaterThan(0);
    await getsNoAnswer(all, family);
  });

  it('does not make a scanner of who answers it at many ports', async () => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serve(all.outside, 'echo', [echoPort]);
    await serveUdp(all.outside);
    const result = await connectAll(all.inside, { hosts: [remote.IPv4], ports: [echoPort], rounds: 100 });
    expect(result).toMatchObject({ connected: 100 });
    const refused = await connectAll(all.inside, { hosts: [remote.IPv4], ports: [9], rounds: 100 });
    expect(refused).toMatchObject({ refused: 100 });
    await Promise.all(Array.from({ length: 5 }, () => isAnswered(ask(all.inside, remote.IPv4, udpPort), 2)));
    expect(await all.agent.blocks()).toEqual([]);
  });
});

describe('the node itself', () => {
  it.each(['connected', 'unconnected'])('gets answers of a blocked source to a UDP socket that is %s', async (how) => {
    await using net = await TestNet.create();
    const all = await scene(net);
    // Without NAT rules nothing is tracked, and a socket must tell.
    if (how === 'connected') await all.host.exec(['nft', 'delete', 'table', 'inet', 'nat']);
    await serveUdp(all.outside);
    await blockRemote(all);
    await isAnswered(ask(all.host, ...(how === 'connected' ? ['connected'] : []), remote.IPv4, udpPort));
    await getsNoAnswer(all);
  });

  it('takes no datagram of a blocked source for its own servers', async () => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serveUdp(all.host);
    await isAnswered(ask(all.outside, node.IPv4, udpPort));
    await blockRemote(all);
    const arrivals = await Arrivals.count(all.host, { late: 'udp sport 50000' });
    const late = ask(all.outside, node.IPv4, udpPort, 50_000);
    await sleep(500);
    expect(answers(late)).toBe(0);
    expect(await arrivals.packets('late')).toBe(0);
  });
});

describe('a NodePort', () => {
  it('keeps the connections of a blocked source, and takes no new one', async () => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serve(all.inside, 'echo', [echoPort]);
    await serveUdp(all.inside);
    const flow = await Flow.open(all.outside, node.IPv4, nodePort);
    const stream = ask(all.outside, node.IPv4, udpNodePort);
    // Two seconds to and fro are a stream to connection tracking, which one answered datagram is not.
    await isAnswered(stream, 60);
    await blockRemote(all);
    const arrivals = await Arrivals.count(all.inside, {
      syns: `ip saddr ${remote.IPv4} tcp flags & (syn | ack) == syn`,
    });
    await flow.transfers();
    await isAnswered(stream);
    for (let attempt = 0; attempt < 3; attempt++)
      expect(await connects(all.outside, node.IPv4, nodePort, 300)).toBe(false);
    expect(await arrivals.packets('syns')).toBe(0);
    expect(await connectAll(all.outside, { hosts: [node.IPv4], ports: [nodePort], from: bystander })).toMatchObject({
      connected: 1,
    });
  });

  it('lets nothing in by entries that one packet made: an ACK, a SYN whose handshake stays open, a datagram', async () => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serve(all.inside, 'echo', [echoPort]);
    await serveUdp(all.inside);
    // The sender's kernel would reset what it knows nothing of.
    await all.outside.exec(['nft', '-f', '-'], {
      input: `table ip quiet {
        chain out {
          type filter hook output priority 0
          tcp flags & rst == rst tcp dport ${nodePort} tcp sport 50001-50004 drop
        }
      }`,
    });
    const kinds = {
      ack: ['-A', '-s', '50001', '-p', `${nodePort}`],
      syn: ['-S', '-s', '50002', '-p', `${nodePort}`],
      datagram: ['-2', '-s', '50003', '-p', `${udpNodePort}`, '-d', '8'],
    };
    const send = async (args: readonly string[]) =>
      await all.outside.exec(
        ['hping3', '-q', '-n', '-k', '-c', '3', '-i', 'u20000', '-a', remote.IPv4, ...args, node.IPv4],
        { allowFailure: true },
      );
    const arrivals = await Arrivals.count(all.inside, {
      ack: 'tcp sport 50001',
      syn: 'tcp sport 50002',
      datagram: 'udp sport 50003',
      fromBystander: `ip saddr ${bystander} tcp sport 50004`,
    });
    for (const [name, args] of Object.entries(kinds)) {
      await send(args);
      expect(await arrivals.packets(name), name).toBeGreaterThan(0);
    }
    await blockRemote(all);
    const before = await Promise.all(Object.keys(kinds).map((name) => arrivals.packets(name)));
    await send(kinds.ack);
    await send(['-A', '-s', '50002', '-p', `${nodePort}`]);
    await send(kinds.syn);
    await send(kinds.datagram);
    // What passes arrives: the same ACKs of somebody else do.
    await all.outside.exec(
      ['hping3', '-q', '-n', '-k', '-c', '3', '-i', 'u20000', '-A', '-s', '50004', '-p', `${nodePort}`].concat(
        '-a',
        bystander,
        node.IPv4,
      ),
      { allowFailure: true },
    );
    expect(await arrivals.packets('fromBystander')).toBeGreaterThan(0);
    expect(await Promise.all(Object.keys(kinds).map((name) => arrivals.packets(name)))).toEqual(before);
  });
});

describe('one source outside', () => {
  it('scrapes 30 pods again and again, and a NodePort, and is not blocked; a scan of the node cuts it off', async () => {
    await using net = await TestNet.create();
    const all = await scene(net);
    await serve(all.inside, 'echo', [echoPort]);
    const from = remote.IPv4;
    const scrape = { hosts: pods, ports: [echoPort], rounds: 3, from };
    expect(await connectAll(all.outside, scrape)).toMatchObject({ connected: 90 });
    const byNodePort = { hosts: [node.IPv4], ports: [nodePort], rounds: 20, from };
    expect(await connectAll(all.outside, byNodePort)).toMatchObject({ connected: 20 });
    expect(await all.agent.blocks()).toEqual([]);

    const arrivals = await Arrivals.count(all.host);
    const ports = Array.from({ length: 40 }, (_, index) => 2000 + index);
    await connectAll(all.outside, { hosts: [node.IPv4], ports, from, concurrency: 1, timeoutMs: 100 });
    // The NodePort was a target as well.
    expect(await arrivals.ports(from)).toEqual(ports.slice(0, distinctTargets - 2));
    expect(await all.agent.blocks()).toMatchObject([{ source: from, probes: distinctTargets }]);
    const late = { hosts: pods, ports: [echoPort], from, timeoutMs: 300 };
    expect(await connectAll(all.outside, late)).toMatchObject({ connected: 0, timedOut: 30 });
    expect(await connects(all.outside, node.IPv4, nodePort, 300)).toBe(false);
  });
});
