import { describe, expect, it } from 'vitest';
import type { HostRoute, HostSnapshot } from '../host/snapshot.ts';
import { neverBlockSet, onLinkPrefixes, ownAddresses, parseNeverBlock } from './never-block.ts';

const empty: HostSnapshot = { links: [], addresses: [], routes: [], resolvers: [] };
const address = (text: string, prefixLength: number, broadcast?: string) => ({
  ifindex: 2,
  address: text,
  prefixLength,
  ...(broadcast && { broadcast }),
});
const route = (destination: string, gateway?: string, more: Partial<HostRoute> = {}): HostRoute => ({
  family: destination.includes(':') ? 6 : 4,
  destination,
  ifindex: 2,
  table: 254,
  metric: 0,
  ...(gateway && { gateway }),
  ...more,
});
const shown = (host: Partial<HostSnapshot>, configured: string[] = []) =>
  neverBlockSet({ ...empty, ...host }, configured)
    .filter(({ kind }) => kind !== 'special')
    .map(({ cidr, kind }) => `${kind} ${cidr}`);

describe('neverBlockSet', () => {
  it('starts with the sources that nothing real can have', () => {
    expect(neverBlockSet(empty, []).map(({ cidr }) => cidr)).toEqual([
      '0.0.0.0/32',
      '127.0.0.0/8',
      '224.0.0.0/4',
      '255.255.255.255/32',
      '::/128',
      '::1/128',
      'ff00::/8',
    ]);
  });

  it('puts what is asked for and what leads out of the network before what may run into thousands', () => {
    const host = {
      addresses: [address('192.0.2.2', 24, '192.0.2.255'), address('2001:db8::2', 64)],
      routes: [
        route('10.0.0.0/8', '192.0.2.9'),
        route('0.0.0.0/0', '192.0.2.1'),
        route('::/0', 'fe80::1'),
        route('192.0.2.0/24'),
      ],
      resolvers: ['192.0.2.53'],
    };
    expect(shown(host, ['203.0.113.0/24'])).toEqual([
      'configured 203.0.113.0/24',
      'next-hop 192.0.2.1/32',
      'next-hop fe80::1/128',
      'resolver 192.0.2.53/32',
      'next-hop 192.0.2.9/32',
      'own 192.0.2.2/32',
      'own 2001:db8::2/128',
      'broadcast 192.0.2.255/32',
    ]);
  });

  it('takes next hops, not the networks that are connected', () => {
    expect(shown({ routes: [route('192.0.2.0/24'), route('2001:db8::/64')] })).toEqual([]);
  });

  it('gives each prefix once, under its first kind, and nothing that the special ones hold', () => {
    const host = {
      addresses: [address('127.0.0.1', 8), address('::1', 128), address('192.0.2.2', 32)],
      routes: [route('0.0.0.0/0', '192.0.2.1'), route('10.0.0.0/8', '192.0.2.1', { table: 1000 })],
      resolvers: ['127.0.0.53', '192.0.2.1'],
    };
    expect(shown(host)).toEqual(['next-hop 192.0.2.1/32', 'own 192.0.2.2/32']);
  });

  it('knows the broadcast address of a subnet whether or not one is configured', () => {
    expect(shown({ addresses: [address('192.0.2.130', 25)] })).toContain('broadcast 192.0.2.255/32');
    expect(shown({ addresses: [address('192.0.2.1', 24, '192.0.2.127')] })).toEqual([
      'own 192.0.2.1/32',
      'broadcast 192.0.2.127/32',
      'broadcast 192.0.2.255/32',
    ]);
    expect(shown({ addresses: [address('192.0.2.0', 31), address('192.0.2.9', 32)] })).toEqual([
      'own 192.0.2.0/32',
      'own 192.0.2.9/32',
    ]);
  });

  it('does not depend on the order in which the kernel tells', () => {
    const addresses = [address('192.0.2.9', 32), address('192.0.2.10', 32), address('10.0.0.1', 32)];
    expect(shown({ addresses })).toEqual(shown({ addresses: [...addresses].reverse() }));
  });
});

describe('parseNeverBlock', () => {
  it('takes canonical prefixes and bare addresses', () => {
    expect(parseNeverBlock('192.0.2.0/24')).toBe('192.0.2.0/24');
    expect(parseNeverBlock('192.0.2.7')).toBe('192.0.2.7/32');
    expect(parseNeverBlock('2001:DB8::7')).toBe('2001:db8::7/128');
  });

  it('names the canonical form of what it refuses, where there is one', () => {
    expect(() => parseNeverBlock('192.0.2.7/24')).toThrow(
      expect.objectContaining({ code: 'BadSetting', value: '192.0.2.7/24', remedy: 'Write 192.0.2.0/24.' }),
    );
    expect(() => parseNeverBlock('example.com')).toThrow(/"example.com" is no address or prefix/);
  });
});

describe('onLinkPrefixes', () => {
  it('takes connected IPv6 prefixes and nothing else', () => {
    const host: HostSnapshot = {
      ...empty,
      links: [{ ifindex: 1, name: 'lo', type: 772, up: true, mtu: 65536 }],
      routes: [
        route('2001:db8:1::/64'),
        route('2001:db8:1::/64', undefined, { ifindex: 3 }),
        route('fd00::/48'),
        route('2001:db8:2::/64', 'fe80::1'),
        route('2001:db8:3::1/128'),
        route('fe80::/64'),
        route('ff00::/8'),
        route('::/0'),
        route('192.0.2.0/24'),
        route('2001:db8:4::/64', undefined, { ifindex: 1 }),
      ],
    };
    expect(onLinkPrefixes(host)).toEqual(['2001:db8:1::/64', 'fd00::/48']);
  });
});

describe('ownAddresses', () => {
  it('are the unicast addresses of all interfaces, each once', () => {
    const addresses = ['127.0.0.1', '192.0.2.2', '192.0.2.2', '0.0.0.0', '224.0.0.1', 'fe80::2', 'ff02::1', '::'];
    expect(ownAddresses({ ...empty, addresses: addresses.map((text) => address(text, 32)) })).toEqual([
      '127.0.0.1',
      '192.0.2.2',
      'fe80::2',
    ]);
  });
});
