import { join } from 'node:path';
import type { LogLine } from './agent.ts';
import { type CommandResult, nodePath, RunningCommand } from './command.ts';
import { waitFor } from './wait-for.ts';

export const operatorScript = join(import.meta.dirname, '..', '..', 'bin', 'portcullis-operator.mjs');

/** A third of the usual times, and more patience with a busy machine than those of Kubernetes' own components would leave. */
export const quickLease = ['--lease-duration=5s', '--lease-renew-deadline=3500ms', '--lease-retry-period=500ms'];

/** A replica of the operator as a process of its own. `await using operator = OperatorProcess.launch(kubeconfig)`. */
export class OperatorProcess implements AsyncDisposable {
  readonly command: RunningCommand;

  private constructor(command: RunningCommand) {
    this.command = command;
  }

  /** Starts one without waiting for anything. */
  static launch(kubeconfig: string, args: readonly string[] = []): OperatorProcess {
    const own = ['--kubeconfig', kubeconfig, '--metrics-address', '127.0.0.1:0'];
    return new OperatorProcess(new RunningCommand([nodePath, operatorScript, 'run', ...own, ...quickLease, ...args]));
  }

  /** All lines it has logged so far. */
  get log(): readonly LogLine[] {
    return this.command.stdout
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Waits for a line. Throws with all that the operator wrote when it ends or does not write it in time. */
  async until(matches: (line: LogLine) => boolean, what: string, timeoutMs = 30_000): Promise<LogLine> {
    try {
      await waitFor(() => !this.command.isRunning || this.log.some(matches), timeoutMs, { what });
      const line = this.log.find(matches);
      if (line === undefined) throw new Error(`${what}: the operator ended before`);
      return line;
    } catch (error) {
      throw new Error(`${(error as Error).message}; the operator wrote:\n${this.command.stderr}${this.command.stdout}`);
    }
  }

  async untilLeading(timeoutMs?: number): Promise<void> {
    await this.until(({ event, change }) => event === 'leader' && change === 'gained', 'the lead', timeoutMs);
  }

  get hasLed(): boolean {
    return this.log.some(({ event, change }) => event === 'leader' && change === 'gained');
  }

  /** Of its HTTP server. */
  async fetch(path: '/metrics' | '/healthz' | '/readyz'): Promise<{ readonly status: number; readonly text: string }> {
    const { port } = await this.until(({ event }) => event === 'listening', 'the metrics to be served');
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** A series of a scrape, by its name with labels; undefined when it is not there. */
  async metric(series: string): Promise<number | undefined> {
    const { text } = await this.fetch('/metrics');
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<CommandResult> {
    return await this.command.stop(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.command.isRunning) await this.command.stop();
  }
}
