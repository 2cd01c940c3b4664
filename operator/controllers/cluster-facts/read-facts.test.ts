import { describe, expect, it } from 'vitest';
import type { StoredNode } from '../../stored/node.ts';
import { type FactsRead, readEndpoints, readNodeAddresses, readPodRanges, readServiceRanges } from './read-facts.ts';

const minLengths = { 4: 8, 6: 32 };

const node = (name: string, more: Partial<StoredNode>): StoredNode => ({
  metadata: { name, labels: {} },
  isReady: true,
  addresses: [],
  podCidrs: [],
  ...more,
});

const prefixesOf = ({ sightings }: FactsRead) => sightings.map(({ prefixes }) => [...prefixes.keys()]);
const reasonsOf = ({ refused }: FactsRead) => refused.map(({ value, reason }) => `${value}: ${reason}`);

describe('what Nodes say', () => {
  it('is an address each, of both families', () => {
    const read = readNodeAddresses([
      node('a', { addresses: ['192.0.2.1', '2001:DB8::1', '192.0.2.1'] }),
      node('b', {}),
    ]);
    expect(prefixesOf(read)).toEqual([['192.0.2.1/32', '2001:db8::1/128'], []]);
    expect(read.refused).toEqual([]);
  });

  it('is not believed where it is no address that a peer can have', () => {
    const addresses = [
      '0.0.0.0',
      '0.0.0.0/0',
      'worker-1',
      '127.0.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      'fe80::1',
      '',
    ];
    const read = readNodeAddresses([node('a', { addresses: [...addresses, '192.0.2.1'] })]);
    expect(prefixesOf(read)).toEqual([['192.0.2.1/32']]);
    expect(reasonsOf(read)).toEqual([
      '0.0.0.0: NotUsable',
      '0.0.0.0/0: NotAnAddress',
      'worker-1: NotAnAddress',
      '127.0.0.1: NotUsable',
      '224.0.0.1: NotUsable',
      '255.255.255.255: NotUsable',
      '::: NotUsable',
      'fe80::1: NotUsable',
      ': NotAnAddress',
    ]);
    expect(read.refused[0]?.object).toBe('Node/a');
  });

  it('is bounded for each node, so that one that was taken over spares few addresses', () => {
    const read = readNodeAddresses([node('a', { addresses: Array.from({ length: 20 }, (_, i) => `192.0.2.${i}`) })]);
    expect(prefixesOf(read)[0]).toHaveLength(8);
    expect(read.refused.map(({ reason }) => reason)).toEqual(Array(12).fill('TooMany'));
  });

  it('has ranges of pods, none of them so wide that it spares the world', () => {
    const podCidrs = ['0.0.0.0/0', '10.0.0.0/7', '::/0', '10.244.1.7/24', 'x', '127.0.0.0/8'];
    const read = readPodRanges(
      [node('a', { podCidrs }), node('b', { podCidrs: ['10.0.0.0/8', 'fd00::/64'] })],
      minLengths,
    );
    expect(prefixesOf(read)).toEqual([['10.244.1.0/24'], ['10.0.0.0/8', 'fd00::/64']]);
    expect(reasonsOf(read)).toEqual([
      '0.0.0.0/0: TooWide',
      '10.0.0.0/7: TooWide',
      '::/0: TooWide',
      'x: NotAPrefix',
      '127.0.0.0/8: NotUsable',
    ]);
  });
});

describe('what other objects say', () => {
  it('are the ranges of services', () => {
    const cidrs = ['10.96.0.0/16', 'fd00:10:96::/112', '0.0.0.0/1'];
    const read = readServiceRanges([{ metadata: { name: 'kubernetes' }, spec: { cidrs } }], minLengths);
    expect(prefixesOf(read)).toEqual([['10.96.0.0/16', 'fd00:10:96::/112']]);
    expect(reasonsOf(read)).toEqual(['0.0.0.0/1: TooWide']);
  });

  it('are the endpoints of the API server', () => {
    const slice = (name: string, addresses: string[]) => ({ metadata: { name }, endpoints: [{ addresses }, {}] });
    const read = readEndpoints([
      slice('v4', ['192.0.2.10']),
      slice('names', ['api.example']),
      { metadata: { name: 'x' } },
    ]);
    expect(prefixesOf(read)).toEqual([['192.0.2.10/32'], [], []]);
    expect(reasonsOf(read)).toEqual(['api.example: NotAnAddress']);
  });
});
