import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryCluster } from '../../agent/source/testing/memory-cluster.ts';
import type { ApplyOptions, KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KubeObject, NewKubeObject } from '../../kube/objects.ts';
import type { Resource } from '../../kube/resources.ts';
import { FakeClock } from '../../kube/testing/fake-clock.ts';
import { detachAll } from './detach-all.ts';

/** When it is asked first, by the API server's clock. */
const startMs = Date.UTC(2030, 0, 1);
let cluster: MemoryCluster;
let clock: FakeClock;
let said: string[];
let applied: { readonly object: unknown; readonly options: ApplyOptions }[];
beforeEach(() => {
  cluster = new MemoryCluster();
  clock = new FakeClock();
  said = [];
  applied = [];
  cluster.put('serviceaccounts', 'portcullis-agent', {}, { uid: 'account' });
});

const serverNow = () => new Date(Math.floor((startMs + clock.nowMs()) / 1000) * 1000).toISOString();

function node(name: string, isReady = true): void {
  const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'Unknown' }];
  cluster.put('nodes', name, { status: { conditions } }, { uid: `uid-${name}` });
}

/** As the agent writes it now, or wrote it `ageMs` ago. */
function report(name: string, state: string, breakGlass?: string, ageMs = 0): void {
  const time = new Date(Date.parse(serverNow()) - ageMs).toISOString();
  const owner = { apiVersion: 'v1', kind: 'Node', name, uid: `uid-${name}` };
  const managedFields = [{ manager: 'portcullis-agent', operation: 'Apply', time }];
  cluster.put('nodereports', name, { status: { state, breakGlass } }, { ownerReferences: [owner], managedFields });
}

const apply = async (_: Resource, object: NewKubeObject, options: ApplyOptions): Promise<KubeObject> => {
  applied.push({ object, options });
  const managedFields = [{ manager: options.fieldManager, operation: 'Apply', time: serverNow() }];
  return { ...object, metadata: { ...object.metadata, managedFields } } as KubeObject;
};

async function start(changes: Partial<KubeClient> = {}) {
  const stop = new AbortController();
  let end: string | undefined;
  const running = detachAll({
    client: { ...cluster.client, apply, ...changes } as KubeClient,
    namespace: 'guard',
    timeoutMs: 120_000,
    staleAfterMs: 720_000,
    clock,
    nonce: 'once',
    say: (line) => said.push(line),
    signal: stop.signal,
  }).then(
    (how) => {
      end = how;
    },
    (error: Error) => {
      end = error.message;
    },
  );
  await clock.settle();
  await clock.advance(1000);
  return { end: () => end, stop, running };
}

describe('detach-all', () => {
  it('writes one wish, and asks for the time without writing', async () => {
    const { end } = await start();
    expect(end()).toBe('detached');
    expect(applied.map(({ object }) => (object as { spec: unknown }).spec)).toEqual([
      { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid: 'account' },
      { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid: 'account' },
    ]);
    expect(applied.map(({ options: { dryRun = false } }) => dryRun)).toEqual([false, true]);
  });

  it('ends as soon as the last agent that answers has detached', async () => {
    for (const name of ['a', 'b']) node(name);
    for (const name of ['a', 'b']) report(name, 'Enforcing', undefined, 60_000);
    const { end } = await start();
    report('a', 'Detached', 'Uninstall');
    await clock.advance(10_000);
    expect(end()).toBeUndefined();
    report('b', 'Detached', 'Uninstall');
    await clock.advance(2000);
    expect(end()).toBe('detached');
    expect(said.slice(1)).toEqual([
      'waiting: 0 detached, 2 not, 0 without an answer',
      'waiting: 1 detached, 1 not, 0 without an answer',
      '2 detached, 0 not, 0 without an answer',
    ]);
  });

  it('gives up after its time, and names who is late', async () => {
    node('a');
    report('a', 'Failed', undefined, 60_000);
    const { end } = await start();
    await clock.advance(118_000);
    expect(end()).toBeUndefined();
    await clock.advance(2000);
    expect(end()).toBe('waiting');
    expect(said).toContain('a: not detached; its agent answers and says Failed');
  });

  it('gives an agent under break-glass, and one of an earlier uninstallation, a moment to hear of it', async () => {
    for (const name of ['a', 'b']) node(name);
    report('a', 'Detached', 'File', 60_000);
    report('b', 'Detached', 'Uninstall', 60_000);
    const { end } = await start();
    await clock.advance(40_000);
    expect(end()).toBeUndefined();
    await clock.advance(10_000);
    expect(end()).toBe('detached');
    expect(said.at(-1)).toBe('1 detached, 0 not, 1 without an answer');
  });

  it('stops waiting for a node that goes down, and for a report that becomes stale', async () => {
    for (const name of ['a', 'b']) node(name);
    report('a', 'Enforcing', undefined, 60_000);
    report('b', 'Enforcing', undefined, 710_000);
    const { end } = await start();
    node('a', false);
    await clock.advance(2000);
    expect(end()).toBeUndefined();
    await clock.advance(10_000);
    expect(end()).toBe('detached');
    expect(said.slice(-3, -1)).toEqual([
      expect.stringMatching(/^a: not detached; the Node is not ready; .* rm -r/),
      expect.stringMatching(/^b: not detached; its report is old, and said Enforcing\. .* rm -r/),
    ]);
  });

  it('tells why it could not look', async () => {
    cluster.isAway = true;
    const { end } = await start();
    await clock.advance(120_000);
    expect(end()).toBe('unread');
    expect(said).toContain('ECONNREFUSED');
  });

  it('asks again when the API server has a bad moment, and not when it refuses', async () => {
    let attempts = 0;
    const flaky = async (...args: Parameters<typeof apply>) => {
      if (attempts++ < 2) throw new KubeError({ message: 'a bad moment', status: 503 });
      return await apply(...args);
    };
    const { end } = await start({ apply: flaky as KubeClient['apply'] });
    await clock.advance(5000);
    expect(end()).toBe('detached');
    const refuse = async () => {
      throw new KubeError({ message: 'not for you', status: 403 });
    };
    expect((await start({ apply: refuse as KubeClient['apply'] })).end()).toBe('not for you');
  });

  it('says that the CRDs are gone, which waiting does not bring back', async () => {
    node('a');
    const apply = async () => {
      throw new KubeError({ message: 'no such kind', status: 404 });
    };
    expect((await start({ apply: apply as KubeClient['apply'] })).end()).toBe('no-kinds');
  });

  it('stops when it is told to', async () => {
    node('a');
    report('a', 'Enforcing');
    const { stop, running, end } = await start();
    stop.abort();
    await running;
    expect(end()).toBe('stopped');
    expect(clock.timers).toBe(0);
  });

  it('wishes nothing where there is no account', async () => {
    cluster.remove('serviceaccounts', 'portcullis-agent');
    node('a');
    report('a', 'Detached', 'Uninstall', 60_000);
    expect((await start()).end()).toBe('detached');
    report('a', 'Enforcing');
    expect((await start()).end()).toBe('no-account');
    expect(applied).toEqual([]);
  });
});
