import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, formatPrefix, type Prefix, parsePrefix } from '../../../api/cidr.ts';
import { foldPrefixes } from './fold-prefixes.ts';
import type { Sighting } from './read-facts.ts';
import { maxSlicePrefixes, SliceSet } from './slice-set.ts';

const minLengths = { 4: 8, 6: 32 };
const keepMs = 600_000;
const p = (text: string): Prefix => parsePrefix(text)!;
const fold = (...texts: string[]) => foldPrefixes(texts.map(p), minLengths).map(formatPrefix);

describe('folding', () => {
  it('joins the two halves of a prefix, again and again', () => {
    expect(fold('192.0.2.0/26', '192.0.2.128/25', '192.0.2.64/26')).toEqual(['192.0.2.0/24']);
    expect(fold('2001:db8::/33', '2001:db8:8000::/33')).toEqual(['2001:db8::/32']);
  });

  it('does not join neighbours that are no halves of one prefix', () => {
    expect(fold('192.0.2.128/25', '192.0.3.0/25')).toEqual(['192.0.2.128/25', '192.0.3.0/25']);
  });

  it('leaves out what lies in another, and what stands twice', () => {
    expect(fold('10.0.0.0/8', '10.1.2.0/24', '10.0.0.0/8')).toEqual(['10.0.0.0/8']);
  });

  it('makes nothing wider than it may', () => {
    expect(fold('10.0.0.0/8', '11.0.0.0/8')).toEqual(['10.0.0.0/8', '11.0.0.0/8']);
  });

  it('covers just the addresses that it was given', () => {
    const address = fc.nat(63);
    fc.assert(
      fc.property(fc.array(fc.tuple(address, fc.integer({ min: 26, max: 32 }))), (given) => {
        const prefixes = given.map(([host, length]) => {
          const start = host & ~((1 << (32 - length)) - 1);
          return p(`198.51.100.${start}/${length}`);
        });
        const folded = foldPrefixes(prefixes, minLengths);
        for (let host = 0; host < 64; host++) {
          const one = p(`198.51.100.${host}/32`);
          const isIn = (all: readonly Prefix[]) => all.filter((prefix) => contains(prefix, one)).length;
          expect(isIn(folded)).toBe(isIn(prefixes) > 0 ? 1 : 0);
        }
      }),
    );
  });
});

const sighting = (object: string, ...texts: string[]): Sighting => ({
  object,
  prefixes: new Map(texts.map((text) => [text, p(text)])),
});

// Far apart, so that nothing folds, and of two families.
const nodeOf = (i: number): Sighting =>
  sighting(`Node/n${i}`, `10.${(i >> 7) & 255}.${(2 * i) & 255}.1/32`, `2001:db8:0:${(i + 1).toString(16)}::1/128`);

function changes(
  before: ReadonlyMap<number, readonly string[]>,
  after: ReadonlyMap<number, readonly string[]>,
): number[] {
  const slices = new Set([...before.keys(), ...after.keys()]);
  return [...slices].filter((slice) => before.get(slice)?.join() !== after.get(slice)?.join());
}

const allOf = (slices: ReadonlyMap<number, readonly string[]>) => [...slices.values()].flat();

