import {
  addressBits,
  contains,
  formatPrefix,
  masked,
  type Prefix,
  parseAddress,
  parsePrefix,
} from '../../../api/cidr.ts';
import type { EndpointSlice, ServiceCidr } from '../../shared.ts';
import type { StoredNode } from '../../stored/node.ts';
import type { MinLengths } from './fold-prefixes.ts';

/** What one object says. */
export interface Sighting {
  /** The object, such as `Node/worker-1`. */
  readonly object: string;
  /** Each once. */
  readonly prefixes: readonly Prefix[];
}

/** A value that is not believed. A kubelet writes its own Node, so whoever took a node over writes there too. */
export interface RefusedFact {
  readonly object: string;
  readonly value: string;
  readonly reason: 'NotAnAddress' | 'NotAPrefix' | 'NotUsable' | 'TooWide' | 'TooMany';
}

export interface FactsRead {
  readonly sightings: readonly Sighting[];
  readonly refused: readonly RefusedFact[];
}

/** Nodes have a few: one of each family inside and outside. What a node that was taken over can add is bounded by it. */
export const maxAddressesPerNode = 8;
/** The schema of Nodes has one for each family. */
const maxRangesPerObject = 4;
/** API servers of one cluster. */
const maxEndpoints = 100;

/** No peer on a network has these; the agents pass them anyway where they matter. */
const unusable = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/128',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
].map((text) => parsePrefix(text)!);

export function readNodeAddresses(nodes: Iterable<StoredNode>): FactsRead {
  return readEach(nodes, 'Node', ({ addresses }) => addresses, readAddress, maxAddressesPerNode);
}

export function readPodRanges(nodes: Iterable<StoredNode>, minLengths: MinLengths): FactsRead {
  return readEach(nodes, 'Node', ({ podCidrs }) => podCidrs, readRange(minLengths), maxRangesPerObject);
}

export function readServiceRanges(serviceCidrs: Iterable<ServiceCidr>, minLengths: MinLengths): FactsRead {
  return readEach(
    serviceCidrs,
    'ServiceCIDR',
    ({ spec }) => spec?.cidrs ?? [],
    readRange(minLengths),
    maxRangesPerObject,
  );
}

export function readEndpoints(slices: Iterable<EndpointSlice>): FactsRead {
  const addressesOf = ({ endpoints }: EndpointSlice) => (endpoints ?? []).flatMap(({ addresses }) => addresses ?? []);
  return readEach(slices, 'EndpointSlice', addressesOf, readAddress, maxEndpoints);
}

type Reader = (text: string) => Prefix | RefusedFact['reason'];

function readEach<T extends { readonly metadata: { readonly name: string } }>(
  objects: Iterable<T>,
  kind: string,
  textsOf: (object: T) => readonly string[],
  read: Reader,
  most: number,
): FactsRead {
  const sightings: Sighting[] = [];
  const refused: RefusedFact[] = [];
  for (const given of objects) {
    const object = `${kind}/${given.metadata.name}`;
    const prefixes = new Map<string, Prefix>();
    for (const value of textsOf(given)) {
      const prefix = typeof value === 'string' ? read(value) : 'NotAnAddress';
      const reason = typeof prefix === 'string' ? prefix : prefixes.size >= most ? 'TooMany' : undefined;
      if (reason !== undefined) refused.push({ object, value: String(value).slice(0, 64), reason });
      else prefixes.set(formatPrefix(prefix as Prefix), prefix as Prefix);
    }
    sightings.push({ object, prefixes: [...prefixes.values()] });
  }
  return { sightings, refused };
}

function readAddress(text: string): Prefix | RefusedFact['reason'] {
  const address = parseAddress(text);
  if (address === undefined) return 'NotAnAddress';
  const prefix = { ...address, length: addressBits(address.family) };
  return unusable.some((range) => contains(range, prefix)) ? 'NotUsable' : prefix;
}

function readRange(minLengths: MinLengths): Reader {
  return (text) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) return 'NotAPrefix';
    if (prefix.length < minLengths[prefix.family]) return 'TooWide';
    return unusable.some((range) => contains(range, prefix)) ? 'NotUsable' : masked(prefix);
  };
}
