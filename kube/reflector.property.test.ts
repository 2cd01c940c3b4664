import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FaultServer } from './testing/fault-server.ts';
import { tooLargeVersion } from './testing/fault-server.ts';
import type { Snapshot, StoredObject } from './testing/object-store.ts';
import { Room, until } from './testing/reflector-room.ts';

type Step =
  | { readonly do: 'set' | 'delete'; readonly name: string }
  | { readonly do: 'reset' | 'compact' | 'snapshot' | 'restore' | 'restart' | 'freeze' | 'expire-pages' | 'throw' }
  | { readonly do: 'fault'; readonly verb: 'list' | 'watch'; readonly index: number }
  | { readonly do: 'wait'; readonly ms: number };

const faults = [
  { kind: 'close' },
  { kind: 'stream-reset' },
  { kind: 'silent' },
  { kind: 'status', status: 410 },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 401 },
  { kind: 'status', status: 403 },
  { kind: 'status', status: 404 },
  { kind: 'status', status: 429 },
  { kind: 'status', status: 504, body: { ...tooLargeVersion, details: {} } },
  { kind: 'error-event', code: 410, reason: 'Expired' },
  { kind: 'error-event', code: 500, reason: 'InternalError' },
  { kind: 'bytes', bytes: 'garbage\n' },
  { kind: 'bytes', bytes: '{"type":"ADDED","obj' },
  { kind: 'reset', afterEvents: 0 },
  { kind: 'reset', afterEvents: 2 },
  { kind: 'split', bytes: 3 },
  { kind: 'twice' },
  { kind: 'delay', ms: 20 },
] as const;

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('set' as const), name }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('delete' as const), name }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      verb: fc.constantFrom('list' as const, 'watch' as const),
      index: fc.nat(faults.length - 1),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(25) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'reset' as const,
        'compact',
        'snapshot',
        'restore',
        'restart',
        'freeze',
        'expire-pages',
        'throw',
      ),
    }),
  },
);

/** The world as a handler knows it that keeps its own books from the changes alone. */
class Books {
  readonly objects = new Map<string, StoredObject>();
  throwNext = 0;

  take(type: 'added' | 'updated' | 'deleted', object: StoredObject, previous: StoredObject | undefined): void {
    if (this.throwNext > 0) {
      this.throwNext--;
      throw new Error('not now');
    }
    const known = this.objects.get(object.metadata.name);
    if (type === 'deleted') this.objects.delete(object.metadata.name);
    else this.objects.set(object.metadata.name, object);
    if (type === 'updated' && known !== undefined) expect(previous?.metadata.uid).toBe(object.metadata.uid);
  }
}

let writes = 0;

async function play(steps: readonly Step[], server: FaultServer, books: Books): Promise<void> {
  let saved: Snapshot = server.store.snapshot();
  for (const one of steps) {
    switch (one.do) {
      case 'set':
        server.store.set(one.name, { write: ++writes });
        break;
      case 'delete':
        server.store.delete(one.name);
        break;
      case 'fault':
        server.once(one.verb, faults[one.index]!);
        break;
      case 'wait':
        await new Promise((resolve) => setTimeout(resolve, one.ms));
        break;
      case 'reset':
        server.resetConnections();
        break;
      case 'freeze':
        server.freezeConnections();
        break;
      case 'compact':
        server.store.compact();
        break;
      case 'snapshot':
        saved = server.store.snapshot();
        break;
      case 'restore':
        await server.stop();
        // Longer than any wait of the reflector: it must see that the server was away. A restore in no time cannot be seen.
        await new Promise((resolve) => setTimeout(resolve, 40));
        server.store.restore(saved);
        await server.start();
        break;
      case 'restart':
        await server.stop();
        await new Promise((resolve) => setTimeout(resolve, 5));
        await server.start();
        break;
      case 'expire-pages':
        server.expirePages();
        break;
      case 'throw':
        books.throwNext++;
        break;
    }
  }
}

test('whatever happens, in whatever order, the copy and the books of its handler come to equal the server', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.boolean(), async (steps, allowH2) => {
      const room = await new Room({ allowH2, bookmarkMs: 10 }).open({ requestTimeoutMs: 200 });
      try {
        const books = new Books();
        const reflector = room.run(
          room.reflector({
            pageSize: 3,
            timings: {
              baseBackoffMs: 2,
              maxBackoffMs: 10,
              healthyMs: 10,
              silentMs: 80,
              probeTimeoutMs: 40,
              resyncMs: 5,
            },
            onChange: ({ type, object, previous }) => books.take(type, object, previous),
          }),
        );
        await play(steps, room.server, books);
        await room.converged(reflector);
        const linesOf = (objects: Iterable<StoredObject>) =>
          [...objects]
            .map(({ metadata, spec }) => `${metadata.uid} ${metadata.resourceVersion} ${spec?.write}`)
            .sort()
            .join();
        const there = linesOf(room.server.store.objects.values());
        expect(linesOf(reflector.items.values())).toBe(there);
        await until(
          () => linesOf(books.objects.values()) === there,
          () => `server ${there}, books ${linesOf(books.objects.values())}`,
        );
      } finally {
        await room.close();
      }
    }),
    { numRuns: Number(process.env.PORTCULLIS_FUZZ_RUNS ?? 60), interruptAfterTimeLimit: 20_000 },
  );
}, 60_000);
