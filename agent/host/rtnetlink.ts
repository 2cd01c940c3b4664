/** Route netlink messages as plain data: what to ask, and what the answers say. No I/O. */
import { formatAddress } from '../../api/cidr.ts';
import { attribute, attributesOf, type NetlinkMessage, textOf, unsigned32 } from '../libbpf/netlink-message.ts';
import type { HostAddress, HostLink, HostRoute } from './snapshot.ts';

export const RouteMessage = {
  newLink: 16,
  getLink: 18,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  getRoute: 26,
} as const;

const AF_INET = 2;
const AF_INET6 = 10;

const LINK_HEADER_BYTES = 16;
const ADDRESS_HEADER_BYTES = 8;
const ROUTE_HEADER_BYTES = 12;
const NEXT_HOP_HEADER_BYTES = 8;

const IFF_UP = 1;
const Ifla = { name: 3, mtu: 4, master: 10, linkInfo: 18, extMask: 29, xdp: 43 } as const;
const IFLA_INFO_KIND = 1;
const IflaXdp = { attached: 2, programId: 4, nativeId: 5, genericId: 6, offloadId: 7 } as const;
/** Counters of traffic would be most of a link's message, and nobody here reads them. */
const RTEXT_FILTER_SKIP_STATS = 8;

const Ifa = { address: 1, local: 2, broadcast: 4 } as const;
const Rta = { destination: 1, ifindex: 4, gateway: 5, priority: 6, multipath: 9, table: 15, via: 18 } as const;
const RTN_UNICAST = 1;
const RT_TABLE_LOCAL = 255;
/** An entry of a route cache, not a route. */
const RTM_F_CLONED = 0x200;

export function linkDumpRequest(): Buffer {
  return Buffer.concat([Buffer.alloc(LINK_HEADER_BYTES), attribute(Ifla.extMask, unsigned32(RTEXT_FILTER_SKIP_STATS))]);
}

export function addressDumpRequest(): Buffer {
  return Buffer.alloc(ADDRESS_HEADER_BYTES);
}

/** Asks for the unicast routes of all tables, so that the kernel leaves out what every address adds of its own. */
export function routeDumpRequest(family: 4 | 6): Buffer {
  const header = Buffer.alloc(ROUTE_HEADER_BYTES);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  header[7] = RTN_UNICAST;
  return header;
}

/** One link; none for a message that is no link, or lacks what every link has. */
export function parseLink({ type, payload }: NetlinkMessage): HostLink[] {
  if (type !== RouteMessage.newLink || payload.length < LINK_HEADER_BYTES) return [];
  const attributes = attributesOf(payload, LINK_HEADER_BYTES);
  const name = attributes.get(Ifla.name);
  if (name === undefined) return [];
  const info = attributes.get(Ifla.linkInfo);
  const kind = info && attributesOf(info).get(IFLA_INFO_KIND);
  const master = u32(attributes.get(Ifla.master));
  const xdp = parseXdp(attributes.get(Ifla.xdp));
  const link: HostLink = {
    ifindex: payload.readInt32LE(4),
    name: textOf(name),
    type: payload.readUInt16LE(2),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: u32(attributes.get(Ifla.mtu)) ?? 0,
    ...(kind && { kind: textOf(kind) }),
    ...(master && { master }),
    ...(xdp && { xdp }),
  };
  return [link];
}

const xdpModes = [undefined, 'native', 'generic', 'offload', 'multi'] as const;

function parseXdp(value: Buffer | undefined): HostLink['xdp'] {
  if (value === undefined) return undefined;
  const attributes = attributesOf(value);
  const mode = xdpModes[attributes.get(IflaXdp.attached)?.[0] ?? 0];
  if (mode === undefined) return undefined;
  // With several programs the kernel names none as the one: the one that sees a packet first stands for them.
  const ids = [IflaXdp.programId, IflaXdp.offloadId, IflaXdp.nativeId, IflaXdp.genericId];
  const programId = ids.map((id) => u32(attributes.get(id)) ?? 0).find((id) => id !== 0) ?? 0;
  return { mode, programId };
}

