/** The objects of one kind as the API server has them: which to read, and what is in force of each. No I/O. */
import { formatPath } from '../../api/field-path.ts';
import type { Problem } from '../../api/problem.ts';
import { API_VERSION, type PolicyObject } from '../../api/types.ts';
import { validateObject } from '../../api/validate.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { type Finding, findingOf } from '../finding.ts';
import { compareText } from '../resolve/compare-text.ts';
import type { RefusedObject } from './policy-source.ts';

export type ObjectOf<K extends RefusedObject['kind']> = Extract<PolicyObject, { kind: K }>;

/** A good object and which state of the server's object it is. */
export interface GoodObject<T extends PolicyObject> {
  readonly version: string;
  readonly object: T;
}

interface Refusal {
  readonly report: RefusedObject;
  readonly problem: Problem;
}

interface Entry<T extends PolicyObject> {
  uid: string | undefined;
  /** Of what was read last; absent: not read yet. */
  read?: string;
  /** Of the metadata because of which that was read. */
  asked?: string;
  good?: GoodObject<T>;
  /** Instead of `good`, of an object for other nodes: as much of it as tells when it is for this one. */
  elsewhere?: T;
  refusal?: Refusal;
  /** Why it could not be read the last time, and which state that was. */
  failure?: { readonly version: string; readonly reason: string };
}

/** An object that is to be read. */
export interface Wanted {
  readonly name: string;
  /** It was read because of this very metadata before and is another: the metadata should follow soon. */
  readonly isAgain: boolean;
}

interface ManagedField {
  readonly manager?: string;
  readonly operation?: string;
  readonly subresource?: string;
  readonly time?: string;
}

/**
 * Which state of an object's spec its metadata is about. The generation alone is not enough: an etcd that was restored to an
 * older snapshot counts the same numbers again, for other contents, so who wrote the spec when belongs to it. What the status
 * is written with does not.
 */
export function versionOf(meta: KubeMeta): string {
  const { managedFields = [] } = meta as { managedFields?: readonly ManagedField[] };
  const writes = managedFields
    .filter(({ subresource }) => !subresource)
    .map(({ manager = '', operation = '', time = '' }) => `${manager} ${operation} ${time}`)
    .sort();
  return [meta.uid ?? '', meta.generation ?? 0, ...writes].join('|');
}

/** The objects of one kind. Each keeps its last good state until a newer one is good too, or it is deleted. */
export class ClusterObjects<K extends RefusedObject['kind']> {
  readonly kind: K;
  readonly #entries = new Map<string, Entry<ObjectOf<K>>>();
  /** What the server has, by its metadata; undefined until it was listed. */
  #seen: ReadonlyMap<string, KubeMeta> | undefined;

  readonly #isForHere: (object: ObjectOf<K>) => boolean;

  /**
   * `lastGood` are of an earlier run: they hold until the server says otherwise. Of objects for which `isForHere` says no,
   * nothing is kept: a list may be as large as 1.5 MB, and other nodes' lists may be many.
   */
  constructor(
    kind: K,
    lastGood: readonly GoodObject<ObjectOf<K>>[] = [],
    isForHere: (object: ObjectOf<K>) => boolean = () => true,
  ) {
    this.kind = kind;
    this.#isForHere = isForHere;
    for (const good of lastGood) {
      const { name, uid } = good.object.metadata;
      this.#entries.set(name, { uid, good, read: good.version, asked: good.version });
    }
  }

