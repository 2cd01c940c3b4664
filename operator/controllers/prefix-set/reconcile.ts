import type { PrefixSet } from '../../../api/types/ip-blocklist.ts';
import type { AppliedObject } from '../../../kube/apply.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { apiVersionOf, resources } from '../../../kube/resources.ts';

/** On every chunk: whose it is, for people and selectors. */
export const listLabel = 'portcullis.dev/list';

export interface ListIdentity {
  readonly name: string;
  readonly uid: string;
}

/** A PrefixChunk that is in the store. */
export interface ChunkIdentity {
  readonly name: string;
  readonly uid: string;
}

export interface ChunkPlan {
  /** Names that the set has and the store does not, or not as this list's. */
  readonly missing: readonly string[];
  readonly present: readonly ChunkIdentity[];
  /** Chunks of this list, or of one that had its name before, which no set names. */
  readonly surplus: readonly ChunkIdentity[];
}

/**
 * What is to be done about the chunks of a list, or of the name of one that is gone. A chunk without an owner, as somebody may
 * have made it by hand, is nobody's surplus.
 */
export function planChunks(
  name: string,
  list: ListIdentity | undefined,
  wanted: PrefixSet | undefined,
  stored: Iterable<KubeObject>,
): ChunkPlan {
  const names = new Set(list === undefined ? [] : wanted?.chunks);
  const present: ChunkIdentity[] = [];
  const surplus: ChunkIdentity[] = [];
  for (const { metadata } of stored) {
    const owner = ownerOf({ metadata });
    if (owner?.name !== name || metadata.uid === undefined) continue;
    const chunk = { name: metadata.name, uid: metadata.uid };
    if (names.has(chunk.name) && owner.uid === list?.uid) present.push(chunk);
    else if (!names.has(chunk.name)) surplus.push(chunk);
  }
  const isPresent = new Set(present.map((chunk) => chunk.name));
  return { missing: [...names].filter((chunk) => !isPresent.has(chunk)), present, surplus };
}

/** The IpBlocklist that owns a chunk. */
export function ownerOf({ metadata }: KubeObject): ListIdentity | undefined {
  const { apiVersion, kind } = listType;
  // Another version of the same group is the same kind.
  const group = apiVersion.slice(0, apiVersion.indexOf('/') + 1);
  return metadata.ownerReferences?.find((owner) => owner.kind === kind && owner.apiVersion.startsWith(group));
}

export function newChunk(name: string, list: ListIdentity, prefixes: string, count: number): AppliedObject {
  return {
    metadata: {
      name,
      labels: { [listLabel]: list.name.length <= maxLabelLength ? list.name : list.uid.slice(0, 8) },
      ownerReferences: [{ ...listType, name: list.name, uid: list.uid }],
    },
    spec: { list: list.name, count, prefixes },
  };
}

const listType = { apiVersion: apiVersionOf(resources.ipBlocklists), kind: resources.ipBlocklists.kind };
const maxLabelLength = 63;
