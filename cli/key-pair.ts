import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { PortcullisError } from '../api/errors.ts';

/** PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** The kubelet takes up to a minute to bring a changed Secret; some seconds more are nobody's trouble. */
const lookEveryMs = 10_000;

/** Certificate and key in a folder that somebody else changes: the kubelet, an administrator, a tool that renews them. */
export class KeyPairFolder {
  readonly #folder: string;
  readonly #lookEveryMs: number;
  #stamp = '';

  constructor(folder: string, everyMs = lookEveryMs) {
    this.#folder = folder;
    this.#lookEveryMs = everyMs;
  }

  /** What is there now, checked. Throws BadSetting, which names `--metrics-tls-folder`. */
  read(): KeyPair {
    try {
      return this.#read();
    } catch (cause) {
      throw new PortcullisError('BadSetting', `--metrics-tls-folder ${this.#folder}: ${messageOf(cause)}`, {
        field: '--metrics-tls-folder',
        value: this.#folder,
        remedy: 'Put a certificate and its key there, in PEM, as tls.crt and tls.key, or leave the flag out.',
        cause,
      });
    }
  }

  /** Tells of each new pair, and at each look of one that cannot be used, until `signal` aborts. */
  async watch(
    signal: AbortSignal,
    { onPair, onError }: { readonly onPair: (pair: KeyPair) => void; readonly onError: (error: unknown) => void },
  ): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#lookEveryMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      try {
        if (stampOf(this.#files()) !== this.#stamp) onPair(this.read());
      } catch (error) {
        onError(error);
      }
    }
  }

  #read(): KeyPair {
    const files = this.#files();
    // Taken before reading: what changes meanwhile is seen as a change next time.
    const stamp = stampOf(files);
    const [cert, key] = files.map((file) => readFileSync(file, 'utf8')) as [string, string];
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
      throw new Error('tls.key is not the key of tls.crt');
    createSecureContext({ cert, key });
    this.#stamp = stamp;
    return { cert, key };
  }

  /** Of one version: the kubelet turns one link, `..data`, from the folder of the old files to that of the new ones. */
  #files(): readonly [cert: string, key: string] {
    let folder = this.#folder;
    try {
      folder = realpathSync(join(folder, '..data'));
    } catch {
      // No volume of a pod.
    }
    return [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  }
}

/** Of the files, where they really are. */
function stampOf(files: readonly string[]): string {
  return files
    .map((file) => {
      const { mtimeMs, size, ino } = statSync(file);
      return `${file}:${mtimeMs}:${size}:${ino}`;
    })
    .join();
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
