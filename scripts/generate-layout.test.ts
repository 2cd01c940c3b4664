import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as layout from '../agent/datapath/layout.ts';
import { REASONS } from '../test/model/reasons.ts';
import { readBtf } from './btf.ts';
import { layoutFile, renderLayout } from './generate-layout.ts';

const camel = (name: string): string => name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

test('agent/datapath/layout.ts is what bpf/layout.h gives', () => {
  expect(readFileSync(layoutFile, 'utf8')).toBe(renderLayout());
});

test('the model knows the reasons of the program, in their order', () => {
  expect(Object.keys(layout.reason)).toEqual([...REASONS, 'REASON_COUNT']);
});

describe('the program that was built', () => {
  const object = join(import.meta.dirname, '../build/guard.bpf.o');
  test('is there', () => expect(existsSync(object), 'run make build first').toBe(true));

  test('has every struct that both know as user space reads it', () => {
    const { structs } = readBtf(readFileSync(object));
    const known: Record<string, unknown> = { ...layout };
    const compared: string[] = [];
    for (const [name, { bytes, members }] of structs) {
      const mine = known[`${camel(name)}Struct`];
      if (mine === undefined) continue;
      const theirs = Object.fromEntries([...members].map(([member, { at }]) => [camel(member), at]));
      expect(mine, name).toEqual({ bytes, ...theirs });
      compared.push(name);
    }
    // What is shared in map values and events; a struct that is missing here was not compared at all.
    expect(compared).toEqual(
      expect.arrayContaining([
        ...['config', 'layout', 'owner', 'interface_state', 'address', 'block_key', 'block', 'domain'],
        ...['source', 'first', 'manual_value', 'source_class_value', 'ring_head', 'ring_entry'],
      ]),
    );
  });
});
