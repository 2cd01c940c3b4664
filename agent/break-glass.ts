import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Finding, findingOf } from './finding.ts';

export type BreakGlassReason = 'NodeAnnotation' | 'File';

/** Whoever makes the file is in a hurry, and a look costs microseconds. */
const LOOK_EVERY_MS = 250;

/**
 * Whether everything is to be detached: a file on the node says so, or an annotation of its Node. The file works without
 * an API server and wins over what that says; both outlive the agent.
 */
export class BreakGlass {
  readonly #file: string;
  readonly #onChange: () => void;
  #hasFile = false;
  #hasAnnotation = false;

  /** Looks for the file at once. `onChange` is called after each change of `reason`, never by the constructor. */
  constructor(file: string, onChange: () => void) {
    this.#file = file;
    this.#onChange = onChange;
    this.#hasFile = this.#isThere();
  }

  /** Undefined: nothing asks for it. */
  get reason(): BreakGlassReason | undefined {
    if (this.#hasFile) return 'File';
    return this.#hasAnnotation ? 'NodeAnnotation' : undefined;
  }

  get finding(): Finding | undefined {
    const { reason } = this;
    if (reason === undefined) return undefined;
    const what = reason === 'File' ? `${this.#file} exists` : 'the annotation of the Node says so';
    return findingOf('BreakGlass', `everything is detached, since ${what}`);
  }

  setAnnotation(hasAnnotation: boolean): void {
    this.#set(this.#hasFile, hasAnnotation);
  }

  /** Looks for the file until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#set(this.#isThere(), this.#hasAnnotation);
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  #set(hasFile: boolean, hasAnnotation: boolean): void {
    const before = this.reason;
    this.#hasFile = hasFile;
    this.#hasAnnotation = hasAnnotation;
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
