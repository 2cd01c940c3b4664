import { contains, formatPrefix, masked, type Prefix, parsePrefix } from '../api/cidr.ts';
import { conditionOf } from '../api/conditions.ts';
import { parseTime } from '../api/time.ts';
import type { ClusterFacts, IpBlocklist, PortScanPolicy, PrefixChunk, SourceException } from '../api/types.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import type { KubeObject } from '../kube/objects.ts';
import { resources } from '../kube/resources.ts';
import { collect, type Missing, mapBounded, orMissing } from './cluster.ts';
import { managedBy } from './commands/context.ts';

/** Chunks have up to 256 KiB each, and are read and forgotten. */
const parallelChunks = 4;

/** A prefix out of a list, a policy or an exception. */
export interface Hit {
  readonly cidr: string;
  readonly reason?: string;
  /** RFC 3339; absent: for ever. */
  readonly expiresAt?: string;
}

/** An IpBlocklist that concerns the source. */
export interface ListHit {
  readonly name: string;
  readonly mode: string;
  readonly traffic: string;
  /** Whether an entry covers the whole source. */
  readonly covers: boolean;
  /** Of the spec; those that cover the source, and those inside of it where it is a prefix. At most 20. */
  readonly entries: readonly Hit[];
  /** The same out of ConfigMaps. At most 20. */
  readonly fromConfigMaps: readonly string[];
  /** Exceptions of the list itself that cover the source: then the list does not drop it. */
  readonly except: readonly Hit[];
  readonly programmed: string;
  /** Such as 3/3. */
  readonly nodes: string;
  /** Made by the command block: to be deleted as a whole. */
  readonly isByHand: boolean;
}

export interface ExceptionHit extends Hit {
  readonly name: string;
  /** Empty: all of them. */
  readonly policies: readonly string[];
  readonly covers: boolean;
}

export interface FactHit {
  readonly cidr: string;
  /** What the address is, such as Nodes. */
  readonly holds: ClusterFacts['spec']['holds'];
  readonly covers: boolean;
}

export interface PolicyFacts {
  readonly name: string;
  readonly mode: string;
  /** What of its `allow` covers the source. */
  readonly allow: readonly Hit[];
}

const shownEntries = 20;

/** Every prefix that contains the given one, as text: membership is a look-up then, also among a million lines. */
export function coveringPrefixes(source: Prefix): ReadonlySet<string> {
  const wider = Array.from({ length: source.length + 1 }, (_, length) => formatPrefix(masked({ ...source, length })));
  return new Set(wider);
}

/** Tells of each prefix text whether it covers the source, lies inside of it, or neither. */
export function relationTo(source: Prefix): (cidr: string) => 'covers' | 'inside' | undefined {
  const covering = coveringPrefixes(source);
  const isSingle = source.length === (source.family === 4 ? 32 : 128);
  return (cidr) => {
    if (covering.has(cidr)) return 'covers';
    if (isSingle) return undefined;
    const prefix = parsePrefix(cidr);
    return prefix !== undefined && contains(source, prefix) ? 'inside' : undefined;
  };
}

type Relation = ReturnType<typeof relationTo>;

const isUnexpired =
  (nowMs: number) =>
  ({ expiresAt }: Hit): boolean =>
    expiresAt === undefined || (parseTime(expiresAt) ?? 0) > nowMs;

const hitOf = ({ cidr, reason, expiresAt }: Hit): Hit => ({
  cidr,
  ...(reason !== undefined && reason !== '' && { reason }),
  ...(expiresAt !== undefined && { expiresAt }),
});

/** The lists that concern the source, with what the ConfigMaps that they name bring. */
export async function listsAbout(
  client: KubeClient,
  source: Prefix,
  nowMs: number,
  missing: Missing[],
): Promise<ListHit[]> {
  const relation = relationTo(source);
  const seen = await orMissing(
    'IpBlocklists',
    missing,
    collect(client, resources.ipBlocklists, (object) => seenList(object, relation, nowMs)),
    [],
  );
  const hits: ListHit[] = [];
  for (const { hit, chunks } of seen) {
    const work = chunkHits(client, chunks, relation);
    const lines = await orMissing(`PrefixChunks of ${hit.name}`, missing, work, { cidrs: [], covers: false });
    const whole = { ...hit, covers: hit.covers || lines.covers, fromConfigMaps: lines.cidrs };
    if (whole.covers || whole.entries.length > 0 || whole.fromConfigMaps.length > 0) hits.push(whole);
  }
  return hits.sort(byName);
}

