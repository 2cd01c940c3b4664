import { join } from 'node:path';
import { nodePath, RunningCommand } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

export interface ReaderReport {
  readonly events: number;
  readonly lines: number;
  /** Since it was ready. */
  readonly cpuMs: number;
  readonly wallMs: number;
}

export interface Reader extends AsyncDisposable {
  /** Ends it; what it did. */
  stop(): Promise<ReaderReport>;
}

/** Reads the ring of the tables pinned there as the agent does, in a process of its own, until it is disposed of. */
export const startReader = async (pinPath: string): Promise<Reader> => {
  const command = new RunningCommand([nodePath, join(import.meta.dirname, 'reader-child.ts'), pinPath]);
  const isReady = () => command.stdout.includes('ready');
  await waitFor(() => isReady() || !command.isRunning, 20_000, { what: 'the reader of events' });
  if (!isReady()) throw new Error(`the reader ended: ${(await command.ended).stderr}`);
  let stopping: Promise<ReaderReport> | undefined;
  const stop = () => {
    stopping ??= command.stop().then(({ stdout, stderr, code }) => {
      const last = stdout.trim().split('\n').at(-1) ?? '';
      if (code !== 0 || !last.startsWith('{')) throw new Error(`the reader ended with ${code}: ${stderr}`);
      return JSON.parse(last) as ReaderReport;
    });
    return stopping;
  };
  return {
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop().catch(() => {});
    },
  };
};
