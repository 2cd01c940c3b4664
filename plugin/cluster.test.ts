import { describe, expect, test } from 'vitest';
import type { KubeClient } from '../kube/client.ts';
import { KubeError } from '../kube/errors.ts';
import { resources } from '../kube/resources.ts';
import { FakeClock } from '../kube/testing/fake-clock.ts';
import { collect, mapBounded, orMissing, serverTime, until } from './cluster.ts';

const refusal = (status: number) => new KubeError({ message: String(status), status });

/** Pages of two; the second page of the first reading has expired. */
function expiringPages() {
  const names = ['a', 'b', 'c', 'd', 'e'];
  let hasExpired = false;
  const list: Pick<KubeClient, 'list'>['list'] = async (_resource, options = {}) => {
    const from = Number(options.continue ?? 0);
    if (from > 0 && !hasExpired) {
      hasExpired = true;
      throw refusal(410);
    }
    const items = names.slice(from, from + 2).map((name) => ({ metadata: { name } }));
    const next = from + 2 < names.length ? { continue: String(from + 2) } : {};
    return { metadata: next, items: items as never };
  };
  return { list } as KubeClient;
}

describe('collect', () => {
  test('reads all pages, from the start again when they expired meanwhile, and tells of each object once', async () => {
    expect(await collect(expiringPages(), resources.nodeReports, ({ metadata }) => metadata.name)).toEqual([
      'a',
      'b',
      'c',
      'd',
      'e',
    ]);
  });

  test('keeps only what it is told to', async () => {
    const kept = collect(expiringPages(), resources.nodeReports, ({ metadata }) =>
      metadata.name > 'c' ? 1 : undefined,
    );
    expect(await kept).toEqual([1, 1]);
  });

  test('gives up where pages expire again and again', async () => {
    const list = async () => {
      throw refusal(410);
    };
    await expect(collect({ list } as unknown as KubeClient, resources.nodeReports, () => 1)).rejects.toThrow('410');
  });
});

test.each([403, 404])('what is refused with %i is written down and done without', async (status) => {
  const missing: { what: string; reason: string }[] = [];
  expect(await orMissing('ClusterFacts', missing, Promise.reject(refusal(status)), [])).toEqual([]);
  expect(missing).toMatchObject([{ what: 'ClusterFacts' }]);
  await expect(orMissing('ClusterFacts', missing, Promise.reject(refusal(500)), [])).rejects.toThrow('500');
});

describe("the server's time", () => {
  const stamped = (creationTimestamp: string) =>
    ({ create: async () => ({ metadata: { name: '', creationTimestamp } }) }) as unknown as KubeClient;

  test('is what the server says, whatever this machine thinks', async () => {
    const clock = new FakeClock();
    const time = await serverTime(stamped('2040-06-01T00:00:00Z'), clock.skewed(-3_600_000));
    await clock.advance(5000);
    expect(time.nowMs()).toBe(Date.UTC(2040, 5, 1, 0, 0, 5));
  });

  test("is this machine's where the server has no such kind, and no secret where it lets nobody in", async () => {
    const clock = new FakeClock();
    const failing = (status: number) => ({ create: () => Promise.reject(refusal(status)) }) as unknown as KubeClient;
    expect((await serverTime(failing(404), clock)).nowMs()).toBe(clock.wallMs());
    await expect(serverTime(failing(401), clock)).rejects.toThrow('401');
    await expect(serverTime(failing(0), clock)).rejects.toThrow();
  });
});

test('until asks at once, then again and again, and once more at the end', async () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  const never = until(clock, { waitMs: 2500, everyMs: 1000 }, async () => {
    asked.push(clock.nowMs());
    return false;
  });
  await clock.advance(10_000);
  expect(await never).toBe(false);
  expect(asked).toEqual([0, 1000, 2000, 2500]);
  expect(await until(clock, { waitMs: 0, everyMs: 1000 }, async () => true)).toBe(true);
});

test('mapBounded keeps the order and the bound', async () => {
  let running = 0;
  let most = 0;
  const results = await mapBounded([1, 2, 3, 4, 5, 6, 7], 3, async (n) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, (7 - n) * 2));
    running--;
    return n * 10;
  });
  expect(results).toEqual([10, 20, 30, 40, 50, 60, 70]);
  expect(most).toBe(3);
});
