import { describe, expect, test } from 'vitest';
import { matchesLabels } from '../../api/label-selector.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { ClusterObjects, versionOf } from './cluster-objects.ts';

interface Written {
  readonly uid?: string;
  readonly generation?: number;
  /** When the spec was written last. */
  readonly at?: string;
  readonly spec?: object;
  readonly more?: object;
}

/** An object as an API server gives it. */
const raw = (name: string, { uid = `uid-of-${name}`, generation = 1, at = 'noon', spec, more }: Written = {}) =>
  ({
    metadata: {
      name,
      uid,
      generation,
      resourceVersion: `${Math.random()}`,
      creationTimestamp: '2030-01-01T00:00:00Z',
      generateName: 'x-',
      managedFields: [
        { manager: 'kubectl', operation: 'Apply', time: at },
        { manager: 'portcullis-operator', operation: 'Apply', subresource: 'status', time: `${Math.random()}` },
      ],
    },
    spec: { mode: 'Enforce', ...spec },
    status: { conditions: [] },
    ...more,
  }) as KubeObject;

const metas = (...objects: KubeObject[]) =>
  new Map<string, KubeMeta>(objects.map(({ metadata }) => [metadata.name, metadata]));
const names = (objects: ClusterObjects<'PortScanPolicy'>) => objects.wanted().map(({ name }) => name);
const modes = (objects: ClusterObjects<'PortScanPolicy'>) => objects.good().map(({ object }) => object.spec.mode);
const policies = () => new ClusterObjects('PortScanPolicy');

/** With one object that was seen and read. */
function holding(object: KubeObject): ClusterObjects<'PortScanPolicy'> {
  const objects = policies();
  objects.see(metas(object));
  objects.take(object);
  return objects;
}

describe('what is to be read', () => {
  test('is every object once', () => {
    const objects = policies();
    const [a, b] = [raw('a'), raw('b')];
    objects.see(metas(a, b));
    expect(names(objects)).toEqual(['a', 'b']);
    objects.take(a);
    expect(names(objects)).toEqual(['b']);
  });

  test('is nothing after the status was written', () => {
    const objects = holding(raw('a'));
    objects.see(metas(raw('a')));
    expect(names(objects)).toEqual([]);
  });

  test.each([
    ['another generation', { generation: 2 }],
    ['an older generation, of an etcd that was restored', { generation: 0 }],
    ['the same generation written at another time, after etcd was restored', { at: 'one' }],
    ['another uid', { uid: 'other' }],
  ])('is an object with %s', (_, change) => {
    const objects = holding(raw('a'));
    objects.see(metas(raw('a', change)));
    expect(names(objects)).toEqual(['a']);
  });

  test('is not asked for twice when the answer was newer than the metadata, as soon as that follows', () => {
    const objects = policies();
    objects.see(metas(raw('a')));
    const newer = raw('a', { generation: 2 });
    objects.take(newer);
    expect(objects.wanted()).toEqual([{ name: 'a', isAgain: true }]);
    objects.see(metas(newer));
    expect(objects.wanted()).toEqual([]);
    // And back, by a restore.
    objects.see(metas(raw('a')));
    expect(names(objects)).toEqual(['a']);
  });

  test('is not what could not be read, before it changes: who reads tries again by himself', () => {
    const objects = policies();
    objects.see(metas(raw('a')));
    objects.miss('a', 'no answer');
    expect(names(objects)).toEqual([]);
    objects.see(metas(raw('a', { generation: 2 })));
    expect(names(objects)).toEqual(['a']);
  });
});

