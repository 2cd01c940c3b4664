import { expect, test } from 'vitest';
import type { Reflector } from './reflector.ts';
import type { FaultServer } from './testing/fault-server.ts';
import type { StoredObject } from './testing/object-store.ts';
import { Room, silentSoon, until } from './testing/reflector-room.ts';

interface Moment {
  readonly when: string;
  /** Before the reflector runs. */
  readonly prepare: (server: FaultServer) => void | Promise<void>;
  /** When it is told to stop. */
  readonly reached: (server: FaultServer, reflector: Reflector<StoredObject>) => boolean;
}

const many = (server: FaultServer, count: number) => {
  for (let i = 0; i < count; i++) server.store.set(`p${i}`);
};

const moments: Moment[] = [
  { when: 'it watches', prepare: () => {}, reached: (server) => server.seen('watch').length === 1 },
  {
    when: 'its list gets no answer',
    prepare: (server) => server.always('list', { kind: 'no-answer' }),
    reached: (server) => server.seen('list').length === 1,
  },
  {
    when: 'its list is answered slowly',
    prepare: (server) => server.always('list', { kind: 'delay', ms: 30 }),
    reached: (server) => server.seen('list').length === 1,
  },
  {
    when: 'it is between two pages',
    prepare: (server) => {
      many(server, 3000);
      server.always('list', { kind: 'delay', ms: 10 });
    },
    reached: (server) => server.seen('list').length === 3,
  },
  {
    when: 'it waits after a failed list',
    prepare: (server) => server.always('list', { kind: 'status', status: 500 }),
    reached: (_server, { state }) => state.phase === 'waiting',
  },
  {
    when: 'it waits after a watch that was closed at once',
    prepare: (server) => server.always('watch', { kind: 'close' }),
    reached: (_server, { state }) => state.phase === 'waiting',
  },
  {
    when: 'its watch gets no answer',
    prepare: (server) => server.always('watch', { kind: 'no-answer' }),
    reached: (server) => server.seen('watch').length === 1,
  },
  {
    when: 'its watch is silent',
    prepare: (server) => server.always('watch', { kind: 'silent' }),
    reached: (server) => server.seen('watch').length === 1,
  },
  {
    when: 'it looks whether a silent watch is dead',
    prepare: (server) => {
      server.always('watch', { kind: 'silent' });
      server.once('list', { kind: 'delay', ms: 0 });
      server.once('list', { kind: 'no-answer' });
    },
    reached: (server) => server.seen('list').length === 2,
  },
  {
    when: 'its watch is refused',
    prepare: (server) => server.always('watch', { kind: 'status', status: 410 }),
    reached: (server) => server.seen('watch').length === 2,
  },
  {
    when: 'the server asked it to wait for an hour',
    prepare: (server) => server.always('list', { kind: 'status', status: 429, headers: { 'retry-after': '3600' } }),
    reached: (_server, { state }) => state.phase === 'waiting',
  },
  {
    when: 'the server is down',
    prepare: (server) => server.stop(),
    reached: (_server, { state }) => state.phase === 'waiting',
  },
];

for (const allowH2 of [true, false]) {
  test.each(moments)(
    `told to stop while $when (HTTP/${allowH2 ? 2 : 1.1}), it ends, leaves no stream and opens none`,
    async ({ prepare, reached }) => {
      const room = await new Room({ allowH2 }).open();
      try {
        const { server } = room;
        await prepare(server);
        const stop = new AbortController();
        const reflector = room.reflector({ timings: silentSoon });
        const run = reflector.run(stop.signal);
        await until(() => reached(server, reflector));
        stop.abort();
        await run;
        expect(reflector.state).toEqual({ phase: 'stopped' });
        const requests = server.requests.length;
        await until(
          () => server.openStreams === 0,
          () => `${server.openStreams} streams left`,
        );
        // Longer than any wait of the fast timings.
        await new Promise((resolve) => setTimeout(resolve, 120));
        expect(server.requests.length).toBe(requests);
        expect(room.logs.every(({ level }) => level !== 'error')).toBe(true);
      } finally {
        await room.close();
      }
    },
  );
}

test('what a handler failed to take is not offered after the end', async () => {
  const room = await new Room().open();
  try {
    room.server.store.set('a');
    let calls = 0;
    const stop = new AbortController();
    const reflector = room.reflector({
      onChange: () => {
        calls++;
        stop.abort();
        throw new Error('no');
      },
    });
    await reflector.run(stop.signal);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(calls).toBe(1);
  } finally {
    await room.close();
  }
});
