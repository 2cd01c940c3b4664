import { existsSync, rmdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { restoreBlock } from '../../agent/datapath/blocks.ts';
import { PinnedDatapath } from '../../agent/datapath/inspect.ts';
import { concern as concernBit } from '../../agent/datapath/layout.ts';
import { BpfMap, possibleCpus } from '../../agent/libbpf/map.ts';
import { nodePath } from '../support/command.ts';
import { type Namespace, TestNet } from '../support/namespaces.ts';
import { listDocument, policyDocument, startAgent } from './agent-process.ts';
import { OWN_ADDRESS, v4 } from './frames.ts';
import { type Figure, figure, ratios, type Section, showGoal, showRatio, spreadOf, table } from './measure.ts';
import { VETH_MAC, VETH_SOURCES, vethSource } from './veth-sources.ts';

/** A third. */
const GOAL_OF_NFTABLES = 0.333;
const FRAMES = 3_000_000;
const FRAMES_SHORT = 500_000;
const CORE = Math.min(1, availableParallelism() - 1);
const XDP_FILTER_PINS = '/sys/fs/bpf/xdp-filter';
/** xdp-filter's library makes it and leaves it behind, empty. */
const DISPATCHER_PINS = '/sys/fs/bpf/xdp';

/** One way to drop the frames, each on an interface of its own. */
interface Peer {
  readonly label: string;
  /** Puts all sources into its set and drops what comes from them on `device`. Returns why it cannot be here, if so. */
  setUp(net: TestNet, victim: Namespace, device: string): Promise<string | undefined>;
  tearDown?(victim: Namespace, device: string): Promise<void>;
}

const sources = Array.from({ length: VETH_SOURCES }, (_, i) => vethSource(i));

const nftSet = (hook: string, match: string): string => `
  set sources { type ipv4_addr; size ${VETH_SOURCES}; elements = { ${[...new Set(sources)].map(v4).join(', ')} } }
  chain guard { type filter ${hook}; policy accept; ${match} ip saddr @sources drop; }
`;

/** Frames reach a veth without an XDP program only where it gathers them itself. */
const gather = (victim: Namespace, device: string) => victim.exec(['ethtool', '-K', device, 'gro', 'on']);

const peers: readonly Peer[] = [
  {
    label: 'Portcullis, IpBlocklist of 10,000',
    setUp: async (net, victim, device) => {
      const cidrs = [...new Set(sources)].map((source) => `${v4(source)}/32`);
      const { command } = await startAgent(net, victim, { 'list.yaml': listDocument(device, cidrs) });
      // The kernel goes on alone; its housekeeping is not what is measured.
      await command.stop();
      return undefined;
    },
  },
  {
    label: 'Portcullis, 10,000 blocked for scanning',
    setUp: async (net, victim, device) => {
      const { command, pinPath } = await startAgent(net, victim, { 'policy.yaml': policyDocument(device) });
      await command.stop();
      await blockAll(pinPath);
      return undefined;
    },
  },
  {
    label: 'nftables hash set, netdev ingress',
    setUp: async (_, victim, device) => {
      await gather(victim, device);
      const chain = nftSet(`hook ingress device "${device}" priority 0`, '');
      await victim.exec(['nft', '-f', '-'], { input: `table netdev bench {${chain}}` });
      return undefined;
    },
  },
  {
    label: 'nftables hash set, ip prerouting',
    setUp: async (_, victim, device) => {
      await gather(victim, device);
      const chain = nftSet('hook prerouting priority raw', `iifname "${device}"`);
      await victim.exec(['nft', '-f', '-'], { input: `table ip bench {${chain}}` });
      return undefined;
    },
  },
  {
    label: 'xdp-filter, IPv4 only',
    setUp: async (_, victim, device) => {
      if (existsSync(XDP_FILTER_PINS)) return `${XDP_FILTER_PINS} is there already: it is in use on this machine`;
      await victim.exec(['xdp-filter', 'load', '-m', 'native', '-f', 'ipv4', device]);
      await victim.exec(['xdp-filter', 'ip', '-m', 'src', v4(sources[0]!)]);
      fillXdpFilter();
      return undefined;
    },
    tearDown: async (victim, device) => {
      await victim.exec(['xdp-filter', 'unload', device]);
    },
  },
];

/** As if each had scanned. */
const blockAll = async (pinPath: string): Promise<void> => {
  using pinned = await PinnedDatapath.open(pinPath);
  const { tables, owners, clock, concern } = pinned;
  const owner = owners.idOf({ kind: 'PortScanPolicy', name: 'bench' });
  if (owner === undefined) throw new Error('the policy has no owner id');
  const since = clock.now();
  const until = since + BigInt(3600 * clock.ticksPerSecond);
  for (const address of sources) {
    const source = { family: 4, value: BigInt(address), length: 32 } as const;
    const value = { until, since, last: since, dropped: 0, flags: 0, probes: 15, ifindex: 1, ports: [] };
    restoreBlock(tables, { source, owner }, value);
    concern.add(source, concernBit.CONCERN_BLOCK);
  }
};

/** One by one through its own command 10,000 entries would take minutes: the first one's value is given to all. */
const fillXdpFilter = (): void => {
  using map = BpfMap.openPinned(join(XDP_FILTER_PINS, 'filter_ipv4'), 'filter_ipv4');
  const key = (source: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(source);
    return bytes;
  };
  // Per CPU, which shape does not say for hash maps.
  const value = map.lookup(key(sources[0]!), Buffer.alloc(8 * possibleCpus()));
  if (!value) throw new Error('xdp-filter does not know the source that it was given');
  for (const source of sources) map.update(key(source), value);
};

interface Line {
  readonly peer: Peer;
  readonly wire: string;
  readonly device: string;
  readonly ns: number[];
}

const linkOf = async (namespace: Namespace, name: string) => {
  const { stdout } = await namespace.exec(['ip', '-json', '-statistics', 'link', 'show', name]);
  return (JSON.parse(stdout) as { ifindex: number; stats64: { rx: { packets: number } } }[])[0]!;
};

/** Frames that were sent, and the CPU time in ns of that and of receiving them, where there is a receiver. */
const generate = async (
  generator: Namespace,
  egress: number,
  frames: number,
): Promise<{ readonly sent: number; readonly cpuNs: number }> => {
  const script = join(import.meta.dirname, 'generator-child.ts');
  const numbers = [egress, frames, CORE].map(String);
  const { stdout } = await generator.exec(['taskset', '-c', String(CORE), nodePath, script, ...numbers], {
    timeoutMs: 120_000,
  });
  const { sent, ownNs, softIrqNs } = JSON.parse(stdout) as { sent: number; ownNs: number; softIrqNs: number };
  return { sent, cpuNs: ownNs + softIrqNs };
};

export const vethSection: Section = {
  name: 'veth',
  title: 'CPU time of a frame that is dropped behind a veth, 10,000 sources in each set, less that of sending it',
  run: async ({ short, print }) => {
    await using net = await TestNet.create();
    const generator = await net.namespace('generator');
    const victim = await net.namespace('victim');
    const lines: Line[] = [];
    const hadDispatcher = existsSync(DISPATCHER_PINS);
    try {
      for (const [i, peer] of peers.entries()) {
        const [wire, device] = [`wire${i}`, `guarded${i}`];
        await net.veth(
          { namespace: generator, name: wire },
          {
            namespace: victim,
            name: device,
            mac: VETH_MAC,
            addresses: [`${OWN_ADDRESS}/32`],
          },
        );
        const reason = await peer.setUp(net, victim, device);
        if (reason === undefined) lines.push({ peer, wire, device, ns: [] });
        else print(`left out: ${peer.label}: ${reason}`);
      }
      const frames = short ? FRAMES_SHORT : FRAMES;
      for (let round = 0; round < (short ? 2 : 5); round++) {
        const own = await generate(generator, 0, frames);
        for (const { wire, device, ns, peer } of lines) {
          const { ifindex } = await linkOf(generator, wire);
          const before = (await linkOf(victim, device)).stats64.rx.packets;
          const { sent, cpuNs } = await generate(generator, ifindex, frames);
          const received = (await linkOf(victim, device)).stats64.rx.packets - before;
          // Frames that a full ring refused cost less than one that was filtered.
          if (received < 0.98 * sent) print(`${peer.label}: only ${received} of ${sent} frames arrived`);
          ns.push(cpuNs / received - own.cpuNs / own.sent);
        }
      }
    } finally {
      for (const { peer, device } of lines) await peer.tearDown?.(victim, device);
      if (!hadDispatcher && existsSync(DISPATCHER_PINS)) rmdirSync(DISPATCHER_PINS);
    }

    const isOwn = (label: string) => label.startsWith('Portcullis');
    const isNft = (label: string) => label.startsWith('nftables');
    const own = lines.filter(({ peer }) => isOwn(peer.label));
    print(
      table([
        ['filter', 'ns a frame', ...own.map(({ peer }) => `${peer.label} / it`)],
        ...lines.map(({ peer, ns }) => [
          peer.label,
          spreadOf(ns).median.toFixed(0),
          ...own.map((line) => (line.peer === peer ? '' : showRatio(ratios(line.ns, ns)))),
        ]),
      ]),
    );
    const figures: Figure[] = own.flatMap((line) =>
      lines
        .filter(({ peer }) => !isOwn(peer.label))
        .map(({ peer, ns }) =>
          figure(
            line.peer.label,
            `x ${peer.label}`,
            ratios(line.ns, ns),
            isNft(peer.label) ? GOAL_OF_NFTABLES : undefined,
          ),
        ),
    );
    for (const { name, unit, value, goal } of figures)
      if (goal !== undefined) print(`${name}: ${value} ${unit}, goal ${showGoal(value, goal)}`);
    return { figures };
  },
};