describe('an object', () => {
  test('that is good is in force with its defaults, its age and its generation', () => {
    const [good] = holding(raw('a', { generation: 7 })).good();
    expect(good?.object).toMatchObject({
      kind: 'PortScanPolicy',
      metadata: { name: 'a', uid: 'uid-of-a', generation: 7, creationTimestamp: '2030-01-01T00:00:00Z' },
      spec: { priority: 0, block: { duration: '10m' } },
    });
  });

  test('that is deleted is not in force any more', () => {
    const objects = holding(raw('a'));
    expect(objects.see(new Map())).toBe(true);
    expect(objects.good()).toEqual([]);
  });

  test('that was read after it was deleted stays away', () => {
    const objects = policies();
    objects.see(metas(raw('a')));
    objects.see(new Map());
    objects.take(raw('a'));
    expect(objects.good()).toEqual([]);
  });

  test('that becomes invalid keeps its last good state, and says so', () => {
    const objects = holding(raw('a'));
    const bad = raw('a', { generation: 2, spec: { block: { duration: 'soon' } } });
    objects.see(metas(bad));
    objects.take(bad);
    expect(modes(objects)).toEqual(['Enforce']);
    expect(objects.good()[0]?.object.metadata.generation).toBe(1);
    expect(objects.refused()).toMatchObject([
      { kind: 'PortScanPolicy', name: 'a', generation: 2, state: 'Invalid', hasLastGood: true },
    ]);
    expect(objects.refused()[0]?.message).toContain('spec.block.duration');
    expect(objects.findings()).toMatchObject([
      { code: 'BadDuration', severity: 'error', object: 'PortScanPolicy/a', field: 'spec.block.duration' },
      { code: 'LastGoodKept', severity: 'warning', object: 'PortScanPolicy/a' },
    ]);
    const mended = raw('a', { generation: 3, spec: { mode: 'Monitor' } });
    objects.see(metas(mended));
    objects.take(mended);
    expect(modes(objects)).toEqual(['Monitor']);
    expect([...objects.refused(), ...objects.findings()]).toEqual([]);
  });

  test('with a field that is unknown here is written for a newer version, whatever else is wrong with it', () => {
    const object = raw('a', { spec: { mode: 'Learn', protocols: ['UDP'] } });
    const objects = holding(object);
    expect(objects.good()).toEqual([]);
    expect(objects.refused()).toMatchObject([{ state: 'UnknownField', hasLastGood: false }]);
    expect(objects.findings()).toMatchObject([
      { code: 'UnknownField', field: 'spec.protocols', remedy: expect.stringContaining('Update the agent') },
    ]);
  });

  test('that was deleted and made again invalid has no last good state: that was another object', () => {
    const objects = holding(raw('a'));
    const bad = raw('a', { uid: 'other', spec: { mode: 'No' } });
    objects.see(metas(bad));
    objects.take(bad);
    expect(objects.good()).toEqual([]);
    expect(objects.refused()).toMatchObject([{ hasLastGood: false }]);
  });

  test('that cannot be read stays as it was, and says so', () => {
    const objects = holding(raw('a'));
    const changed = raw('a', { generation: 2, spec: { mode: 'Monitor' } });
    objects.see(metas(changed));
    objects.miss('a', 'ECONNRESET');
    expect(modes(objects)).toEqual(['Enforce']);
    expect(objects.findings()).toMatchObject([
      { code: 'ObjectUnread', message: expect.stringContaining('ECONNRESET') },
    ]);
    objects.take(changed);
    expect(modes(objects)).toEqual(['Monitor']);
    expect(objects.findings()).toEqual([]);
  });

  test.each([
    ['no spec', { spec: undefined }],
    ['a spec that is a text', { spec: 'x' }],
    ['a spec that is null', { spec: null }],
  ])('with %s is refused and harms nothing', (_, more) => {
    const objects = holding(raw('b'));
    const odd = raw('a', { more });
    objects.see(metas(odd, raw('b')));
    objects.take(odd);
    expect(objects.good().map(({ object }) => object.metadata.name)).toEqual(['b']);
    expect(objects.refused()).toMatchObject([{ name: 'a', state: 'Invalid' }]);
  });
});

describe('objects of an earlier run', () => {
  const saved = holding(raw('a')).good();

  test('are in force before the server was asked', () => {
    const objects = new ClusterObjects('PortScanPolicy', saved);
    expect(modes(objects)).toEqual(['Enforce']);
    expect(objects.wanted()).toEqual([]);
  });

  test('are not read again when the server still has them so', () => {
    const objects = new ClusterObjects('PortScanPolicy', saved);
    expect(objects.see(metas(raw('a')))).toBe(false);
    expect(objects.wanted()).toEqual([]);
  });

  test('are read again when they changed, and gone when the server has them no more', () => {
    const objects = new ClusterObjects('PortScanPolicy', saved);
    objects.see(metas(raw('a', { generation: 2 })));
    expect(objects.wanted()).toMatchObject([{ name: 'a' }]);
    expect(modes(objects)).toEqual(['Enforce']);
    objects.see(new Map());
    expect(objects.good()).toEqual([]);
  });
});

describe('an object for other nodes', () => {
  const forEdge = (more: Written = {}) =>
    raw('a', { spec: { nodeSelector: { matchLabels: { role: 'edge' } }, priority: 7 }, ...more });
  const labelled = { role: 'core' };
  const onNode = () =>
    new ClusterObjects('PortScanPolicy', [], ({ spec }) => matchesLabels(spec.nodeSelector, labelled));

  test('is read once and not kept, and read again when the labels of this node change', () => {
    labelled.role = 'core';
    const objects = onNode();
    objects.see(metas(forEdge()));
    objects.take(forEdge());
    expect(objects.good()).toEqual([]);
    expect(objects.wanted()).toEqual([]);
    labelled.role = 'edge';
    expect(objects.wanted()).toEqual([{ name: 'a', isAgain: false }]);
    objects.take(forEdge());
    expect(objects.good()[0]?.object.spec.priority).toBe(7);
    expect(objects.wanted()).toEqual([]);
    labelled.role = 'core';
    objects.see(metas(forEdge()));
    expect([...objects.good(), ...objects.wanted()]).toEqual([]);
  });

  test('that becomes invalid disturbs nothing here', () => {
    labelled.role = 'core';
    const objects = onNode();
    objects.see(metas(forEdge()));
    objects.take(forEdge());
    const bad = forEdge({ generation: 2, spec: { mode: 'No' } });
    objects.see(metas(bad));
    objects.take(bad);
    expect(objects.good()).toEqual([]);
    expect(objects.refused()).toMatchObject([{ generation: 2, hasLastGood: true }]);
  });
});

test('a version without managedFields goes by uid and generation', () => {
  const meta = { name: 'a', uid: 'u', generation: 3, resourceVersion: '5' };
  expect(versionOf(meta)).toBe(versionOf({ ...meta, resourceVersion: '6' }));
  expect(versionOf(meta)).not.toBe(versionOf({ ...meta, generation: 4 }));
});
