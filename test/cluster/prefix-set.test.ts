import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyStatus } from '../../kube/apply.ts';
import { resources } from '../../kube/resources.ts';
import type { Controller, ControllerContext } from '../../operator/controller.ts';
import { chunkName, setDigest } from '../../operator/controllers/prefix-set/chunks.ts';
import { PrefixSetController } from '../../operator/controllers/prefix-set/controller.ts';
import { waitFor } from '../support/wait-for.ts';
import { complaints, type OperatorParts, startOperatorParts } from './operator-parts.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const namespace = 'portcullis-system';
const lists = ['chunks-order', 'chunks-life', 'chunks-damaged', 'chunks-bad', 'chunks-big'];

/** Does of the list's controller what matters here: writes the set into the status, when it is allowed to. */
class StatusWriter implements Controller {
  readonly name = 'status-writer';
  readonly #context: ControllerContext;
  readonly #sets: PrefixSetController;
  #isHeld = false;
  readonly #waiting = new Set<string>();
  #writes: Promise<unknown> = Promise.resolve();

  constructor(context: ControllerContext, sets: PrefixSetController) {
    this.#context = context;
    this.#sets = sets;
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    for (const name of this.#waiting) this.#write(name);
  }

  async run(signal: AbortSignal): Promise<void> {
    const tell = (name: string) => {
      this.#waiting.add(name);
      this.#write(name);
    };
    const ends = [
      this.#sets.subscribe(tell),
      this.#context.shared.lists.subscribe(({ object }) => tell(object.metadata.name)),
    ];
    for (const name of this.#context.shared.lists.items.keys()) tell(name);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    for (const end of ends) end();
    await this.#writes;
  }

  #write(name: string): void {
    if (this.#isHeld) return;
    this.#waiting.delete(name);
    const list = this.#context.shared.lists.items.get(name);
    if (list?.spec === undefined) return;
    const result = this.#sets.resultOf(list.metadata);
    if (result === undefined && list.spec.configMapRefs.length > 0) return;
    const digest = result?.prefixSet?.digest;
    if (digest === list.status.prefixSet?.digest) return;
    const status = {
      observedGeneration: list.metadata.generation,
      ...(digest ? { prefixSet: result?.prefixSet } : {}),
    };
    const options = { fieldManager: 'portcullis-operator' };
    const write = () => applyStatus(this.#context.client, resources.ipBlocklists, { name, status }, options);
    this.#writes = this.#writes.then(write).catch(() => {});
  }
}

const start = (): Promise<OperatorParts<[PrefixSetController, StatusWriter]>> =>
  startOperatorParts(cluster, {
    controllers: (context): [PrefixSetController, StatusWriter] => {
      const sets = new PrefixSetController(context);
      return [sets, new StatusWriter(context, sets)];
    },
  });

const configMap = (name: string, data: object, more: object = {}) =>
  cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data, ...more });

const list = (name: string, configMapRefs: { name: string; key: string }[], more: object = {}) =>
  cluster.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name },
    spec: { configMapRefs, ...more },
  });

const chunksOf = (name: string) => cluster.list('prefixchunks', ['-l', `portcullis.dev/list=${name}`]);
const setOf = async (name: string) => (await cluster.get('ipblocklist', name))?.status?.prefixSet;

/** Every prefix that agents get, once the chunks are those that the status names. */
async function published(name: string): Promise<string[] | undefined> {
  const set = await setOf(name);
  const chunks = await chunksOf(name);
  const names: string[] = set?.chunks ?? [];
  if (chunks.length !== names.length || !chunks.every(({ metadata }) => names.includes(metadata.name)))
    return undefined;
  return names.flatMap((chunk) => chunks.find(({ metadata }) => metadata.name === chunk)!.spec.prefixes.split('\n'));
}

async function untilPublished(name: string, prefixes: readonly string[]): Promise<void> {
  let last: string[] | undefined;
  const probe = async () => {
    last = await published(name);
    return last?.join() === prefixes.join();
  };
  await waitFor(probe, 20_000, { what: `prefixes of ${name}`, intervalMs: 200 }).catch((error) => {
    throw new Error(`${error.message}: ${last?.join()}`);
  });
}