/** One address; none for a message that is no IPv4 or IPv6 address. */
export function parseAddress({ type, payload }: NetlinkMessage): HostAddress[] {
  if (type !== RouteMessage.newAddress || payload.length < ADDRESS_HEADER_BYTES) return [];
  const attributes = attributesOf(payload, ADDRESS_HEADER_BYTES);
  // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL, where present, is always this one.
  const address = attributes.get(Ifa.local) ?? attributes.get(Ifa.address);
  if (address === undefined || address.length !== addressBytes(payload[0])) return [];
  const broadcast = attributes.get(Ifa.broadcast);
  const found: HostAddress = {
    ifindex: payload.readUInt32LE(4),
    address: addressText(address),
    prefixLength: payload.readUInt8(1),
    ...(broadcast?.length === 4 && { broadcast: addressText(broadcast) }),
  };
  return [found];
}

/** One route for each next hop; none for messages that are no unicast route of IPv4 or IPv6, and for the table of local addresses. */
export function parseRoute({ type, payload }: NetlinkMessage): HostRoute[] {
  if (type !== RouteMessage.newRoute || payload.length < ROUTE_HEADER_BYTES) return [];
  const bytes = addressBytes(payload[0]);
  const cloned = (payload.readUInt32LE(8) & RTM_F_CLONED) !== 0;
  if (bytes === 0 || cloned || payload[7] !== RTN_UNICAST) return [];
  const attributes = attributesOf(payload, ROUTE_HEADER_BYTES);
  const table = u32(attributes.get(Rta.table)) ?? payload.readUInt8(4);
  if (table === RT_TABLE_LOCAL) return [];
  const destination = attributes.get(Rta.destination) ?? Buffer.alloc(bytes);
  if (destination.length !== bytes) return [];
  const route = {
    family: bytes === 4 ? (4 as const) : (6 as const),
    destination: `${addressText(destination)}/${payload[1]}`,
    table,
    metric: u32(attributes.get(Rta.priority)) ?? 0,
  };
  const multipath = attributes.get(Rta.multipath);
  const hops = multipath
    ? nextHopsOf(multipath)
    : [{ ifindex: u32(attributes.get(Rta.ifindex)) ?? 0, gateway: gatewayOf(attributes) }];
  return hops.map(({ ifindex, gateway }) => ({ ...route, ifindex, ...(gateway && { gateway }) }));
}

interface NextHop {
  readonly ifindex: number;
  readonly gateway: string | undefined;
}

function nextHopsOf(value: Buffer): NextHop[] {
  const hops: NextHop[] = [];
  let at = 0;
  while (at + NEXT_HOP_HEADER_BYTES <= value.length) {
    const length = value.readUInt16LE(at);
    if (length < NEXT_HOP_HEADER_BYTES || at + length > value.length) break;
    const attributes = attributesOf(value.subarray(at, at + length), NEXT_HOP_HEADER_BYTES);
    hops.push({ ifindex: value.readInt32LE(at + 4), gateway: gatewayOf(attributes) });
    at += (length + 3) & ~3;
  }
  return hops;
}

function gatewayOf(attributes: Map<number, Buffer>): string | undefined {
  // RTA_VIA is a next hop of the other family (RFC 5549): two bytes of family, then the address.
  const gateway = attributes.get(Rta.gateway) ?? attributes.get(Rta.via)?.subarray(2);
  return gateway?.length === 4 || gateway?.length === 16 ? addressText(gateway) : undefined;
}

function addressText(bytes: Buffer): string {
  return formatAddress({ family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${bytes.toString('hex')}`) });
}

function addressBytes(family: number | undefined): 0 | 4 | 16 {
  if (family === AF_INET) return 4;
  return family === AF_INET6 ? 16 : 0;
}

function u32(value: Buffer | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : value.readUInt32LE(0);
}
