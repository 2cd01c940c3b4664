import { applyObject } from '../../../kube/apply.ts';
import { isNotFound, KubeError } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { resources } from '../../../kube/resources.ts';
import type { ControllerContext } from '../../controller.ts';
import { fieldManager } from '../field-manager.ts';
import { chunkName, chunkText } from './chunks.ts';
import type { PrefixSetMetrics } from './metrics.ts';
import type { PrefixSetRead } from './read-set.ts';
import { type ChunkIdentity, type ListIdentity, newChunk } from './reconcile.ts';

/** Until then a chunk that was written shows in the collection; if not, it is gone again. */
const shownMs = 10_000;

interface RawChunk extends KubeObject {
  readonly spec?: { readonly prefixes?: unknown };
}

interface RawList extends KubeObject {
  readonly status?: { readonly prefixSet?: { readonly digest?: unknown } };
}

type Context = Pick<ControllerContext, 'client' | 'clock' | 'shared'>;

/** The PrefixChunks in the API server, as far as this replica has made them or looked at them. */
export class ChunkStore {
  readonly #context: Context;
  readonly #metrics: PrefixSetMetrics;
  /** Names of chunks that hold what their name says: those that were made here, and those that were looked at. */
  readonly #verified = new Set<string>();
  /** By name of the chunk: when it was written here, for as long as it may not show. */
  readonly #writtenAtMs = new Map<string, number>();

  constructor(context: Context, metrics: PrefixSetMetrics) {
    this.#context = context;
    this.#metrics = metrics;
  }

  /** To be told of every change in the collection. */
  changed(name: string, isDeleted: boolean): void {
    this.#writtenAtMs.delete(name);
    if (isDeleted) this.#verified.delete(name);
  }

  /** Those of `names` that are not there, and were not written a moment ago either. */
  absent(names: readonly string[]): string[] {
    const { clock, shared } = this.#context;
    for (const [name, atMs] of this.#writtenAtMs) {
      if (shared.prefixChunks.items.has(name) || clock.nowMs() - atMs >= shownMs) this.#writtenAtMs.delete(name);
    }
    return names.filter((name) => !this.#writtenAtMs.has(name));
  }

  /** When to look whether all that was written shows; undefined when it does. */
  get lookAgainMs(): number | undefined {
    return this.#writtenAtMs.size === 0 ? undefined : shownMs;
  }

  /** Whether a chunk holds what its name says; it is read for that once. */
  async isFit(name: string, listUid: string, signal: AbortSignal): Promise<boolean> {
    if (this.#verified.has(name)) return true;
    try {
      const chunk = await this.#context.client.get<RawChunk>(resources.prefixChunks, name, { signal });
      const { prefixes } = chunk.spec ?? {};
      if (typeof prefixes !== 'string' || chunkName(listUid, prefixes) !== name) return false;
      this.#verified.add(name);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Makes those of the chunks that are named. */
  async write(
    list: ListIdentity,
    { prefixes, chunks }: NonNullable<PrefixSetRead['content']>,
    names: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, clock } = this.#context;
    for (const chunk of chunks) {
      if (!names.has(chunk.name)) continue;
      const object = newChunk(chunk.name, list, chunkText(prefixes, chunk), chunk.to - chunk.from);
      try {
        await applyObject(client, resources.prefixChunks, object, { fieldManager, signal });
      } catch (error) {
        if (!(error instanceof KubeError && error.status === 422)) throw error;
        // A chunk is never changed, so one of that name holds something else.
        await client.delete(resources.prefixChunks, chunk.name, { signal });
        await applyObject(client, resources.prefixChunks, object, { fieldManager, signal });
      }
      this.#verified.add(chunk.name);
      this.#writtenAtMs.set(chunk.name, clock.nowMs());
      this.#metrics.written();
    }
  }

  async delete(chunks: readonly ChunkIdentity[], signal: AbortSignal): Promise<void> {
    for (const { name, uid } of chunks) {
      await this.#context.client.delete(resources.prefixChunks, name, { uid, signal });
      this.#metrics.deleted();
    }
  }

  /** The digest that the list of that name and uid has in its status now; 'none' without one, or when there is no list. */
  async namedNow(name: string, uid: string | undefined, signal: AbortSignal): Promise<string> {
    try {
      const list = await this.#context.client.get<RawList>(resources.ipBlocklists, name, { signal });
      if (list.metadata.uid !== uid) return 'of another list';
      const digest = list.status?.prefixSet?.digest;
      return typeof digest === 'string' ? digest : 'none';
    } catch (error) {
      if (isNotFound(error)) return 'none';
      throw error;
    }
  }
}
