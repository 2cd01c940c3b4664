import { version } from '../agent/version.ts';
import { PortcullisError } from '../api/errors.ts';
import { printable } from '../cli/format-text.ts';
import type { KubeClient } from '../kube/client.ts';
import { systemClock } from '../kube/clock.ts';
import { KubeError } from '../kube/errors.ts';
import { openKubeClient } from '../kube/http-client.ts';
import { resources } from '../kube/resources.ts';
import { shortError } from './api-error.ts';
import { collect } from './cluster.ts';
import { type Command, type Connection, parseCommandLine } from './command-line.ts';
import { exitCodes } from './commands/context.ts';
import { completionLines, completionScript, offerFor } from './completion.ts';
import type { Io } from './output.ts';

const maxInputBytes = 64 * 1024 * 1024;
/** Whoever presses the tab key waits no longer. */
const completionTimeoutMs = 2000;

const io: Io = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  async stdin() {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      // What is longer than any file may be is refused by whoever reads it; the rest need not be held.
      if (bytes <= maxInputBytes) chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  },
};

async function withClient(
  { kubeconfig, context, requestTimeoutMs }: Connection,
  work: (client: KubeClient) => Promise<number>,
): Promise<number> {
  const client = await openKubeClient({
    userAgent: `kubectl-portcullis/${version}`,
    requestTimeoutMs,
    // A page of lists with 10,000 entries each; it runs for a moment, where there is memory.
    maxResponseBytes: 256 * 1024 * 1024,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  }).catch((error: unknown) => {
    throw new NoConnection(error);
  });
  try {
    return await work(client);
  } catch (error) {
    throw error instanceof KubeError ? new ApiFailure(error, client.server) : error;
  } finally {
    await client.close().catch(() => {});
  }
}

class NoConnection extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

class ApiFailure extends Error {
  readonly error: KubeError;
  readonly server: string;

  constructor(error: KubeError, server: string) {
    super(error.message, { cause: error });
    this.error = error;
    this.server = server;
  }
}

/** Loads only what a command needs: help and completion are quick. */
const execute = async (command: Command): Promise<number> => {
  const clock = systemClock;
  switch (command.name) {
    case 'help':
      (command.exitCode === 0 ? io.stdout : io.stderr)(command.text);
      return command.exitCode;
    case 'version':
      io.stdout(`${version}\n`);
      return exitCodes.ok;
    case 'completion':
      io.stdout(completionScript(command.shell));
      return exitCodes.ok;
    case 'complete':
      return await complete(command.words);
    case 'status': {
      const { status } = await import('./commands/status.ts');
      return withClient(command.connection, (client) => status({ client, clock, io }, command.options));
    }
    case 'blocked': {
      const { blocked } = await import('./commands/blocked.ts');
      return withClient(command.connection, (client) => blocked({ client, clock, io }, command.options));
    }
    case 'explain': {
      const { explain } = await import('./commands/explain.ts');
      return withClient(command.connection, (client) => explain({ client, clock, io }, command.options));
    }
    case 'unblock': {
      const { unblock, unblockDryRun } = await import('./commands/unblock.ts');
      if (command.options.dryRun) return unblockDryRun({ io, clock }, command.options);
      return withClient(command.connection, (client) => unblock({ client, clock, io }, command.options));
    }
    case 'block': {
      const { block, blockDryRun } = await import('./commands/block.ts');
      if (command.options.dryRun) return blockDryRun({ io, clock }, command.options);
      return withClient(command.connection, (client) => block({ client, clock, io }, command.options));
    }
    case 'check': {
      const { check } = await import('./commands/check.ts');
      if (!command.server) return check({ io }, command.options);
      return withClient(command.connection, (client) => check({ io, client }, command.options));
    }
  }
};

/** Offers nothing rather than an error: the shell would show that in the middle of a line. */
async function complete(words: readonly string[]): Promise<number> {
  const offer = offerFor(words);
  const current = words.at(-1) ?? '';
  let names: string[] = [];
  if (offer.names !== undefined) {
    const resource = offer.names === 'nodes' ? resources.nodeReports : resources.portScanPolicies;
    await withClient({ requestTimeoutMs: completionTimeoutMs }, async (client) => {
      const signal = AbortSignal.timeout(completionTimeoutMs);
      names = await collect(client, resource, ({ metadata }) => metadata.name, { metadataOnly: true, signal });
      return exitCodes.ok;
    }).catch(() => {});
  }
  io.stdout(completionLines([...offer.words, ...names], current, offer.files ?? false));
  return exitCodes.ok;
}

const tell = (error: unknown): number => {
  const say = (message: string, remedy: string) =>
    io.stderr(`kubectl-portcullis: ${printable(message)}\n  ${printable(remedy)}\n`);
  if (error instanceof PortcullisError) {
    say(error.message, error.remedy);
    return exitCodes.usage;
  }
  if (error instanceof ApiFailure) {
    const { message, remedy } = shortError(error.error, error.server);
    say(message, remedy);
    return exitCodes.api;
  }
  if (error instanceof NoConnection) {
    say(error.message, 'Give --kubeconfig and --context, or set KUBECONFIG.');
    return exitCodes.api;
  }
  io.stderr(`kubectl-portcullis: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return exitCodes.api;
};

// `... | head` ends the pipe early, which is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  process.exitCode = await execute(parseCommandLine(process.argv.slice(2)));
} catch (error) {
  process.exitCode = tell(error);
}
