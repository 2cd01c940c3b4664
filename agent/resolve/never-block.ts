import {
  addressBits,
  canonicalPrefix,
  contains,
  formatAddress,
  formatPrefix,
  isCanonicalPrefix,
  masked,
  type Prefix,
  parseAddress,
  parsePrefix,
  parsePrefixOrAddress,
} from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';
import type { ClusterFacts } from '../../api/types.ts';
import { isDefaultRoute } from '../host/default-route.ts';
import type { HostSnapshot } from '../host/snapshot.ts';
import type { NeverBlockEntry } from './desired-state.ts';
import { comparePrefixes, prefixOf } from './prefix-fold.ts';

/** Sources that no scan can come from, or that forging would turn against the host itself. */
const SPECIAL = ['0.0.0.0/32', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32', '::/128', '::1/128', 'ff00::/8'];

const special = SPECIAL.map(prefixOf);
const linkLocal = prefixOf('fe80::/10');
const multicast = prefixOf('ff00::/8');
const ARPHRD_LOOPBACK = 772;

/** Of these there may be more than the table holds: the widest spare the most. */
const widest: ReadonlySet<NeverBlockEntry['kind']> = new Set(['service-range', 'pod-range', 'node']);

function byWidth(a: Prefix, b: Prefix): number {
  return a.family - b.family || a.length - b.length || comparePrefixes(a, b);
}

/** One item of the administrator's list, a canonical prefix or a bare address, as a prefix. Throws BadSetting. */
export function parseNeverBlock(text: string): string {
  const prefix = parsePrefixOrAddress(text);
  if (prefix !== undefined && (!text.includes('/') || isCanonicalPrefix(text))) return formatPrefix(prefix);
  const canonical = canonicalPrefix(text);
  throw new PortcullisError(
    'BadSetting',
    `--never-block: ${JSON.stringify(text)} is no ${canonical === undefined ? 'address or prefix' : 'prefix in canonical form'}`,
    {
      field: 'never-block',
      value: text,
      remedy:
        canonical === undefined
          ? 'Give addresses and prefixes such as 192.0.2.7,2001:db8::/32.'
          : `Write ${canonical}.`,
    },
  );
}

/**
 * Sources that are never dropped, most important first: what does not fit the
 * table is cut from the end, so what an administrator asks for and what leads
 * out of the network comes before addresses that may run into thousands (a
 * service proxy gives a node one of its own for each service, and there may be
 * thousands of nodes). An address that is there for several reasons stands
 * under the first.
 */
export function neverBlockSet(
  host: HostSnapshot,
  configured: readonly string[],
  facts: readonly ClusterFacts[] = [],
): NeverBlockEntry[] {
  const single = (addresses: readonly (string | undefined)[]) =>
    addresses.flatMap((text) => {
      const address = text === undefined ? undefined : parseAddress(text);
      return address === undefined ? [] : [formatPrefix({ ...address, length: addressBits(address.family) })];
    });
  const hops = (routes: HostSnapshot['routes']) => single(routes.map(({ gateway }) => gateway));
  const held = (holds: ClusterFacts['spec']['holds']) =>
    facts.flatMap(({ spec }) => (spec.holds === holds ? spec.prefixes.filter(isCanonicalPrefix) : []));
  const groups: [NeverBlockEntry['kind'], readonly string[]][] = [
    ['special', SPECIAL],
    ['configured', configured],
    ['configured', held('Configured')],
    ['next-hop', hops(host.routes.filter(isDefaultRoute))],
    ['resolver', single(host.resolvers)],
    ['api-server', held('ApiServer')],
    ['next-hop', hops(host.routes)],
    ['own', single(host.addresses.map(({ address }) => address))],
    ['broadcast', single(host.addresses.flatMap(broadcastsOf))],
    ['service-range', held('ServiceRanges')],
    ['pod-range', held('PodRanges')],
    ['node', held('Nodes')],
  ];
  const taken = new Set<string>();
  return groups.flatMap(([kind, cidrs]) => {
    const fresh = [...new Set(cidrs)].map(prefixOf).filter((prefix) => {
      const isSpecial = special.some((wider) => contains(wider, prefix));
      return !taken.has(formatPrefix(prefix)) && (kind === 'special' || !isSpecial);
    });
    const sorted = kind === 'special' ? fresh : fresh.sort(widest.has(kind) ? byWidth : comparePrefixes);
    return sorted.map((prefix): NeverBlockEntry => {
      const cidr = formatPrefix(prefix);
      taken.add(cidr);
      return { cidr, kind };
    });
  });
}

/** The kernel takes the highest address of an IPv4 subnet for its broadcast whether or not one is configured, below /31. */
function broadcastsOf({ address, prefixLength, broadcast }: HostSnapshot['addresses'][number]): string[] {
  const own = parseAddress(address);
  if (own?.family !== 4) return [];
  const found = broadcast === undefined ? [] : [broadcast];
  if (prefixLength > 0 && prefixLength < 31) {
    const subnet = masked({ ...own, length: prefixLength });
    found.push(formatAddress({ family: 4, value: subnet.value | ((1n << BigInt(32 - prefixLength)) - 1n) }));
  }
  return found;
}

/** IPv6 prefixes whose hosts are on a link of ours, so that each of them has its own address and not its own prefix. */
export function onLinkPrefixes(host: HostSnapshot): string[] {
  const loopbacks = new Set(host.links.filter(({ type }) => type === ARPHRD_LOOPBACK).map(({ ifindex }) => ifindex));
  const prefixes = host.routes.flatMap(({ family, destination, gateway, ifindex }) => {
    if (family !== 6 || gateway !== undefined || loopbacks.has(ifindex)) return [];
    const prefix = parsePrefix(destination);
    // A default route without next hop is a tunnel to the whole world, not a link.
    if (prefix === undefined || prefix.length === 0 || prefix.length === 128) return [];
    if (contains(linkLocal, prefix) || contains(multicast, prefix)) return [];
    return [formatPrefix(masked(prefix))];
  });
  return [...new Set(prefixes)].sort((a, b) => comparePrefixes(prefixOf(a), prefixOf(b)));
}

/** Every unicast address of the namespace, each once. */
export function ownAddresses(host: HostSnapshot): string[] {
  const isUnicast = (text: string) => {
    const address = parseAddress(text);
    if (address === undefined || address.value === 0n) return false;
    return address.family === 4 ? address.value >> 28n !== 0xen : address.value >> 120n !== 0xffn;
  };
  return [...new Set(host.addresses.map(({ address }) => address).filter(isUnicast))];
}
