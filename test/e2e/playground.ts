import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, nodePath, run } from '../support/command.ts';

const root = join(import.meta.dirname, '..', '..');
const startTimeoutMs = 900_000;
const commandTimeoutMs = 300_000;
/** Where a person has it, and where the README says that it is. */
const usualHome = '/run/portcullis-cluster';

/** The cluster of `make cluster`, and somebody who types what he is told to, in the folder of the sources. */
export class Playground implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'pc-playground-'));
  #exports = '';

  /** Not the one that somebody may be playing with. */
  get home(): string {
    return join(this.#folder, 'home');
  }

  make(target: 'cluster' | 'cluster-stop'): Promise<CommandResult> {
    const command = target === 'cluster' ? 'start' : 'stop';
    return run([nodePath, join(root, 'scripts', 'cluster.ts'), command], {
      env: { PORTCULLIS_CLUSTER_HOME: this.home },
      timeoutMs: startTimeoutMs,
      allowFailure: true,
    });
  }

  /** Types a line; what it exports holds for all that follow. Returns what a terminal shows. @throws Error when the line fails */
  async type(line: string): Promise<string> {
    const here = line.replaceAll(usualHome, this.home);
    if (here.startsWith('export ')) this.#exports = here;
    // On a terminal both streams are seen, in their order.
    const { code, signal, stdout } = await run(['sh', '-c', `exec 2>&1\n${this.#exports}\n${here}`], {
      cwd: root,
      timeoutMs: commandTimeoutMs,
      allowFailure: true,
      env: { KUBECACHEDIR: join(this.#folder, 'kubectl-cache'), KUBERC: 'off', ...this.#helmFolders() },
    });
    if (code !== 0) throw new Error(`${line}: ended with ${signal ?? code}\n${stdout}`);
    return stdout;
  }

  /** Removes what is left when nothing runs any more. */
  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Nothing of the user's own: neither plugins nor repositories. */
  #helmFolders(): Readonly<Record<string, string>> {
    const names = ['CACHE', 'CONFIG', 'DATA'];
    return Object.fromEntries(names.map((name) => [`HELM_${name}_HOME`, join(this.#folder, 'helm', name)]));
  }
}
