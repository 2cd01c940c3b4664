import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Finding, findingOf } from './finding.ts';

export type BreakGlassReason = 'NodeAnnotation' | 'File' | 'Uninstall';

/** Whoever makes the file is in a hurry, and a look costs microseconds. */
const LOOK_EVERY_MS = 250;

/**
 * Whether everything is to be detached: a file on the node says so, an annotation of its Node, or a wish about the whole
 * installation, which is being uninstalled. The file works without an API server; all of them outlive the agent. Who waits for an
 * installation to detach must hear of it also where somebody else has detached the node before.
 */
export class BreakGlass {
  readonly #file: string;
  readonly #onChange: () => void;
  #hasFile = false;
  #hasAnnotation = false;
  #isUninstalled = false;

  /** Looks for the file at once. `onChange` is called after each change of `reason`, never by the constructor. */
  constructor(file: string, onChange: () => void) {
    this.#file = file;
    this.#onChange = onChange;
    this.#hasFile = this.#isThere();
  }

  /** Undefined: nothing asks for it. */
  get reason(): BreakGlassReason | undefined {
    if (this.#isUninstalled) return 'Uninstall';
    if (this.#hasFile) return 'File';
    return this.#hasAnnotation ? 'NodeAnnotation' : undefined;
  }

  get finding(): Finding | undefined {
    const { reason } = this;
    if (reason === undefined) return undefined;
    if (reason === 'Uninstall') {
      const remedy = 'To have all put back instead: kubectl delete clusterfacts detach.';
      return findingOf('BreakGlass', 'everything is detached, since Portcullis is being uninstalled', { remedy });
    }
    const what = reason === 'File' ? `${this.#file} exists` : 'the annotation of the Node says so';
    return findingOf('BreakGlass', `everything is detached, since ${what}`);
  }

  /** What the API server says. */
  setCluster({ breakGlass, uninstalled }: { readonly breakGlass: boolean; readonly uninstalled: boolean }): void {
    this.#set(this.#hasFile, breakGlass, uninstalled);
  }

  /** Looks for the file until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#set(this.#isThere(), this.#hasAnnotation, this.#isUninstalled);
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  #set(hasFile: boolean, hasAnnotation: boolean, isUninstalled: boolean): void {
    const before = this.reason;
    this.#hasFile = hasFile;
    this.#hasAnnotation = hasAnnotation;
    this.#isUninstalled = isUninstalled;
    if (this.reason !== before) this.#onChange();
  }

  /** What cannot be looked at is as it was: a file system in trouble must neither detach nor attach anything. */
  #isThere(): boolean {
    try {
      return statSync(this.#file, { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? false : this.#hasFile;
    }
  }
}
