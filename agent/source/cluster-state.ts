/** What of a cluster is kept on the node, so that a restart without its API server enforces as before. Pure. */
import type { ClusterFacts, IpBlocklist, PolicyObject, PortScanPolicy, SourceException } from '../../api/types.ts';
import { API_VERSION } from '../../api/types.ts';
import { validateObject } from '../../api/validate.ts';
import type { GoodObject } from './cluster-objects.ts';
import type { PrefixSetReference } from './prefix-sets.ts';

export interface NodeFacts {
  readonly labels: Readonly<Record<string, string>>;
  readonly uid?: string;
  /** Value of the annotation portcullis.dev/break-glass; absent: it is not there. */
  readonly breakGlass?: string;
}

export interface SavedCluster {
  /** Of the Node that all this is about: another node's state is not ours. */
  readonly nodeName: string;
  readonly policies: readonly GoodObject<PortScanPolicy>[];
  readonly lists: readonly GoodObject<IpBlocklist>[];
  readonly exceptions: readonly GoodObject<SourceException>[];
  readonly facts: readonly ClusterFacts[];
  readonly node: NodeFacts;
  /** By name of the list. The chunks themselves are files of their own, named by what they hold. */
  readonly prefixSets: Readonly<Record<string, PrefixSetReference>>;
  /** Policies and lists that were saved and cannot be used: what they asked for is not known. Absent: none. */
  readonly leftOut?: number;
}

/**
 * What of a saved text is usable: another version wrote it, or somebody edited it, and one bad object must not keep the
 * others from being used. Undefined when it is not about this node.
 */
export function readSavedCluster(value: unknown, nodeName: string): SavedCluster | undefined {
  if (!isRecord(value) || value.nodeName !== nodeName) return undefined;
  const policies = goodObjects<PortScanPolicy>(value.policies, 'PortScanPolicy');
  const lists = goodObjects<IpBlocklist>(value.lists, 'IpBlocklist');
  const leftOut = listOf(value.policies).length - policies.length + (listOf(value.lists).length - lists.length);
  return {
    nodeName,
    policies,
    lists,
    ...(leftOut > 0 && { leftOut }),
    exceptions: goodObjects<SourceException>(value.exceptions, 'SourceException'),
    facts: listOf(value.facts).filter(isFacts),
    node: nodeFacts(value.node),
    prefixSets: Object.fromEntries(
      Object.entries(isRecord(value.prefixSets) ? value.prefixSets : {}).flatMap(([list, saved]) => {
        const reference = prefixSetReference(saved);
        return reference === undefined ? [] : [[list, reference]];
      }),
    ),
  };
}

/** Out of a list's `status.prefixSet`, or a saved one. */
export function prefixSetReference(value: unknown): PrefixSetReference | undefined {
  if (!isRecord(value) || typeof value.digest !== 'string' || !isTexts(value.chunks)) return undefined;
  // They become names of files.
  if (!value.chunks.every((name) => CHUNK_NAME.test(name))) return undefined;
  return { digest: value.digest, chunks: value.chunks };
}

const CHUNK_NAME = /^[0-9a-z][0-9a-z-]{0,62}$/;

/** What is kept of ClusterFacts. */
export function isFacts(value: unknown): value is ClusterFacts {
  if (!isRecord(value) || value.apiVersion !== API_VERSION || !isRecord(value.metadata) || !isRecord(value.spec)) {
    return false;
  }
  return (
    typeof value.metadata.name === 'string' && typeof value.spec.holds === 'string' && isTexts(value.spec.prefixes)
  );
}

function goodObjects<T extends PolicyObject>(saved: unknown, kind: T['kind']): GoodObject<T>[] {
  return listOf(saved).flatMap((each): GoodObject<T>[] => {
    if (!isRecord(each) || typeof each.version !== 'string') return [];
    const { object } = validateObject(each.object);
    return object?.kind === kind ? [{ version: each.version, object: object as T }] : [];
  });
}

function nodeFacts(value: unknown): NodeFacts {
  if (!isRecord(value)) return { labels: {} };
  const labels = isRecord(value.labels) ? Object.entries(value.labels) : [];
  return {
    labels: Object.fromEntries(labels.filter((each): each is [string, string] => typeof each[1] === 'string')),
    ...(typeof value.uid === 'string' && { uid: value.uid }),
    ...(typeof value.breakGlass === 'string' && { breakGlass: value.breakGlass }),
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');