  /** Takes over what the server has now, by name. What it has no more is dropped; true when there was any. */
  see(metas: ReadonlyMap<string, KubeMeta>): boolean {
    this.#seen = metas;
    const gone = [...this.#entries].filter(([name, { uid }]) => metas.get(name)?.uid !== uid);
    for (const [name] of gone) this.#entries.delete(name);
    for (const entry of this.#entries.values()) this.#sortOut(entry);
    return gone.length > 0;
  }

  /** What is to be read to be up to date. */
  wanted(): Wanted[] {
    return [...(this.#seen ?? [])].flatMap(([name, meta]): Wanted[] => {
      const version = versionOf(meta);
      const entry = this.#entries.get(name);
      // Who failed to read it tries again by itself.
      if (entry?.failure?.version === version) return [];
      const isMoved = entry?.elsewhere !== undefined && this.#isForHere(entry.elsewhere);
      if (isMoved) return entry.refusal ? [] : [{ name, isAgain: false }];
      if (entry?.read === version) return [];
      return [{ name, isAgain: entry?.asked === version }];
    });
  }

  /** Takes an object as the server gave it. It may be newer than the metadata that is known of it, and of a namesake even. */
  take(raw: KubeObject): void {
    const { name, uid } = raw.metadata;
    const meta = this.#seen?.get(name);
    if (meta === undefined) return;
    const version = versionOf(raw.metadata);
    const before = this.#entries.get(name);
    const { good, elsewhere } =
      before !== undefined && before.uid === uid ? before : ({} as Partial<Entry<ObjectOf<K>>>);
    const entry: Entry<ObjectOf<K>> = { uid, read: version, asked: versionOf(meta) };
    const { object, problems } = validateObject(policyOf(this.kind, raw));
    if (object?.kind === this.kind) entry.good = { version, object: object as ObjectOf<K> };
    else {
      if (good) entry.good = good;
      if (elsewhere) entry.elsewhere = elsewhere;
      entry.refusal = refusalOf(this.kind, raw.metadata, problems, (good ?? elsewhere) !== undefined);
    }
    this.#sortOut(entry);
    this.#entries.set(name, entry);
  }

  /** The object could not be read; what is known of it stays. */
  miss(name: string, reason: string): void {
    const meta = this.#seen?.get(name);
    if (meta === undefined) return;
    const entry = this.#entries.get(name) ?? { uid: meta.uid };
    this.#entries.set(name, { ...entry, failure: { version: versionOf(meta), reason } });
  }

  /** What is known of it is for other nodes alone. */
  isElsewhere(name: string): boolean {
    return this.#entries.get(name)?.elsewhere !== undefined;
  }

  /** Those for this node, in order of their names. */
  good(): GoodObject<ObjectOf<K>>[] {
    return this.#inOrder().flatMap(([, { good }]) => good ?? []);
  }

  refused(): RefusedObject[] {
    return this.#inOrder().flatMap(([, { refusal }]) => refusal?.report ?? []);
  }

  findings(): Finding[] {
    return this.#inOrder().flatMap(([name, { refusal, failure, good, elsewhere }]): Finding[] => {
      const object = `${this.kind}/${name}`;
      if (refusal !== undefined) return refusalFindings(object, refusal);
      if (failure === undefined) return [];
      const rest =
        good === undefined && elsewhere === undefined
          ? 'nothing is known of it'
          : 'what was known of it stays in force';
      return [findingOf('ObjectUnread', `${object} could not be read: ${failure.reason}; ${rest}`, { object })];
    });
  }

  #sortOut(entry: Entry<ObjectOf<K>>): void {
    if (entry.good === undefined || this.#isForHere(entry.good.object)) return;
    const { kind, metadata, spec } = entry.good.object;
    const { nodeSelector } = spec as { nodeSelector?: unknown };
    entry.elsewhere = { apiVersion: API_VERSION, kind, metadata, spec: { nodeSelector } } as ObjectOf<K>;
    delete entry.good;
  }

  #inOrder(): [string, Entry<ObjectOf<K>>][] {
    return [...this.#entries].sort(([a], [b]) => compareText(a, b));
  }
}

/** What users write of an object: its metadata was checked by the server, and may have fields that this version does not know. */
function policyOf(kind: string, raw: KubeObject): unknown {
  const { name, uid, generation, creationTimestamp, labels, annotations } = raw.metadata;
  const metadata = { name, uid, generation, creationTimestamp, labels, annotations };
  return { apiVersion: API_VERSION, kind, metadata, spec: (raw as { spec?: unknown }).spec };
}

function refusalOf(
  kind: RefusedObject['kind'],
  { name, generation = 0 }: KubeMeta,
  problems: readonly Problem[],
  hasLastGood: boolean,
): Refusal {
  // The server prunes what its schema does not have: a field that is there and unknown here is of a newer schema.
  const unknown = problems.find(({ code }) => code === 'UnknownField');
  const problem = unknown ?? problems[0]!;
  const state = unknown === undefined ? 'Invalid' : 'UnknownField';
  const field = formatPath(problem.path);
  const message = field === '' ? problem.message : `${field}: ${problem.message}`;
  return { report: { kind, name, generation, state, message, hasLastGood }, problem };
}

function refusalFindings(object: string, { report, problem }: Refusal): Finding[] {
  const { generation, state, hasLastGood, message } = report;
  const remedy =
    state === 'UnknownField' ? 'Update the agent: the object is written for a newer version.' : problem.remedy;
  const field = formatPath(problem.path);
  const refused = findingOf(problem.code, `generation ${generation} of ${object} is refused: ${message}`, {
    severity: 'error',
    remedy,
    object,
    ...(field !== '' && { field }),
  });
  if (!hasLastGood) return [refused];
  const kept = `${object} stays in force as it was before generation ${generation}`;
  return [refused, findingOf('LastGoodKept', kept, { object })];
}
