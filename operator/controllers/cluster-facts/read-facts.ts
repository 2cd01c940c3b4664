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
  /** By their canonical text. */
  readonly prefixes: ReadonlyMap<string, Prefix>;
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
export const maxRangesPerObject = 4;
/** API servers of one cluster. */
export const maxEndpoints = 100;

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
  const read = ({ metadata, addresses }: StoredNode) =>
    readTexts(`Node/${metadata.name}`, addresses, readAddress, maxAddressesPerNode);
  return together(nodes, (node) => remembered(node, rememberedAddresses, read));
}

export function readPodRanges(nodes: Iterable<StoredNode>, minLengths: MinLengths): FactsRead {
  const read = ({ metadata, podCidrs }: StoredNode) =>
    readTexts(`Node/${metadata.name}`, podCidrs, readRange(minLengths), maxRangesPerObject);
  return together(nodes, (node) => remembered(node, rememberedRanges, read));
}

export function readServiceRanges(serviceCidrs: Iterable<ServiceCidr>, minLengths: MinLengths): FactsRead {
  return together(serviceCidrs, ({ metadata, spec }) =>
    readTexts(`ServiceCIDR/${metadata.name}`, spec?.cidrs ?? [], readRange(minLengths), maxRangesPerObject),
  );
}

export function readEndpoints(slices: Iterable<EndpointSlice>): FactsRead {
  return together(slices, ({ metadata, endpoints }) => {
    const addresses = (endpoints ?? []).flatMap((endpoint) => endpoint.addresses ?? []);
    return readTexts(`EndpointSlice/${metadata.name}`, addresses, readAddress, maxEndpoints);
  });
}

interface ObjectRead {
  readonly sighting: Sighting;
  readonly refused: readonly RefusedFact[];
}

/** Nodes are many and their addresses seldom change; a Node that changes is another object, and settings stay as they are. */
const rememberedAddresses = new WeakMap<StoredNode, ObjectRead>();
const rememberedRanges = new WeakMap<StoredNode, ObjectRead>();

function remembered(
  node: StoredNode,
  known: WeakMap<StoredNode, ObjectRead>,
  read: (node: StoredNode) => ObjectRead,
): ObjectRead {
  const before = known.get(node);
  if (before !== undefined) return before;
  const result = read(node);
  known.set(node, result);
  return result;
}

function together<T>(objects: Iterable<T>, read: (object: T) => ObjectRead): FactsRead {
  const sightings: Sighting[] = [];
  const refused: RefusedFact[] = [];
  for (const object of objects) {
    const result = read(object);
    sightings.push(result.sighting);
    refused.push(...result.refused);
  }
  return { sightings, refused };
}

type Reader = (text: string) => Prefix | RefusedFact['reason'];

function readTexts(object: string, texts: readonly string[], read: Reader, most: number): ObjectRead {
  const prefixes = new Map<string, Prefix>();
  const refused: RefusedFact[] = [];
  for (const value of texts) {
    const prefix = typeof value === 'string' ? read(value) : 'NotAnAddress';
    if (typeof prefix !== 'string' && prefixes.size < most) {
      prefixes.set(formatPrefix(prefix), prefix);
      continue;
    }
    const reason = typeof prefix === 'string' ? prefix : 'TooMany';
    refused.push({ object, value: String(value).slice(0, 64), reason });
  }
  return { sighting: { object, prefixes }, refused };
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
