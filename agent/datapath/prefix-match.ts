import type { Prefix } from '../../api/cidr.ts';

const BITS = { 4: 32, 6: 128 } as const;

/** Prefixes with something to say of what lies inside of them; a look-up costs one step for each length in use. */
export class PrefixMatch<Value> {
  readonly #levels = { 4: new Map<number, Map<bigint, Value>>(), 6: new Map<number, Map<bigint, Value>>() };

  /** `merge` joins what two equal prefixes say. */
  add({ family, value, length }: Prefix, said: Value, merge: (before: Value, now: Value) => Value): void {
    const level = this.#levels[family].get(length) ?? new Map<bigint, Value>();
    const network = value >> BigInt(BITS[family] - length);
    const before = level.get(network);
    level.set(network, before === undefined ? said : merge(before, said));
    this.#levels[family].set(length, level);
  }

  has(family: 4 | 6): boolean {
    return this.#levels[family].size > 0;
  }

  /** What is said of all prefixes that `inner` lies in, itself included. */
  *around({ family, value, length }: Prefix): Generator<{ prefix: Prefix; said: Value }> {
    for (const [outer, level] of this.#levels[family]) {
      if (outer > length) continue;
      const hostBits = BigInt(BITS[family] - outer);
      const network = value >> hostBits;
      const said = level.get(network);
      if (said !== undefined) yield { prefix: { family, value: network << hostBits, length: outer }, said };
    }
  }
}