describe('slices', () => {
  const nodes = Array.from({ length: 2600 }, (_, i) => nodeOf(i));

  it('hold all there is, at most 1,000 prefixes each', () => {
    const set = new SliceSet({ minLengths, keepMs });
    set.update(nodes, 0);
    const slices = set.slices();
    expect(slices.size).toBe(6);
    for (const prefixes of slices.values()) expect(prefixes.length).toBeLessThanOrEqual(maxSlicePrefixes);
    expect(new Set(allOf(slices))).toEqual(new Set(nodes.flatMap(({ prefixes }) => [...prefixes.keys()])));
  });

  it('change one by one as nodes come', () => {
    const set = new SliceSet({ minLengths, keepMs });
    const present = nodes.filter((_, i) => i % 13 !== 0);
    set.update(present, 0);
    for (const late of nodes.filter((_, i) => i % 13 === 0).slice(0, 40)) {
      const before = set.slices();
      present.push(late);
      set.update(present, 1);
      expect(changes(before, set.slices())).toHaveLength(1);
    }
  });

  it('keep what has disappeared for a while, and take it up again without a change', () => {
    const set = new SliceSet({ minLengths, keepMs });
    set.update(nodes, 0);
    const before = set.slices();
    set.update(nodes.slice(1), 1000);
    expect(set.nextExpiryMs).toBe(1000 + keepMs);
    expect(changes(before, set.slices())).toEqual([]);
    set.update(nodes, 2000);
    expect(set.nextExpiryMs).toBeUndefined();
    set.update(nodes.slice(1), 3000);
    set.update(nodes.slice(1), 3000 + keepMs);
    expect(changes(before, set.slices())).toHaveLength(1);
    expect(allOf(set.slices())).not.toContain('10.0.0.1/32');
  });

  it('have room again for others where something has left', () => {
    const set = new SliceSet({ minLengths, keepMs: 0 });
    for (let round = 0; round < 5; round++) {
      set.update(nodes.slice(round * 500, round * 500 + 500), round);
      expect([...set.slices().keys()]).toEqual([0]);
    }
  });

  it('stay as they are when another replica takes over', () => {
    const first = new SliceSet({ minLengths, keepMs });
    // In an order of its own: 500 early nodes, the others later.
    first.update(nodes.slice(1000, 1500), 0);
    first.update(nodes, 0);
    const written = first.slices();
    const second = new SliceSet({ minLengths, keepMs });
    for (const [slice, prefixes] of written) second.adopt(slice, prefixes.map(p), 50);
    second.update([...nodes].reverse(), 50);
    expect(changes(written, second.slices())).toEqual([]);
    second.update(nodes, 50 + keepMs);
    expect(changes(written, second.slices())).toEqual([]);
    expect(second.nextExpiryMs).toBeUndefined();
  });

  it('keep what another replica wrote for a while although it is gone', () => {
    const set = new SliceSet({ minLengths, keepMs });
    set.adopt(3, [p('203.0.113.0/24')], 100);
    set.update([nodeOf(1)], 100);
    expect(set.slices().get(3)).toEqual(['203.0.113.0/24']);
    set.update([nodeOf(1)], 100 + keepMs);
    expect([...set.slices().keys()]).toEqual([0]);
  });

  it('fold neighbours', () => {
    const set = new SliceSet({ minLengths, keepMs });
    const ranges = Array.from({ length: 256 }, (_, i) => sighting(`Node/${i}`, `10.244.${i}.0/24`));
    set.update(ranges, 0);
    expect([...set.slices()]).toEqual([[0, ['10.244.0.0/16']]]);
    set.update(ranges.slice(1), 0);
    set.update(ranges.slice(1), keepMs);
    expect(set.slices().get(0)).toHaveLength(8);
  });

  it('count an address once that two objects tell', () => {
    const set = new SliceSet({ minLengths, keepMs });
    const both = ['a', 'b'].map((object) => sighting(object, '192.0.2.1/32'));
    set.update(both, 0);
    expect(allOf(set.slices())).toEqual(['192.0.2.1/32']);
    set.update(both.slice(1), 0);
    set.update(both.slice(1), keepMs);
    expect(allOf(set.slices())).toEqual(['192.0.2.1/32']);
  });

  it('are several for one object that tells more than fits', () => {
    const set = new SliceSet({ minLengths, keepMs });
    const texts = Array.from({ length: 2500 }, (_, i) => `10.${i >> 7}.${(2 * i) & 255}.1/32`);
    set.update([sighting('settings', ...texts)], 0);
    expect([...set.slices().values()].map(({ length }) => length)).toEqual([1000, 1000, 500]);
  });

  it('a node that claims other addresses all the time adds few of them, and holds up no other', () => {
    const set = new SliceSet({ minLengths, keepMs, maxPerObject: 4 });
    let refused = 0;
    for (let second = 0; second < 500; second++) {
      const stolen = sighting('Node/stolen', `198.51.${second >> 8}.${second & 255}/32`);
      refused += set.update([stolen, sighting('Node/good', '192.0.2.1/32')], second * 1000).length;
    }
    expect(refused).toBe(496);
    expect(set.update([sighting('Node/good', '192.0.2.1/32', '192.0.2.3/32')], 500_000)).toEqual([]);
    const held = allOf(set.slices()).map(p);
    const addresses = held.reduce((sum, { length }) => sum + 2 ** (32 - length), 0);
    expect(addresses).toBe(4 + 2);
    // When the first are forgotten there is room again.
    expect(set.update([sighting('Node/stolen', '203.0.113.9/32')], 500_000 + keepMs)).toEqual([]);
  });

  it('whatever comes and goes, hold what is there and what was there a moment ago, and nothing else', () => {
    const capacity = 4;
    const step = fc.record({
      nodes: fc.uniqueArray(fc.nat(11), { maxLength: 12 }),
      laterMs: fc.nat(700),
      isTakenOver: fc.boolean(),
    });
    // Neighbours, so that much of it folds, and some of them shared.
    const node = (i: number) => sighting(`Node/n${i}`, `192.0.2.${i}/32`, `192.0.2.${i ^ 1}/32`, `2001:db8::${i}/128`);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        let set = new SliceSet({ minLengths, keepMs: 1000, capacity });
        let nowMs = 0;
        const lastMs = new Map<string, number>();
        for (const { nodes, laterMs, isTakenOver } of steps) {
          nowMs += laterMs;
          if (isTakenOver) {
            const before = set.slices();
            set = new SliceSet({ minLengths, keepMs: 1000, capacity });
            for (const [slice, prefixes] of before) set.adopt(slice, prefixes.map(p), nowMs);
            for (const text of covered(before)) lastMs.set(text, nowMs);
          }
          set.update(nodes.map(node), nowMs);
          for (const text of nodes.flatMap((i) => [...node(i).prefixes.keys()])) lastMs.set(text, nowMs);
          const slices = set.slices();
          for (const prefixes of slices.values()) expect(prefixes.length).toBeLessThanOrEqual(capacity);
          const now = covered(slices);
          for (const i of nodes) for (const text of node(i).prefixes.keys()) expect(now).toContain(text);
          for (const [text, atMs] of lastMs) if (nowMs - atMs < 1000) expect(now).toContain(text);
          // Exactly when it is forgotten depends on when it was last asked for; never earlier, never much later.
          for (const text of now) expect(nowMs - lastMs.get(text)!).toBeLessThan(1000 + 700);
        }
      }),
    );
  });
});

/** The addresses of the property that the slices cover. */
function covered(slices: ReadonlyMap<number, readonly string[]>): Set<string> {
  const prefixes = allOf(slices).map(p);
  const addresses = Array.from({ length: 16 }, (_, i) => [`192.0.2.${i}/32`, `2001:db8::${i.toString(10)}/128`]).flat();
  return new Set(addresses.filter((text) => prefixes.some((prefix) => contains(prefix, p(text)))));
}
