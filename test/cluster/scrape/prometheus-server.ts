import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prometheusBinaries } from '../../chart/prometheus.ts';
import type { Namespace, RunningCommand } from '../../support/namespaces.ts';
import { waitFor } from '../../support/wait-for.ts';

/** One series of an instant query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  /** Not finite where Prometheus says NaN or Inf. */
  readonly value: number;
}

export interface Rule {
  readonly name: string;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
  readonly state: 'inactive' | 'pending' | 'firing';
}

export interface Target {
  readonly labels: Readonly<Record<string, string>>;
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
}

/** A real Prometheus in a network namespace of a test. It ends with that test's net. */
export class PrometheusServer {
  readonly #namespace: Namespace;
  readonly #command: RunningCommand;
  readonly #address: string;

  private constructor(namespace: Namespace, command: RunningCommand, address: string) {
    this.#namespace = namespace;
    this.#command = command;
    this.#address = address;
  }

  /** `config`: as in prometheus.yml. @throws Error with what it wrote when it is not ready in time */
  static async start(namespace: Namespace, folder: string, config: object): Promise<PrometheusServer> {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'prometheus.json');
    writeFileSync(file, JSON.stringify(config, undefined, 2));
    const address = '127.0.0.1:9090';
    const flags = [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      `--web.console.templates=${folder}`,
      `--web.console.libraries=${folder}`,
    ];
    const command = namespace.spawn([prometheusBinaries().prometheus, ...flags]);
    const server = new PrometheusServer(namespace, command, address);
    try {
      const isReady = async () => !command.isRunning || (await server.#get('/-/ready'));
      await waitFor(isReady, 60_000, { what: 'Prometheus to be ready', intervalMs: 200 });
      if (!command.isRunning) throw new Error('Prometheus ended');
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${server.output}`);
    }
    return server;
  }

  get output(): string {
    return this.#command.stderr + this.#command.stdout;
  }

  /** An instant query, now. @throws Error with Prometheus' words when it cannot be read */
  async query(expression: string): Promise<readonly Sample[]> {
    const text = await this.#get('/api/v1/query', ['--data-urlencode', `query=${expression}`]);
    const { status, data, error } = JSON.parse(text);
    if (status !== 'success') throw new Error(`${expression}: ${error}`);
    if (data.resultType !== 'vector') throw new Error(`${expression}: gives a ${data.resultType}`);
    return data.result.map(({ metric, value }: { metric: Sample['metric']; value: [number, string] }) => ({
      metric,
      value: Number(value[1]),
    }));
  }

  async rules(): Promise<readonly Rule[]> {
    const { data } = JSON.parse(await this.#get('/api/v1/rules'));
    return data.groups.flatMap(({ rules }: { rules: Rule[] }) => rules);
  }

  async targets(): Promise<readonly Target[]> {
    const { data } = JSON.parse(await this.#get('/api/v1/targets?state=active'));
    return data.activeTargets;
  }

  /** Answers of 400 too: their text says why. */
  async #get(path: string, args: readonly string[] = []): Promise<string> {
    const { stdout } = await this.#namespace.exec(['curl', '-sS', ...args, `http://${this.#address}${path}`]);
    return stdout;
  }
}
