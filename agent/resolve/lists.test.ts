import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, formatPrefix, masked, type Prefix, parsePrefix } from '../../api/cidr.ts';
import type { DesiredAllow, DesiredList, NeverBlockEntry } from './desired-state.ts';
import { type FlatListEntry, flattenAllow, flattenClasses, flattenLists } from './lists.ts';

const list = (name: string, entries: string[], more: Partial<DesiredList> = {}): DesiredList => ({
  name,
  enforce: true,
  allTraffic: true,
  entries,
  except: [],
  ...more,
});
const winnersOf = (table: FlatListEntry[]) =>
  table.map(({ cidr, winner }) => `${cidr} ${winner === 'spared' ? winner : winner.name}`);

/** Prefixes and addresses out of a small space, so that they nest, meet and repeat. */
const space = fc.constantFrom(
  { family: 4 as const, base: 0xc0000200n, bits: 32 },
  { family: 4 as const, base: 0n, bits: 32 },
  { family: 6 as const, base: 0x20010db8n << 96n, bits: 128 },
  { family: 6 as const, base: 0n, bits: 128 },
);
const prefix = fc
  .tuple(space, fc.bigInt(0n, 255n), fc.nat(9))
  .map(([{ family, base, bits }, low, up]) =>
    formatPrefix(masked({ family, value: base | low, length: up === 9 ? 0 : bits - up })),
  );
const address = fc
  .tuple(space, fc.bigInt(0n, 300n))
  .map(([{ family, base, bits }, low]): Prefix => ({ family, value: base | low, length: bits }));

const covers = (cidr: string, source: Prefix) => contains(parsePrefix(cidr)!, source);

/** What a longest-prefix-match table answers. */
function lookUp<Row extends { cidr: string }>(table: readonly Row[], source: Prefix): Row | undefined {
  return table
    .filter(({ cidr }) => covers(cidr, source))
    .sort((a, b) => parsePrefix(b.cidr)!.length - parsePrefix(a.cidr)!.length)[0];
}

const anyList = fc.record({
  enforce: fc.boolean(),
  allTraffic: fc.boolean(),
  entries: fc.array(prefix, { maxLength: 12 }),
  except: fc.array(prefix, { maxLength: 6 }),
});

