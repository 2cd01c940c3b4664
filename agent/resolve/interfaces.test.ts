import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostLink, HostSnapshot } from '../host/snapshot.ts';
import { matchesGlob, selectInterfaces, unsupportedReason } from './interfaces.ts';

const link = (ifindex: number, name: string, more: Partial<HostLink> = {}): HostLink => ({
  ifindex,
  name,
  type: 1,
  up: true,
  mtu: 1500,
  ...more,
});
const host: HostSnapshot = {
  links: [
    link(4, 'wan1', { up: false }),
    link(1, 'lo', { type: 772 }),
    link(2, 'eth0'),
    link(3, 'eth1'),
    link(5, 'wg0', { type: 65534, kind: 'wireguard' }),
  ],
  addresses: [],
  routes: [
    { family: 4, destination: '0.0.0.0/0', ifindex: 2, gateway: '192.0.2.1', table: 254, metric: 0 },
    { family: 6, destination: '::/0', ifindex: 4, gateway: 'fe80::1', table: 254, metric: 1024 },
    { family: 4, destination: '0.0.0.0/0', ifindex: 5, table: 1000, metric: 0 },
    { family: 4, destination: '10.0.0.0/8', ifindex: 3, gateway: '192.0.2.9', table: 254, metric: 0 },
  ],
  resolvers: [],
};
const names = (...args: Parameters<typeof selectInterfaces>) => selectInterfaces(...args).links.map(({ name }) => name);

describe('selectInterfaces', () => {
  it('takes the interfaces with a default route of either family when nothing is said', () => {
    expect(names(undefined, host)).toEqual(['eth0', 'wan1']);
    expect(names({ roles: ['DefaultRoute'] }, host)).toEqual(['eth0', 'wan1']);
  });

  it('takes names, patterns and roles together, less what is excluded', () => {
    expect(names({ names: ['eth1'] }, host)).toEqual(['eth1']);
    expect(names({ patterns: ['eth*'], roles: ['DefaultRoute'] }, host)).toEqual(['eth0', 'eth1', 'wan1']);
    expect(names({ names: ['eth1'], patterns: ['*'], exclude: ['eth?'] }, host)).toEqual(['wan1']);
    expect(names({ names: ['eth9'] }, host)).toEqual([]);
  });

  it('takes interfaces that are down: a program may wait for its first packet', () => {
    expect(names({ names: ['wan1'] }, host)).toEqual(['wan1']);
  });

  it('names what is not of Ethernet type, and whether a person asked for it', () => {
    const asked = selectInterfaces({ names: ['wg0'], patterns: ['l*'] }, host);
    expect(asked.links).toEqual([]);
    expect(asked.unsupported.map(({ link: { name }, reason }) => `${name}: ${reason}`)).toEqual([
      'lo: a loopback interface, not of Ethernet type',
      'wg0: an interface without link-layer header (wireguard), not of Ethernet type',
    ]);
    const byRole = selectInterfaces(undefined, host);
    expect(byRole.unsupported).toEqual([]);
    expect(byRole.unsupportedByRole.map((each) => each.link.name)).toEqual(['wg0']);
  });

  it('knows a type it has no name for by its number', () => {
    expect(unsupportedReason(link(9, 'x0', { type: 805 }))).toBe('an interface of type 805, not of Ethernet type');
  });
});

describe('matchesGlob', () => {
  it.each([
    ['eth*', 'eth0', true],
    ['eth*', 'eth', true],
    ['eth?', 'eth', false],
    ['*.100', 'bond0.100', true],
    ['b*d?', 'bond0', true],
    ['eth0', 'eth00', false],
    ['[a-z]*', 'eth0', false],
    ['eth.', 'eth0', false],
    ['', '', true],
    ['*', '', true],
  ])('%s against %s: %s', (pattern, name, matches) => {
    expect(matchesGlob(pattern, name)).toBe(matches);
  });

  it('agrees with a regular expression', () => {
    const letters = (chars: string[]) => fc.string({ unit: fc.constantFrom(...chars), maxLength: 10 });
    fc.assert(
      fc.property(letters(['a', 'b', '*', '?']), letters(['a', 'b']), (pattern, name) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        expect(matchesGlob(pattern, name)).toBe(expression.test(name));
      }),
      { numRuns: 2_000 },
    );
  });

  // Going back over every star would not end in a lifetime.
  it('comes to an end for a pattern made to blow up', () => {
    expect(matchesGlob(`${'*a'.repeat(64)}b`, 'a'.repeat(1_000))).toBe(false);
  });
});