async function cleanUp(): Promise<void> {
  for (const name of lists) await cluster.delete('ipblocklist', name);
  await cluster.run(['delete', 'prefixchunks', '--all']);
  await cluster.run(['delete', 'configmaps', '-n', namespace, '-l', 'test=chunks']);
  for (const { metadata } of await cluster.list('configmaps', ['-n', namespace])) {
    if (metadata.name.startsWith('chunks-')) await cluster.delete('configmap', metadata.name, namespace);
  }
}

beforeAll(cleanUp);
afterAll(cleanUp);

test('chunks are made after the status names them, and others deleted after that', async () => {
  await using operator = await start();
  const [sets, writer] = operator.controllers;
  await configMap('chunks-order', { 'bad.txt': '# bad\n192.0.2.7\n10.1.0.0/16' });
  await list('chunks-order', [{ name: 'chunks-order', key: 'bad.txt' }], { entries: [{ cidr: '192.0.2.7/32' }] });
  const text = '10.1.0.0/16\n192.0.2.7/32';
  await untilPublished('chunks-order', text.split('\n'));
  const made = (await cluster.get('ipblocklist', 'chunks-order'))!;
  const name = chunkName(made.metadata.uid, text);
  expect(made.status.prefixSet).toEqual({ digest: setDigest([name]), prefixes: 2, chunks: [name] });
  const [chunk] = await chunksOf('chunks-order');
  expect(chunk).toMatchObject({
    metadata: { name, ownerReferences: [{ kind: 'IpBlocklist', name: 'chunks-order', uid: made.metadata.uid }] },
    spec: { list: 'chunks-order', count: 2, prefixes: text },
  });
  const result = sets.resultOf(made.metadata as never);
  expect(result?.contains('192.0.2.7/32')).toBe(true);

  writer.hold(true);
  await configMap('chunks-order', { 'bad.txt': '198.51.100.0/24' });
  const stored = () => operator.context.shared.lists.items.get('chunks-order')!.metadata;
  await waitFor(() => sets.resultOf(stored())?.effective === 1, 20_000, { what: 'the ConfigMap read' });
  expect((await chunksOf('chunks-order')).map(({ metadata }) => metadata.name)).toEqual([name]);
  writer.hold(false);
  await untilPublished('chunks-order', ['198.51.100.0/24']);
});

test('a set follows its ConfigMaps, keeps the last good state, and goes with its references and its list', async () => {
  await using operator = await start();
  const refs = [
    { name: 'chunks-life-a', key: 'x' },
    { name: 'chunks-life-b', key: 'y' },
  ];
  await configMap('chunks-life-a', { x: '10.1.0.0/16' });
  await list('chunks-life', refs);
  const stored = () => operator.context.shared.lists.items.get('chunks-life')?.metadata;
  const result = () => operator.controllers[0].resultOf(stored()!);
  await waitFor(() => stored() && result()?.problem, 20_000, { what: 'a ConfigMap missed' });
  expect(result()?.refusedLines).toEqual([{ name: 'chunks-life-b', key: 'y', line: 0, reason: 'NotFound' }]);
  expect(await chunksOf('chunks-life')).toEqual([]);
  await configMap('chunks-life-b', { y: '10.2.0.0/16\nno prefix\n' });
  await untilPublished('chunks-life', ['10.1.0.0/16', '10.2.0.0/16']);
  expect(result()).toMatchObject({ given: 3, refused: 1, effective: 2 });

  await cluster.delete('configmap', 'chunks-life-b', namespace);
  await waitFor(() => result()?.problem, 20_000, { what: 'the ConfigMap missed again' });
  await configMap('chunks-life-a', { x: '10.3.0.0/16' });
  await configMap('chunks-life-b', {}, { binaryData: { y: 'AAAA' } });
  await waitFor(() => result()?.refusedLines[0]?.reason === 'NotText', 20_000, { what: 'binary data refused' });
  expect(await published('chunks-life')).toEqual(['10.1.0.0/16', '10.2.0.0/16']);
  await configMap('chunks-life-b', { y: '' });
  await untilPublished('chunks-life', ['10.3.0.0/16']);

  await list('chunks-life', []);
  await untilPublished('chunks-life', []);
  expect(await setOf('chunks-life')).toBeUndefined();
  await list('chunks-life', refs.slice(0, 1));
  await untilPublished('chunks-life', ['10.3.0.0/16']);
  await cluster.delete('ipblocklist', 'chunks-life');
  await waitFor(async () => (await chunksOf('chunks-life')).length === 0, 20_000, {
    what: 'chunks of a list that is gone',
  });
});

