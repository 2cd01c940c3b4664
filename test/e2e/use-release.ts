import { afterAll, beforeAll, beforeEach } from 'vitest';
import { ReleaseWorld } from './release.ts';

/**
 * One world for all tests of a file. When a test fails, what all programs wrote is printed.
 * @returns the world; only to be called while a test runs
 */
export function useReleaseWorld(): () => ReleaseWorld {
  let world: ReleaseWorld | undefined;
  beforeAll(async () => {
    // scripts/run-tests.ts found that this machine can have none.
    if (process.env.PORTCULLIS_SKIP_CLUSTER === undefined) world = await ReleaseWorld.create();
    // Images are built where sources changed.
  }, 900_000);
  afterAll(() => world?.[Symbol.asyncDispose](), 60_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => console.log(await world?.logs()));
  });
  return () => world!;
}