function seenList(object: KubeObject, relation: Relation, nowMs: number) {
  const { metadata, spec, status } = object as unknown as IpBlocklist;
  const live = isUnexpired(nowMs);
  const entries = (spec?.entries ?? []).filter((entry) => relation(entry.cidr) !== undefined && live(entry));
  const programmed = conditionOf(status?.conditions, 'Programmed');
  const hit: ListHit = {
    name: metadata.name,
    mode: spec?.mode ?? 'Enforce',
    traffic: spec?.traffic ?? 'All',
    covers: entries.some(({ cidr }) => relation(cidr) === 'covers'),
    entries: entries.slice(0, shownEntries).map(hitOf),
    fromConfigMaps: [],
    except: (spec?.except ?? []).filter((entry) => relation(entry.cidr) === 'covers' && live(entry)).map(hitOf),
    programmed: programmed?.status ?? 'Unknown',
    nodes: status?.summary ?? '-',
    isByHand: Object.entries(managedBy).every(([key, value]) => metadata.labels?.[key] === value),
  };
  return { hit, chunks: status?.prefixSet?.chunks ?? [] };
}

async function chunkHits(client: KubeClient, names: readonly string[], relation: Relation) {
  const found = await mapBounded(names, parallelChunks, async (name) => {
    try {
      const { spec } = (await client.get(resources.prefixChunks, name)) as unknown as PrefixChunk;
      return prefixesAbout(spec?.prefixes ?? '', relation);
    } catch (error) {
      // Replaced by another between the two requests; the list says so soon.
      if (!isNotFound(error)) throw error;
      return { cidrs: [], covers: false };
    }
  });
  return {
    cidrs: found.flatMap(({ cidrs }) => cidrs).slice(0, shownEntries),
    covers: found.some(({ covers }) => covers),
  };
}

/** Of the lines of a chunk. */
export function prefixesAbout(lines: string, relation: Relation): { cidrs: string[]; covers: boolean } {
  const cidrs: string[] = [];
  let covers = false;
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf('\n', at);
    const cidr = lines.slice(at, end === -1 ? undefined : end);
    at = end === -1 ? lines.length : end + 1;
    const how = relation(cidr);
    if (how === undefined) continue;
    covers ||= how === 'covers';
    if (cidrs.length < shownEntries) cidrs.push(cidr);
  }
  return { cidrs, covers };
}

export async function exceptionsAbout(
  client: KubeClient,
  source: Prefix,
  nowMs: number,
  missing: Missing[],
): Promise<ExceptionHit[]> {
  const relation = relationTo(source);
  const live = isUnexpired(nowMs);
  const keep = (object: KubeObject): ExceptionHit | undefined => {
    const { metadata, spec } = object as unknown as SourceException;
    const how = relation(spec?.source ?? '');
    if (how === undefined) return undefined;
    const hit = hitOf({ ...spec, cidr: spec.source });
    return live(hit)
      ? { name: metadata.name, ...hit, policies: spec.policies ?? [], covers: how === 'covers' }
      : undefined;
  };
  const found = await orMissing('SourceExceptions', missing, collect(client, resources.sourceExceptions, keep), []);
  return found.sort(byName);
}

export async function factsAbout(client: KubeClient, source: Prefix, missing: Missing[]): Promise<FactHit[]> {
  const relation = relationTo(source);
  const keep = (object: KubeObject): FactHit[] | undefined => {
    const { spec } = object as unknown as ClusterFacts;
    const hits = (spec?.prefixes ?? []).flatMap((cidr): FactHit[] => {
      const how = relation(cidr);
      return how === undefined ? [] : [{ cidr, holds: spec.holds, covers: how === 'covers' }];
    });
    return hits.length === 0 ? undefined : hits.slice(0, shownEntries);
  };
  const found = await orMissing('ClusterFacts', missing, collect(client, resources.clusterFacts, keep), []);
  return found.flat();
}

export async function policyFacts(
  client: KubeClient,
  source: Prefix,
  nowMs: number,
  missing: Missing[],
): Promise<PolicyFacts[]> {
  const relation = relationTo(source);
  const live = isUnexpired(nowMs);
  const keep = (object: KubeObject): PolicyFacts => {
    const { metadata, spec } = object as unknown as PortScanPolicy;
    const allow = (spec?.allow ?? []).filter((entry) => relation(entry.cidr) === 'covers' && live(entry));
    return { name: metadata.name, mode: spec?.mode ?? '', allow: allow.map(hitOf) };
  };
  const found = await orMissing('PortScanPolicies', missing, collect(client, resources.portScanPolicies, keep), []);
  return found.sort(byName);
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1);
