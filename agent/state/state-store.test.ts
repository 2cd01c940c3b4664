import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PortScanPolicy } from '../../api/types.ts';
import { validateObject } from '../../api/validate.ts';
import type { SavedCluster } from '../source/cluster-state.ts';
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
  const ofEarlierBoot = async (nowMs: number) => {
    const kept = await store.loadBlocks(nowMs);
    expect(kept?.ofThisBoot).toBe(false);
    return kept!.blocks;
  };

  test('are told with the boot that they are of', async () => {
    expect(await store.loadBlocks(NOW)).toBeUndefined();
    await store.saveBlocks([block(), block({ source: '203.0.113.9', untilMs: NOW })]);
    expect(await store.loadBlocks(NOW)).toEqual({ ofThisBoot: true, blocks: [block()] });
    reboot();
    expect(await store.loadBlocks(NOW)).toEqual({ ofThisBoot: false, blocks: [block()] });
  });

  test('of an earlier boot come back while they hold', async () => {
    const saved = [block(), block({ source: '2001:db8::/64' }), block({ source: '203.0.113.9', untilMs: NOW })];
    await store.saveBlocks(saved);
    reboot();
    expect(await ofEarlierBoot(NOW)).toEqual(saved.slice(0, 2));
    expect(await ofEarlierBoot(NOW + 60_000)).toEqual([]);
  });

  test('that somebody damaged are left out, the others come back', async () => {
    const bad = [
      ...[{ source: 'nobody' }, { source: 7 }, { policy: 7 }, { untilMs: 'tomorrow' }, { untilMs: null }],
      ...[{ ports: '22' }, { ports: [70_000] }, { ports: [1.5] }, { flags: {} }, { packetsDropped: undefined }],
    ].map((change) => ({ ...block(), ...change }));
    await store.saveBlocks([...(bad as unknown as SavedBlock[]), block()]);
    reboot();
    expect(await ofEarlierBoot(NOW)).toEqual([block()]);
  });

  test('lifted while no agent runs are taken out of the file, and nothing else is', async () => {
    await store.saveBlocks([block(), block({ source: '203.0.113.9' })]);
    await store.forgetBlocks(({ source }) => source === '198.51.100.7');
    expect(JSON.parse(readFileSync(file('blocks.json'), 'utf8'))).toMatchObject({ bootId: bootId() });
    reboot();
    expect((await ofEarlierBoot(NOW)).map(({ source }) => source)).toEqual(['203.0.113.9']);
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

describe('a cluster', () => {
  const chunk = `01234567-${'a'.repeat(40)}`;
  const validated = (kind: string, spec: object) =>
    validateObject({ ...{ apiVersion: 'portcullis.dev/v1alpha1', kind }, metadata: { name: 'a', uid: 'u' }, spec })
      .object!;
  const good = {
    version: 'u|1',
    object: validated('PortScanPolicy', { mode: 'Enforce' }) as PortScanPolicy,
  };
  const saved: SavedCluster = {
    nodeName: 'n1',
    policies: [good],
    lists: [],
    exceptions: [],
    facts: [
      {
        ...{ apiVersion: 'portcullis.dev/v1alpha1', kind: 'ClusterFacts', metadata: { name: 'nodes-0' } },
        spec: { holds: 'Nodes', count: 1, prefixes: ['192.0.2.1/32'] },
      },
    ],
    node: { labels: { role: 'edge' }, uid: 'node-uid', breakGlass: 'detach' },
    prefixSets: { feed: { digest: 'd', chunks: [chunk] } },
  };
  const edit = (change: (cluster: Record<string, unknown>) => void) => {
    const content = JSON.parse(readFileSync(file('cluster.json'), 'utf8')) as { cluster: Record<string, unknown> };
    change(content.cluster);
    writeFileSync(file('cluster.json'), JSON.stringify(content));
  };

  test('of which nothing was saved is none', async () => {
    expect(await store.loadCluster('n1')).toBeUndefined();
    expect(await store.loadChunk(chunk)).toBeUndefined();
  });

  test('comes back as it was, with its chunks', async () => {
    await store.saveCluster(saved, () => '192.0.2.0/24\n');
    const again = new StateStore(join(folder, 'state'));
    expect(await again.loadCluster('n1')).toEqual(saved);
    expect(await again.loadChunk(chunk)).toBe('192.0.2.0/24\n');
  });

  test('of another node is not ours', async () => {
    await store.saveCluster(saved, () => '');
    expect(await store.loadCluster('n2')).toBeUndefined();
  });

  test('that did not change is not written again, and chunks that stand are not either', async () => {
    let texts = 0;
    const textOf = () => `${texts++}`;
    await store.saveCluster(saved, textOf);
    const before = statSync(file('cluster.json')).ino;
    await store.saveCluster(saved, textOf);
    expect(statSync(file('cluster.json')).ino).toBe(before);
    await store.saveCluster({ ...saved, policies: [] }, textOf);
    expect(statSync(file('cluster.json')).ino).not.toBe(before);
    expect(texts).toBe(1);
  });

  test('that needs a chunk no more removes it', async () => {
    await store.saveCluster(saved, () => 'x');
    await store.saveCluster({ ...saved, prefixSets: {} }, () => 'x');
    expect(readdirSync(file('prefix-chunks'))).toEqual([]);
  });

  test('that somebody damaged comes back without what is bad', async () => {
    await store.saveCluster(saved, () => '');
    edit((cluster) => {
      const bad = { version: 'v', object: { ...good.object, spec: { mode: 'Off' } } };
      cluster.policies = [
        null,
        7,
        bad,
        { object: good.object },
        good,
        { version: 'v', object: { kind: 'IpBlocklist' } },
      ];
      cluster.lists = [good];
      cluster.exceptions = 'none';
      cluster.facts = [...saved.facts, {}, { metadata: {} }];
      cluster.node = { labels: { a: 'b', c: 1 }, uid: 7 };
      cluster.prefixSets = { a: { digest: 'd', chunks: ['../../etc/passwd'] }, b: { digest: 1 }, ...saved.prefixSets };
    });
    expect(await store.loadCluster('n1')).toEqual({
      ...saved,
      // What is left out was in force: it must not be taken for something that nobody asked for.
      leftOut: 6,
      node: { labels: { a: 'b' } },
    });
    edit((cluster) => {
      for (const name of Object.keys(cluster)) if (name !== 'nodeName') delete cluster[name];
    });
    expect(await store.loadCluster('n1')).toEqual({
      nodeName: 'n1',
      ...{ policies: [], lists: [], exceptions: [], facts: [], node: { labels: {} }, prefixSets: {} },
    });
  });
});

test('a folder that cannot be made is an error that names it', async () => {
  writeFileSync(join(folder, 'file'), '');
  const refused = new StateStore(join(folder, 'file', 'state'));
  await expect(refused.prepare()).rejects.toMatchObject({ code: 'StateUnreadable', field: '--state' });
});

test('all that was written is taken away again, and nothing else', async () => {
  const objects = loadPolicyFile('a.yaml', policy).objects.map((object) => ({ ...object, file: 'a.yaml' }));
  await store.saveObjects(objects);
  await store.saveBlocks([block()]);
  const reference = { digest: 'd', chunks: ['0-a'] };
  await store.saveCluster(
    {
      nodeName: 'n1',
      policies: [],
      lists: [],
      exceptions: [],
      facts: [],
      node: { labels: {} },
      prefixSets: { a: reference },
    },
    () => 'x',
  );
  writeFileSync(file('somebody-elses'), '');
  expect(readdirSync(file('.')).length).toBe(5);
  await store.clear();
  expect(readdirSync(file('.'))).toEqual(['somebody-elses']);
});
