import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Pool } from 'undici';

/** What the server says to an object that it is asked to take without keeping it. */
export interface Verdict {
  readonly status: number;
  readonly message: string;
  /** Of the fields that it names, in its order; empty when it accepts. */
  readonly fields: readonly string[];
}

interface StatusBody {
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly field?: string; readonly message?: string }[] };
}

/** Plain HTTP to the API server by `kubectl proxy`, for thousands of requests that kubectl itself would be too slow for. */
export class ApiProxy {
  readonly #process: ChildProcess;
  readonly #pool: Pool;

  private constructor(process: ChildProcess, pool: Pool) {
    this.#process = process;
    this.#pool = pool;
  }

  static async start(kubeconfig: string): Promise<ApiProxy> {
    const proxy = spawn('kubectl', ['--kubeconfig', kubeconfig, 'proxy', '--port=0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: proxy.stdout! })) {
      const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port !== undefined) return new ApiProxy(proxy, new Pool(`http://127.0.0.1:${port}`, { connections: 8 }));
    }
    throw new Error('kubectl proxy ended');
  }

  /** As `kubectl create --dry-run=server` asks, which refuses unknown and duplicate fields. */
  async dryRun(plural: string, body: string, contentType = 'application/json'): Promise<Verdict> {
    const answer = await this.#pool.request({
      method: 'POST',
      path: `/apis/portcullis.dev/v1alpha1/${plural}?dryRun=All&fieldValidation=Strict`,
      headers: { 'content-type': contentType },
      body,
    });
    const text = await answer.body.text();
    if (answer.statusCode < 300) return { status: answer.statusCode, message: '', fields: [] };
    const { message = text, details } = JSON.parse(text) as StatusBody;
    const fields = (details?.causes ?? []).flatMap(({ field }) => (field === undefined ? [] : [field]));
    return { status: answer.statusCode, message, fields };
  }

  async stop(): Promise<void> {
    await this.#pool.close();
    const ended = once(this.#process, 'exit');
    this.#process.kill();
    await ended;
  }
}