test('a chunk that is missing, damaged or somebody else’s is put right; what others made is left alone', async () => {
  await configMap('chunks-damaged', { x: '10.1.0.0/16' });
  {
    await using _operator = await start();
    await list('chunks-damaged', [{ name: 'chunks-damaged', key: 'x' }]);
    await untilPublished('chunks-damaged', ['10.1.0.0/16']);
    const [chunk] = await chunksOf('chunks-damaged');
    await cluster.delete('prefixchunk', chunk!.metadata.name);
    await untilPublished('chunks-damaged', ['10.1.0.0/16']);
  }
  const [chunk] = await chunksOf('chunks-damaged');
  const { name, labels, ownerReferences } = chunk!.metadata;
  const damaged = {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PrefixChunk',
    metadata: { name, labels, ownerReferences },
    spec: { list: 'chunks-damaged', count: 1, prefixes: '0.0.0.0/0' },
  };
  const labelled = { ...damaged, metadata: { name: 'chunks-by-hand', labels } };
  for (const metadata of [damaged.metadata, { name, labels }]) {
    await cluster.delete('prefixchunk', name);
    await cluster.create({ ...damaged, metadata });
    await using _operator = await start();
    await untilPublished('chunks-damaged', ['10.1.0.0/16']);
  }
  await cluster.create(labelled);
  {
    await using _operator = await start();
    await configMap('chunks-damaged', { x: '10.2.0.0/16' });
    const isNew = async () => (await chunksOf('chunks-damaged')).some(({ spec }) => spec.prefixes === '10.2.0.0/16');
    await waitFor(isNew, 20_000, { what: 'the new chunk' });
    await waitFor(async () => (await chunksOf('chunks-damaged')).length === 2, 20_000, {
      what: 'the old chunk deleted',
    });
    expect((await setOf('chunks-damaged')).chunks).not.toContain('chunks-by-hand');
    expect(await cluster.get('prefixchunk', 'chunks-by-hand')).toBeDefined();
  }
});

test('a large list becomes several chunks, of which one line changes few', async () => {
  const lines = Array.from(
    { length: 40_000 },
    (_, i) => `10.${(i >> 12) & 255}.${(i >> 4) & 255}.${(i * 16) & 255}/28`,
  );
  await configMap('chunks-big-a', { x: lines.slice(0, 20_000).join('\n') });
  await configMap('chunks-big-b', { x: lines.slice(20_000).join('\n') });
  {
    // Ends in the middle of its writes, or near it.
    await using _operator = await start();
    const refs = ['a', 'b'].map((part) => ({ name: `chunks-big-${part}`, key: 'x' }));
    await list('chunks-big', refs);
    await waitFor(async () => (await chunksOf('chunks-big')).length > 0, 30_000, { what: 'the first chunk' });
  }
  await using operator = await start();
  const names = async (): Promise<string[]> => (await setOf('chunks-big'))?.chunks ?? [];
  await waitFor(async () => (await published('chunks-big'))?.length === 40_000, 30_000, { intervalMs: 500 });
  const before = await names();
  expect(before.length).toBeGreaterThan(5);
  await configMap('chunks-big-b', { x: [...lines.slice(20_000), '192.0.2.1', '10.5.5.5'].join('\n') });
  await waitFor(async () => (await published('chunks-big'))?.length === 40_002, 30_000, { intervalMs: 500 });
  const fresh = (await names()).filter((name) => !before.includes(name));
  expect(fresh.length).toBeGreaterThan(0);
  expect(fresh.length).toBeLessThanOrEqual(4);
  expect(complaints(operator.log)).toEqual([]);
});
