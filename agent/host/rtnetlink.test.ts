import { describe, expect, it } from 'vitest';
import { attribute, message, messagesOf, nestedAttribute, unsigned32 } from '../libbpf/netlink-message.ts';
import { parseAddress, parseLink, parseRoute, RouteMessage } from './rtnetlink.ts';

const text = (value: string) => Buffer.from(`${value}\0`);
const ipv4 = (address: string) => Buffer.from(address.split('.').map(Number));
const ipv6 = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const read = (type: number, ...parts: Buffer[]) => [...messagesOf(message(type, 0, 1, Buffer.concat(parts)))][0]!;

describe('parseLink', () => {
  const header = (type: number, ifindex: number, flags: number) => {
    const out = Buffer.alloc(16);
    out.writeUInt16LE(type, 2);
    out.writeInt32LE(ifindex, 4);
    out.writeUInt32LE(flags, 8);
    return out;
  };

  it('reads name, type, state, MTU, kind and master', () => {
    const link = read(
      RouteMessage.newLink,
      header(1, 7, 0x1003),
      attribute(3, text('veth0')),
      attribute(4, unsigned32(9000)),
      attribute(10, unsigned32(3)),
      nestedAttribute(18, [attribute(1, text('veth'))]),
      nestedAttribute(43, [attribute(2, Buffer.from([0]))]),
    );
    expect(parseLink(link)).toEqual([
      { ifindex: 7, name: 'veth0', type: 1, up: true, mtu: 9000, kind: 'veth', master: 3 },
    ]);
  });

  it.each([
    ['native', [attribute(2, Buffer.from([1])), attribute(4, unsigned32(41)), attribute(5, unsigned32(41))], 41],
    ['generic', [attribute(2, Buffer.from([2])), attribute(4, unsigned32(42)), attribute(6, unsigned32(42))], 42],
    ['multi', [attribute(2, Buffer.from([4])), attribute(5, unsigned32(43)), attribute(6, unsigned32(44))], 43],
  ])('tells XDP in mode %s and its program', (mode, parts, programId) => {
    const link = read(RouteMessage.newLink, header(1, 2, 0), attribute(3, text('eth0')), nestedAttribute(43, parts));
    expect(parseLink(link)[0]).toMatchObject({ up: false, xdp: { mode, programId } });
  });

  it('takes no other message, and no link without a name', () => {
    expect(parseLink(read(RouteMessage.newRoute, header(1, 2, 0), attribute(3, text('eth0'))))).toEqual([]);
    expect(parseLink(read(RouteMessage.newLink, header(1, 2, 0)))).toEqual([]);
    expect(parseLink(read(RouteMessage.newLink, Buffer.alloc(4)))).toEqual([]);
  });
});

describe('parseAddress', () => {
  const header = (family: number, length: number, ifindex: number) => {
    const out = Buffer.alloc(8);
    out[0] = family;
    out[1] = length;
    out.writeUInt32LE(ifindex, 4);
    return out;
  };

  it('prefers the local address over the peer of a point-to-point link', () => {
    const address = read(
      RouteMessage.newAddress,
      header(2, 32, 5),
      attribute(1, ipv4('198.51.100.9')),
      attribute(2, ipv4('198.51.100.200')),
    );
    expect(parseAddress(address)).toEqual([{ ifindex: 5, address: '198.51.100.200', prefixLength: 32 }]);
  });

  it('reads the broadcast address, and IPv6 in its shortest spelling', () => {
    const four = read(
      RouteMessage.newAddress,
      header(2, 24, 5),
      attribute(2, ipv4('192.0.2.130')),
      attribute(4, ipv4('192.0.2.255')),
    );
    expect(parseAddress(four)).toEqual([
      { ifindex: 5, address: '192.0.2.130', prefixLength: 24, broadcast: '192.0.2.255' },
    ]);
    const six = read(
      RouteMessage.newAddress,
      header(10, 64, 6),
      attribute(1, ipv6('2001 0db8 0000 0000 0000 0000 0000 0abc')),
    );
    expect(parseAddress(six)).toEqual([{ ifindex: 6, address: '2001:db8::abc', prefixLength: 64 }]);
  });

  it('takes no other family, and no address of the wrong size', () => {
    expect(parseAddress(read(RouteMessage.newAddress, header(7, 8, 1), attribute(2, ipv4('192.0.2.1'))))).toEqual([]);
    expect(parseAddress(read(RouteMessage.newAddress, header(10, 8, 1), attribute(2, ipv4('192.0.2.1'))))).toEqual([]);
  });
});

describe('parseRoute', () => {
  const header = (family: number, length: number, table: number, type = 1, flags = 0) => {
    const out = Buffer.alloc(12);
    out[0] = family;
    out[1] = length;
    out[4] = table;
    out[7] = type;
    out.writeUInt32LE(flags, 8);
    return out;
  };
  const via = (address: string) => attribute(5, ipv4(address));
  const out = (ifindex: number) => attribute(4, unsigned32(ifindex));

  it('reads a default route, whose message has no destination', () => {
    const route = read(
      RouteMessage.newRoute,
      header(2, 0, 254),
      via('192.0.2.1'),
      out(4),
      attribute(6, unsigned32(100)),
    );
    expect(parseRoute(route)).toEqual([
      { family: 4, destination: '0.0.0.0/0', ifindex: 4, gateway: '192.0.2.1', table: 254, metric: 100 },
    ]);
  });

  it('reads a table beyond 255 from its attribute', () => {
    const route = read(
      RouteMessage.newRoute,
      header(10, 64, 252),
      attribute(1, ipv6('2001 0db8 0001 0000 0000 0000 0000 0000')),
      out(4),
      attribute(15, unsigned32(1000)),
    );
    expect(parseRoute(route)).toEqual([
      { family: 6, destination: '2001:db8:1::/64', ifindex: 4, table: 1000, metric: 0 },
    ]);
  });

  it('gives one route for each next hop of a multipath route', () => {
    const hop = (ifindex: number, gateway: string) => {
      const head = Buffer.alloc(8);
      head.writeUInt16LE(16, 0);
      head.writeInt32LE(ifindex, 4);
      return Buffer.concat([head, via(gateway)]);
    };
    const hops = attribute(9, Buffer.concat([hop(4, '192.0.2.1'), hop(5, '198.51.100.1')]));
    const routes = parseRoute(read(RouteMessage.newRoute, header(2, 0, 254), hops));
    expect(routes.map(({ ifindex, gateway }) => [ifindex, gateway])).toEqual([
      [4, '192.0.2.1'],
      [5, '198.51.100.1'],
    ]);
  });

  it('reads an IPv6 next hop of an IPv4 route', () => {
    const family = Buffer.from([10, 0]);
    const hop = Buffer.concat([family, ipv6('fe80 0000 0000 0000 0000 0000 0000 0001')]);
    const [route] = parseRoute(read(RouteMessage.newRoute, header(2, 0, 254), attribute(18, hop), out(4)));
    expect(route).toMatchObject({ family: 4, gateway: 'fe80::1' });
  });

  it('leaves out local, broadcast, unreachable and cached routes', () => {
    expect(parseRoute(read(RouteMessage.newRoute, header(2, 32, 255), out(1)))).toEqual([]);
    for (const type of [2, 3, 5, 6, 7]) {
      expect(parseRoute(read(RouteMessage.newRoute, header(2, 0, 254, type), out(1)))).toEqual([]);
    }
    expect(parseRoute(read(RouteMessage.newRoute, header(10, 0, 254, 1, 0x200), out(1)))).toEqual([]);
  });
});
