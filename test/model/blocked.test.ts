import { describe, expect, test } from 'vitest';
import {
  from,
  GATEWAY4,
  listed,
  NODE4,
  NODE6,
  POD4,
  POLICY,
  STANDARD_TABLES,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from '../packets/cases/case.ts';
import { formatAddress, toAddress } from '../support/address.ts';
import { icmp, icmpv6, ipv4, ipv6, quoted, tcp, udp } from '../support/packets.ts';
import type { FlowLookups, Socket, SocketState, TrackedFlow } from './blocked.ts';
import { DEFAULT_CONFIG, Model, type ModelConfig } from './model.ts';
import { TCP, UDP } from './parse.ts';
import { blockKey, ModelTables } from './tables.ts';

const REMOTE_PORT = 40_000;
const LOCAL_PORT = 80;
const FLOWS: SocketState[] = [
  'ESTABLISHED',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'CLOSE_WAIT',
  'LAST_ACK',
  'CLOSING',
  'TIME_WAIT',
];
const NO_FLOWS: SocketState[] = ['SYN_SENT', 'NEW_SYN_RECV', 'LISTEN'];

/** One socket between the strangers and port 80 of the node. */
function lookup(socket: Socket): Partial<FlowLookups> {
  return { tcp: (...flow) => (isTheFlow(...flow) ? socket : undefined) };
}

function isTheFlow(remote: bigint, remotePort: number, local: bigint, localPort: number): boolean {
  const known = [toAddress(STRANGER4), toAddress(STRANGER6)].includes(remote);
  const here = [toAddress(NODE4), toAddress(NODE6)].includes(local);
  return known && here && remotePort === REMOTE_PORT && localPort === LOCAL_PORT;
}

/** What connection tracking knows of the same two ends, over one protocol. */
function tracked(protocol: number, found: TrackedFlow): Partial<FlowLookups> {
  return { tracked: (asked, ...flow) => (asked === protocol && isTheFlow(...flow) ? found : undefined) };
}

/** A model whose strangers are blocked since START. */
function blockedModel(socket: Socket, config: Partial<ModelConfig> = {}) {
  return blockedBy(lookup(socket), config);
}

function blockedBy(flows: Partial<FlowLookups>, config: Partial<ModelConfig> = {}) {
  const tables = new ModelTables(STANDARD_TABLES);
  const model = new Model({ ...DEFAULT_CONFIG, threshold: 1, ...config }, tables, flows);
  model.process(syn(9), START);
  model.process(syn(9, STRANGER6), START);
  const reason = (bytes: Buffer, at = START + 5) => model.process(bytes, at).counts.at(-1)![1];
  const block = tables.blocks.get(blockKey(toAddress(STRANGER4), 32, POLICY))!;
  return { reason, block };
}

const segment = (flags: string, acknowledgment = 0, source = STRANGER4) =>
  from(source, tcp({ flags, acknowledgment, sourcePort: REMOTE_PORT, destinationPort: LOCAL_PORT }));

describe('a blocked source keeps its live flows', () => {
  test.each(FLOWS)('every segment of a flow in %s that opens nothing passes', (state) => {
    const { reason } = blockedModel({ state });
    for (const flags of ['A', 'PA', 'FA', 'R', 'RA', 'SA', 'AU']) {
      expect(reason(segment(flags)), flags).toBe('PASS_LIVE_FLOW');
      expect(reason(segment(flags, 0, STRANGER6)), flags).toBe('PASS_LIVE_FLOW');
    }
  });

  test.each(FLOWS)(
    'a new connection, a probe and a fragment are dropped though a flow in %s has their ports',
    (state) => {
      const { reason } = blockedModel({ state });
      for (const flags of ['S', 'SEW', 'F', '', 'FPU', 'SF', 'SR', 'SRA']) {
        expect(reason(segment(flags)), flags).toBe('DROP_SCAN_BLOCKED');
      }
      const tail = tcp({ flags: 'A', sourcePort: REMOTE_PORT, destinationPort: LOCAL_PORT, data: 64 });
      expect(reason(from(STRANGER4, tail, { moreFragments: true, slice: [0, 40] }))).toBe('DROP_SCAN_BLOCKED');
      expect(reason(from(STRANGER4, tail, { fragmentOffset: 3, slice: [24] }))).toBe('DROP_SCAN_BLOCKED');
    },
  );

  test.each(NO_FLOWS)('a socket in %s is no flow: an ACK is dropped', (state) => {
    expect(blockedModel({ state }).reason(segment('A'))).toBe('DROP_SCAN_BLOCKED');
  });

  test('a socket in SYN_SENT takes the SYN+ACK that it waits for and nothing else', () => {
    const { reason } = blockedModel({ state: 'SYN_SENT' });
    expect(reason(segment('SA'))).toBe('PASS_LIVE_FLOW');
    expect(reason(segment('SAEP'))).toBe('PASS_LIVE_FLOW');
    for (const flags of ['A', 'RA', 'R', 'SFA', 'SRA', 'FA'])
      expect(reason(segment(flags)), flags).toBe('DROP_SCAN_BLOCKED');
  });

  test('another port of either side is another flow', () => {
    const { reason } = blockedModel({ state: 'ESTABLISHED' });
    expect(reason(from(STRANGER4, tcp({ flags: 'A', sourcePort: 40_001 })))).toBe('DROP_SCAN_BLOCKED');
    expect(reason(from(STRANGER4, tcp({ flags: 'A', destinationPort: 81 })))).toBe('DROP_SCAN_BLOCKED');
  });

  test('with traffic All a live flow is cut', () => {
    expect(blockedModel({ state: 'ESTABLISHED' }, { blockAllTraffic: true }).reason(segment('A'))).toBe(
      'DROP_SCAN_BLOCKED',
    );
  });

  test('in Monitor a live flow is not counted as what would be dropped', () => {
    const { reason, block } = blockedModel({ state: 'ESTABLISHED' }, { enforce: false });
    expect(reason(segment('A'))).toBe('PASS_LIVE_FLOW');
    expect(block.dropped).toBe(1);
    expect(reason(segment('S'))).toBe('WOULD_DROP_SCAN_BLOCKED');
    expect(block.dropped).toBe(2);
  });

  test('a NewConnections list keeps live flows, counted for the list', () => {
    const tables = new ModelTables([...STANDARD_TABLES, listed(STRANGER4, { allTraffic: false })]);
    const model = new Model(DEFAULT_CONFIG, tables, lookup({ state: 'ESTABLISHED' }));
    expect(model.process(segment('A'), START).counts).toEqual([[11, 'PASS_LIVE_FLOW']]);
  });
});

describe('ICMP errors of a blocked source', () => {
  const ours = { sourcePort: LOCAL_PORT, destinationPort: REMOTE_PORT, flags: 'A' };
  const sent = (source = NODE4, destination = STRANGER4, ports = ours, more = {}) =>
    ipv4({ source, destination, payload: tcp(ports), ...more });
  const sent6 = ipv6({ source: NODE6, destination: STRANGER6, payload: tcp(ours) });
  const error = (packet: ReturnType<typeof ipv4>, type = 3, bytes?: number) =>
    from(STRANGER4, icmp({ type, body: quoted(packet, bytes) }));

  test.each([...FLOWS, 'SYN_SENT' as const])('pass when they quote a flow in %s', (state) => {
    const { reason } = blockedModel({ state });
    for (const type of [3, 11, 12]) expect(reason(error(sent(), type)), `type ${type}`).toBe('PASS_ICMP_ERROR');
    for (const type of [1, 2, 3, 4]) {
      expect(reason(from(STRANGER6, icmpv6({ type, body: quoted(sent6) }))), `type ${type}`).toBe('PASS_ICMP_ERROR');
    }
  });

  test.each(['LISTEN', 'NEW_SYN_RECV'] as const)('are dropped when they quote a socket in %s', (state) => {
    expect(blockedModel({ state }).reason(error(sent()))).toBe('DROP_SCAN_BLOCKED');
  });

  test('are dropped when they are no errors, or quote something else', () => {
    const { reason } = blockedModel({ state: 'ESTABLISHED' });
    const frames = [
      ...[0, 4, 5, 8].map((type) => error(sent(), type)),
      error(sent(NODE4, STRANGER4, { ...ours, sourcePort: 81 })),
      error(sent(NODE4, GATEWAY4)),
      // From another address than the one the error was sent to.
      error(sent('192.0.2.2')),
      error(
        ipv4({
          source: NODE4,
          destination: STRANGER4,
          payload: udp({ sourcePort: LOCAL_PORT, destinationPort: REMOTE_PORT }),
        }),
      ),
      error(sent(NODE4, STRANGER4, ours, { fragmentOffset: 1 })),
      error(sent(NODE4, STRANGER4, ours, { version: 6 })),
      error(sent(NODE4, STRANGER4, ours, { headerWords: 4 }), 3, 28),
      error(sent(), 3, 23),
      from(STRANGER4, icmp({ type: 3, body: quoted(sent()) }), { moreFragments: true }),
      from(STRANGER6, icmpv6({ type: 128, body: quoted(sent6) })),
    ];
    for (const [index, bytes] of frames.entries()) expect(reason(bytes), `frame ${index}`).toBe('DROP_SCAN_BLOCKED');
  });

  test('need no more of the quoted segment than its ports', () => {
    expect(blockedModel({ state: 'ESTABLISHED' }).reason(error(sent(), 3, 24))).toBe('PASS_ICMP_ERROR');
  });
});

describe('flows that connection tracking knows', () => {
  const datagram = (source = STRANGER4, more = {}) =>
    from(source, udp({ sourcePort: REMOTE_PORT, destinationPort: LOCAL_PORT }), more);
  const ORDINARY = ['A', 'PA', 'FA', 'R', 'RA', 'SA'];
  const TCP_STATES = ['SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'TIME_WAIT'] as const;

  test.each(TCP_STATES)('opened from inside, in %s, pass but for what opens or probes', (state) => {
    const { reason } = blockedBy(tracked(TCP, { direction: 'reply', state }));
    for (const source of [STRANGER4, STRANGER6]) {
      for (const flags of ORDINARY) expect(reason(segment(flags, 0, source)), flags).toBe('PASS_LIVE_FLOW');
      for (const flags of ['S', 'F', '', 'FPU', 'SF', 'SRA'])
        expect(reason(segment(flags, 0, source)), flags).toBe('DROP_SCAN_BLOCKED');
    }
  });

  test('a connection attempt from inside gets its SYN+ACK and nothing else', () => {
    const { reason } = blockedBy(tracked(TCP, { direction: 'reply', state: 'SYN_SENT' }));
    expect(reason(segment('SA'))).toBe('PASS_LIVE_FLOW');
    for (const flags of ['A', 'RA', 'R', 'FA', 'S']) expect(reason(segment(flags)), flags).toBe('DROP_SCAN_BLOCKED');
  });

  test.each(TCP_STATES)('opened from outside, in %s, pass once the handshake was completed', (state) => {
    const forged = blockedBy(tracked(TCP, { direction: 'original', state }));
    const assured = blockedBy(tracked(TCP, { direction: 'original', state, assured: true }));
    for (const flags of ORDINARY) {
      expect(forged.reason(segment(flags)), flags).toBe('DROP_SCAN_BLOCKED');
      expect(assured.reason(segment(flags)), flags).toBe('PASS_LIVE_FLOW');
    }
    expect(assured.reason(segment('S'))).toBe('DROP_SCAN_BLOCKED');
  });

  test('that were reset are none', () => {
    for (const direction of ['original', 'reply'] as const) {
      const { reason } = blockedBy(tracked(TCP, { direction, state: 'CLOSE', assured: true }));
      for (const flags of ORDINARY) expect(reason(segment(flags)), flags).toBe('DROP_SCAN_BLOCKED');
    }
  });

  test('prove no source', () => {
    const { reason, block } = blockedBy(tracked(TCP, { direction: 'original', state: 'ESTABLISHED', assured: true }));
    reason(segment('A', 1));
    expect(block.proven).toBe(false);
  });

  test('over UDP pass when they were opened from inside, or have lasted', () => {
    for (const [found, wanted] of [
      [{ direction: 'reply' }, 'PASS_LIVE_FLOW'],
      [{ direction: 'original' }, 'DROP_SCAN_BLOCKED'],
      [{ direction: 'original', assured: true }, 'PASS_LIVE_FLOW'],
    ] as const)
      for (const source of [STRANGER4, STRANGER6])
        expect(blockedBy(tracked(UDP, found)).reason(datagram(source)), JSON.stringify(found)).toBe(wanted);
  });

  test('over UDP belong to a connected socket; one that takes from everybody proves nothing', () => {
    for (const [connected, wanted] of [
      [true, 'PASS_LIVE_FLOW'],
      [false, 'DROP_SCAN_BLOCKED'],
    ] as const) {
      const { reason } = blockedBy({ udp: (...flow) => (isTheFlow(...flow) ? { connected } : undefined) });
      expect(reason(datagram())).toBe(wanted);
      expect(reason(from(STRANGER4, udp({ sourcePort: 1, destinationPort: LOCAL_PORT })))).toBe('DROP_SCAN_BLOCKED');
    }
  });

  test('keep no fragment: its ports stand in the first alone', () => {
    const { reason } = blockedBy(tracked(UDP, { direction: 'reply' }));
    expect(reason(datagram(STRANGER4, { moreFragments: true }))).toBe('DROP_SCAN_BLOCKED');
    expect(reason(datagram(STRANGER4, { fragmentOffset: 1 }))).toBe('DROP_SCAN_BLOCKED');
    expect(reason(datagram(STRANGER4, { slice: [0, 7] }))).toBe('DROP_SCAN_BLOCKED');
  });

  test('of one protocol say nothing about another', () => {
    expect(blockedBy(tracked(TCP, { direction: 'reply', state: 'ESTABLISHED' })).reason(datagram())).toBe(
      'DROP_SCAN_BLOCKED',
    );
    expect(blockedBy(tracked(UDP, { direction: 'reply' })).reason(segment('A'))).toBe('DROP_SCAN_BLOCKED');
  });

  test('pass ICMP errors that quote them', () => {
    const query = udp({ sourcePort: LOCAL_PORT, destinationPort: REMOTE_PORT });
    const sent = quoted(ipv4({ source: NODE4, destination: STRANGER4, payload: query }));
    const error = from(STRANGER4, icmp({ type: 3, body: sent }));
    expect(blockedBy(tracked(UDP, { direction: 'reply' })).reason(error)).toBe('PASS_ICMP_ERROR');
    expect(blockedBy({}).reason(error)).toBe('DROP_SCAN_BLOCKED');
    const attempt = tcp({ sourcePort: LOCAL_PORT, destinationPort: REMOTE_PORT, flags: 'S' });
    const syn = quoted(ipv4({ source: NODE4, destination: STRANGER4, payload: attempt }));
    const unreachable = from(STRANGER4, icmp({ type: 3, body: syn }));
    expect(blockedBy(tracked(TCP, { direction: 'reply', state: 'SYN_SENT' })).reason(unreachable)).toBe(
      'PASS_ICMP_ERROR',
    );
  });

  test('are cut with traffic All', () => {
    const { reason } = blockedBy(tracked(UDP, { direction: 'reply' }), { blockAllTraffic: true });
    expect(reason(datagram())).toBe('DROP_SCAN_BLOCKED');
  });
});

describe('proof of source', () => {
  const { unprovenTicks, blockTicks } = DEFAULT_CONFIG;

  test('without one a block lasts unprovenTicks', () => {
    const { block } = blockedModel({ state: 'LISTEN' });
    expect(block).toMatchObject({ proven: false, until: START + unprovenTicks });
  });

  test.each([
    ['the ACK that completes a handshake proves', 'NEW_SYN_RECV', 'A', 1001, true],
    ['a RST+ACK that fits the handshake proves', 'NEW_SYN_RECV', 'RA', 1001, true],
    ['a number one too low proves nothing', 'NEW_SYN_RECV', 'A', 1000, false],
    ['a number one too high proves nothing', 'NEW_SYN_RECV', 'A', 1002, false],
    ['a bare RST proves nothing', 'NEW_SYN_RECV', 'R', 1001, false],
    ['the oldest unacknowledged byte proves', 'ESTABLISHED', 'A', 5000, true],
    ['the next byte to send proves', 'ESTABLISHED', 'A', 6000, true],
    ['below the window proves nothing', 'ESTABLISHED', 'A', 4999, false],
    ['beyond the window proves nothing', 'ESTABLISHED', 'A', 6001, false],
    ['a bare RST to a flow proves nothing', 'ESTABLISHED', 'R', 5500, false],
    ['a listener has no number that could fit', 'LISTEN', 'A', 1001, false],
  ] as const)('%s', (_, state, flags, acknowledgment, proven) => {
    const numbers = { initialSequence: 1000, sendUnacknowledged: 5000, sendNext: 6000 };
    const { reason, block } = blockedModel({ state, ...numbers });
    reason(segment(flags, acknowledgment));
    expect(block.proven).toBe(proven);
    expect(block.until).toBe(START + (proven ? blockTicks : unprovenTicks));
  });

  test('numbers wrap', () => {
    const wrapped = blockedModel({ state: 'NEW_SYN_RECV', initialSequence: 0xffff_ffff });
    wrapped.reason(segment('A', 0));
    expect(wrapped.block.proven).toBe(true);
    const window = { state: 'ESTABLISHED', sendUnacknowledged: 0xffff_fff0, sendNext: 0x10 } as const;
    for (const [number, proven] of [
      [0xffff_fff0, true],
      [0, true],
      [0x10, true],
      [0x11, false],
      [0xffff_ffef, false],
    ] as const) {
      const { reason, block } = blockedModel(window);
      reason(segment('A', number));
      expect(block.proven, String(number)).toBe(proven);
    }
  });

  test('a connection that has carried data proves nothing: it was there before the scan', () => {
    const numbers = { state: 'ESTABLISHED', sendUnacknowledged: 5000, sendNext: 6000 } as const;
    for (const [bytesReceived, proven] of [
      [0, true],
      [1, false],
    ] as const) {
      const { reason, block } = blockedModel({ ...numbers, bytesReceived });
      expect(reason(segment('A', 5000))).toBe('PASS_LIVE_FLOW');
      expect(block.proven, String(bytesReceived)).toBe(proven);
    }
  });

  test('with traffic All the segment that proves is dropped all the same', () => {
    const half = blockedModel({ state: 'NEW_SYN_RECV', initialSequence: 7 }, { blockAllTraffic: true });
    expect(half.reason(segment('A', 8))).toBe('DROP_SCAN_BLOCKED');
    expect(half.block).toMatchObject({ proven: true, until: START + blockTicks, dropped: 2 });
    const whole = blockedModel(
      { state: 'ESTABLISHED', sendUnacknowledged: 1, sendNext: 9 },
      { blockAllTraffic: true, enforce: false },
    );
    expect(whole.reason(segment('A', 5))).toBe('WOULD_DROP_SCAN_BLOCKED');
    expect(whole.block).toMatchObject({ proven: true, until: START + blockTicks, dropped: 2 });
  });

  test('a block is never shortened by proof', () => {
    const { reason, block } = blockedModel({ state: 'NEW_SYN_RECV', initialSequence: 7 }, { blockTicks: 10 });
    reason(segment('A', 8));
    expect(block).toMatchObject({ proven: true, until: START + unprovenTicks });
  });

  test('a half-open connection stays no flow though its ACK proves', () => {
    const { reason, block } = blockedModel({ state: 'NEW_SYN_RECV', initialSequence: 7 });
    expect(reason(segment('A', 8))).toBe('DROP_SCAN_BLOCKED');
    expect(block).toMatchObject({ proven: true, dropped: 2, last: START + 5 });
  });
});

describe('records and events', () => {
  const machine = (config: Partial<ModelConfig> = {}, entries = STANDARD_TABLES) => {
    const tables = new ModelTables(entries);
    return { tables, model: new Model({ ...DEFAULT_CONFIG, ...config }, tables) };
  };

  test('a block counts what it drops and when it dropped last', () => {
    const { tables, model } = machine({ threshold: 2, ifindex: 42 });
    model.process(syn(1), START);
    model.process(syn(2), START + 3);
    for (const at of [10, 20, 30]) model.process(from(STRANGER4, udp()), START + at);
    model.process(from(STRANGER4, udp(), { destination: POD4 }), START + 40);
    expect([...tables.blocks.values()]).toEqual([
      {
        ...{ source: toAddress(STRANGER4), sourceLength: 32, owner: POLICY, ifindex: 42 },
        ...{ since: START + 3, last: START + 30, until: START + 3 + DEFAULT_CONFIG.unprovenTicks },
        ...{ dropped: 4, probes: 2, ports: [2, 1], monitor: false, spared: false, proven: false },
      },
    ]);
  });

  test('the event of a block names the sender as sent, the record its prefix', () => {
    const { model } = machine({ threshold: 1 });
    const [event] = model.process(syn(7, STRANGER6), START).events;
    expect(event).toMatchObject({ kind: 'block', source: toAddress(STRANGER6), target: toAddress(NODE6), ports: [7] });
    expect(event?.kind === 'block' && formatAddress(event.block.source)).toBe('2001:db8:bad:0:0:0:0:0');
  });

  test('a connection is told once it passed, when the log is on', () => {
    const { model } = machine({ threshold: 3, logConnections: true });
    expect(model.process(syn(80), START).events).toEqual([
      {
        ...{ kind: 'connection', owner: POLICY, source: toAddress(STRANGER4), target: toAddress(NODE4) },
        ...{ sourcePort: 40_000, targetPort: 80, flags: 2, reason: 'PASS_NEW_CONNECTION' },
      },
    ]);
    const silent = [tcp({ flags: 'F' }), tcp({ flags: 'A' }), tcp({ flags: 'S', checksum: 'wrong' }), udp()];
    for (const payload of silent) expect(model.process(from(STRANGER4, payload), START).events).toEqual([]);
    expect(machine().model.process(syn(80), START).events).toEqual([]);
  });

  test('a manual block counts what it drops', () => {
    const { tables, model } = machine();
    tables.apply({ table: 'manual', prefix: '198.51.100.0/24', value: { until: START + 2 } });
    for (const at of [0, 1, 2, 3]) model.process(syn(1), START + at);
    expect(tables.manual.get(4, toAddress(STRANGER4))?.dropped).toBe(2);
  });

  test('a source that votes again within two ticks of becoming a block is treated as blocked', () => {
    for (const [enforce, wanted] of [
      [true, 'DROP_SCAN_BLOCKED'],
      [false, 'WOULD_DROP_SCAN_BLOCKED'],
    ] as const) {
      const { tables, model } = machine({ threshold: 2, enforce });
      model.process(syn(1), START);
      model.process(syn(2), START);
      // As for a CPU that missed the block before it was in the table.
      tables.apply({ table: 'blocks', owner: POLICY, source: STRANGER4, value: null });
      expect(model.process(syn(3), START + 1).counts).toEqual([[POLICY, wanted]]);
      expect(model.process(syn(3), START + 2).counts).toEqual([[POLICY, 'PASS_NEW_CONNECTION']]);
    }
  });
});