describe('flattenLists', () => {
  it('leaves out an entry inside a wider one of the same list', () => {
    expect(winnersOf(flattenLists([list('a', ['192.0.2.0/24', '192.0.2.7/32', '192.0.2.0/24'])]))).toEqual([
      '192.0.2.0/24 a',
    ]);
  });

  it('lets Enforce win over Monitor, then All over NewConnections, then the name, however they nest', () => {
    const lists = [
      list('monitor-all', ['10.0.0.0/8'], { enforce: false }),
      list('monitor-new', ['10.1.0.0/16'], { enforce: false, allTraffic: false }),
      list('enforce-new', ['10.1.1.0/24'], { allTraffic: false }),
      list('b', ['10.1.1.0/28']),
      list('a', ['10.1.1.0/28']),
    ];
    expect(winnersOf(flattenLists(lists))).toEqual([
      '10.0.0.0/8 monitor-all',
      '10.1.1.0/24 enforce-new',
      '10.1.1.0/28 a',
    ]);
    expect(flattenLists(lists)[0]!.winner).toEqual({ name: 'monitor-all', enforce: false, allTraffic: true });
  });

  it('spares what an exception covers, unless another list holds there', () => {
    const lists = [
      list('wide', ['10.0.0.0/8'], { except: ['10.1.0.0/16', '172.16.0.0/12'] }),
      list('narrow', ['10.1.2.0/24'], { enforce: false }),
    ];
    expect(winnersOf(flattenLists(lists))).toEqual(['10.0.0.0/8 wide', '10.1.0.0/16 spared', '10.1.2.0/24 narrow']);
  });

  it('lets a wide exception hold over a narrower entry of its list', () => {
    expect(flattenLists([list('a', ['10.1.0.0/16'], { except: ['10.0.0.0/8'] })])).toEqual([]);
  });

  it('ranks more lists than a machine word has bits', () => {
    const lists = Array.from({ length: 100 }, (_, i) =>
      list(`l${String(99 - i).padStart(2, '0')}`, [`10.0.0.0/${32 - (i % 30)}`]),
    );
    const table = flattenLists(lists);
    const source = { family: 4 as const, value: 0x0a000000n, length: 32 };
    expect(lookUp(table, source)?.winner).toMatchObject({ name: 'l00' });
    const all = flattenLists([...lists.slice(0, 99), list('l00', ['10.0.0.0/32'], { except: ['10.0.0.0/31'] })]);
    expect(lookUp(all, source)?.winner).toMatchObject({ name: 'l01' });
  });

  it('gives by its longest match what all lists together say', () => {
    fc.assert(
      fc.property(
        fc.array(anyList, { maxLength: 5 }),
        fc.array(address, { minLength: 20, maxLength: 20 }),
        (raw, sources) => {
          const lists = raw.map((each, i): DesiredList => ({ name: `list-${i}`, ...each }));
          const table = flattenLists(lists);
          for (const source of sources) {
            const holding = lists.filter(
              ({ entries, except }) =>
                entries.some((cidr) => covers(cidr, source)) && !except.some((cidr) => covers(cidr, source)),
            );
            const strictness = (each: DesiredList) => (each.enforce ? 2 : 0) + (each.allTraffic ? 1 : 0);
            const strictest = holding.reduce<DesiredList | undefined>(
              (best, each) => (best === undefined || strictness(each) > strictness(best) ? each : best),
              undefined,
            );
            const found = lookUp(table, source)?.winner ?? 'spared';
            expect(found === 'spared' ? undefined : found.name).toBe(strictest?.name);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('is small: no row says what the row around it says', () => {
    fc.assert(
      fc.property(fc.array(anyList, { maxLength: 5 }), (raw) => {
        const table = flattenLists(raw.map((each, i) => ({ name: `list-${i}`, ...each })));
        expect(new Set(table.map(({ cidr }) => cidr)).size).toBe(table.length);
        for (const row of table) {
          const own = parsePrefix(row.cidr)!;
          const around = lookUp(
            table.filter((other) => other !== row && contains(parsePrefix(other.cidr)!, own)),
            own,
          );
          expect(row.winner).not.toEqual(around?.winner ?? 'spared');
        }
      }),
      { numRuns: 300 },
    );
  });

  // Comparing each with each would take longer than a test may.
  it('takes 100,000 entries', () => {
    const octets = (i: number) => `${10 + (i % 7)}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
    const lists = Array.from({ length: 10 }, (_, n) =>
      list(
        `list-${n}`,
        Array.from({ length: 10_000 }, (_, i) => `${octets(i * 7 + n)}/32`),
      ),
    );
    expect(flattenLists(lists).length).toBeGreaterThan(50_000);
  });
});

describe('flattenAllow', () => {
  it('gives by its longest match the latest expiry of all covering entries', () => {
    const entry = fc.record({
      cidr: prefix,
      expiresAtMs: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 15 }),
        fc.array(address, { minLength: 20, maxLength: 20 }),
        (raw, sources) => {
          const allow = raw.map(
            ({ cidr, expiresAtMs }): DesiredAllow => (expiresAtMs ? { cidr, expiresAtMs } : { cidr }),
          );
          const table = flattenAllow(allow);
          for (const source of sources) {
            const untils = allow
              .filter(({ cidr }) => covers(cidr, source))
              .map(({ expiresAtMs }) => expiresAtMs ?? Number.POSITIVE_INFINITY);
            const row = lookUp(table, source);
            expect(row && (row.expiresAtMs ?? Number.POSITIVE_INFINITY)).toBe(
              untils.length > 0 ? Math.max(...untils) : undefined,
            );
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('flattenClasses', () => {
  it('gives by its longest match the properties of all covering prefixes', () => {
    fc.assert(
      fc.property(
        fc.array(prefix, { maxLength: 10 }),
        fc.array(prefix, { maxLength: 10 }),
        fc.array(address, { minLength: 20, maxLength: 20 }),
        (neverBlock, onLink, sources) => {
          const entries = neverBlock.map((cidr): NeverBlockEntry => ({ cidr, kind: 'configured' }));
          const table = flattenClasses({ neverBlock: entries, onLink });
          for (const source of sources) {
            const row = lookUp(table, source);
            expect(row?.neverBlock ?? false).toBe(neverBlock.some((cidr) => covers(cidr, source)));
            expect(row?.onLink ?? false).toBe(onLink.some((cidr) => covers(cidr, source)));
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
