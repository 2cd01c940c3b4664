import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadPolicyFile } from '../source/yaml-documents.ts';
import { bootId, type SavedBlock, StateStore } from './state-store.ts';

const NOW = 1_000_000;
const block = (more: Partial<SavedBlock> = {}): SavedBlock => ({
  ...{ source: '198.51.100.7', policy: 'web', flags: 1, probes: 15, ports: [22, 80] },
  ...{ sinceMs: NOW - 1_000, untilMs: NOW + 60_000, packetsDropped: 3 },
  ...more,
});

const policy = JSON.stringify({
  ...{ apiVersion: 'portcullis.dev/v1alpha1', kind: 'PortScanPolicy', metadata: { name: 'a' } },
  spec: { mode: 'Enforce' },
});

let folder: string;
let store: StateStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pc-test-'));
  store = new StateStore(join(folder, 'state'));
  await store.prepare();
});
afterEach(() => rmSync(folder, { recursive: true }));

const file = (name: string) => join(folder, 'state', name);
/** As if the machine had been started anew since. */
function reboot(): void {
  const saved = JSON.parse(readFileSync(file('blocks.json'), 'utf8')) as object;
  writeFileSync(file('blocks.json'), JSON.stringify({ ...saved, bootId: 'another' }));
}

describe('objects', () => {
  test('of which nothing was saved are none', async () => {
    expect(await store.loadObjects()).toEqual([]);
  });

  test('come back as they were', async () => {
    const objects = loadPolicyFile('a.yaml', policy).objects.map((object) => ({ ...object, file: 'a.yaml' }));
    await store.saveObjects(objects);
    expect(objects).toHaveLength(1);
    expect(await new StateStore(join(folder, 'state')).loadObjects()).toEqual(objects);
  });

  test('that somebody damaged, or that are no policy of this version, are left out, the others come back', async () => {
    const [good] = loadPolicyFile('a.yaml', policy).objects.map((object) => ({ ...object, file: 'a.yaml' }));
    const bad = [
      ...[null, 7, [], {}, { ...good, file: undefined }, { ...good, file: '../a.yaml' }, { ...good, object: {} }],
      ...[undefined, {}, { mode: 'Enforce', block: { duration: 'x' } }, { mode: 'Enforce', later: 1 }].map((spec) => ({
        ...good,
        object: { ...good!.object, spec },
      })),
    ];
    await store.saveObjects([...bad, good] as never);
    expect(await store.loadObjects()).toEqual([good]);
  });

  test('that did not change are not written again', async () => {
    await store.saveObjects([]);
    const before = statSync(file('objects.json')).ino;
    await store.saveObjects([]);
    expect(statSync(file('objects.json')).ino).toBe(before);
    await store.saveObjects([{}] as never);
    expect(statSync(file('objects.json')).ino).not.toBe(before);
  });

  test.each([
    ['cut short', '{"formatVersion":1,"obj'],
    ['of a later format', '{"formatVersion":2,"objects":[]}'],
    ['something else', '[]'],
    ['empty', ''],
  ])('in a file that is %s are an error that names the file', async (_, text) => {
    writeFileSync(file('objects.json'), text);
    await expect(store.loadObjects()).rejects.toMatchObject({ code: 'StateUnreadable', field: '--state' });
    await expect(store.loadObjects()).rejects.toThrow(file('objects.json'));
  });
});

describe('blocks', () => {
  test('of this boot are not put back: the kernel still has them, or they were lifted', async () => {
    await store.saveBlocks([block()]);
    expect(JSON.parse(readFileSync(file('blocks.json'), 'utf8'))).toMatchObject({ bootId: bootId() });
    expect(await store.loadBlocksOfEarlierBoot(NOW)).toEqual([]);
  });

  test('of an earlier boot come back while they hold', async () => {
    const saved = [block(), block({ source: '2001:db8::/64' }), block({ source: '203.0.113.9', untilMs: NOW })];
    await store.saveBlocks(saved);
    reboot();
    expect(await store.loadBlocksOfEarlierBoot(NOW)).toEqual(saved.slice(0, 2));
    expect(await store.loadBlocksOfEarlierBoot(NOW + 60_000)).toEqual([]);
  });

  test('that somebody damaged are left out, the others come back', async () => {
    const bad = [
      ...[{ source: 'nobody' }, { source: 7 }, { policy: 7 }, { untilMs: 'tomorrow' }, { untilMs: null }],
      ...[{ ports: '22' }, { ports: [70_000] }, { ports: [1.5] }, { flags: {} }, { packetsDropped: undefined }],
    ].map((change) => ({ ...block(), ...change }));
    await store.saveBlocks([...(bad as unknown as SavedBlock[]), block()]);
    reboot();
    expect(await store.loadBlocksOfEarlierBoot(NOW)).toEqual([block()]);
  });

  test('lifted while no agent runs are taken out of the file, and nothing else is', async () => {
    await store.saveBlocks([block(), block({ source: '203.0.113.9' })]);
    await store.forgetBlocks(({ source }) => source === '198.51.100.7');
    expect(JSON.parse(readFileSync(file('blocks.json'), 'utf8'))).toMatchObject({ bootId: bootId() });
    reboot();
    expect((await store.loadBlocksOfEarlierBoot(NOW)).map(({ source }) => source)).toEqual(['203.0.113.9']);
  });

  test('that did not change are not written again, and are after a change', async () => {
    await store.saveBlocks([block()]);
    const before = statSync(file('blocks.json')).ino;
    await store.saveBlocks([block()]);
    expect(statSync(file('blocks.json')).ino).toBe(before);
    await store.saveBlocks([]);
    expect(statSync(file('blocks.json')).ino).not.toBe(before);
  });

  test('to be forgotten where none were saved are no error', async () => {
    await store.forgetBlocks(() => true);
  });
});

test('a folder that cannot be made is an error that names it', async () => {
  writeFileSync(join(folder, 'file'), '');
  const refused = new StateStore(join(folder, 'file', 'state'));
  await expect(refused.prepare()).rejects.toMatchObject({ code: 'StateUnreadable', field: '--state' });
});
