/** `blocked`: who is blocked, on which nodes, why and until when. */

import type { Prefix } from '../../api/cidr.ts';
import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { alignColumns, grouped } from '../../cli/format-text.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { blocksOf, type MergedBlock, mergeBlocks, type NodeBlock, newestFirst, overlaps } from '../blocks.ts';
import { collect, serverTime } from '../cluster.ts';
import { ago, inTime, plural, shortNames, shortPorts, structured } from '../output.ts';
import { type Context, exitCodes, type Structured } from './context.ts';

export interface BlockedOptions {
  readonly output: 'table' | 'wide' | Structured;
  readonly source?: Prefix | undefined;
  readonly node?: string | undefined;
  readonly policy?: string | undefined;
}

/** One item of `blocked -o json`: one source on one node. */
export interface BlockedDocument {
  readonly source: string;
  readonly node: string;
  /** `(manual)` where it was blocked by hand on the node itself. */
  readonly policy: string;
  readonly state: NodeBlock['state'];
  readonly proven: boolean | null;
  readonly interface: string | null;
  readonly probes: number;
  readonly ports: readonly number[];
  /** RFC 3339, by the API server's clock, exact to a second or two. */
  readonly since: string;
  /** The same. */
  readonly until: string;
  readonly endsInSeconds: number;
  readonly packetsDropped: number;
}

export async function blocked({ client, clock, io }: Context, options: BlockedOptions): Promise<number> {
  const time = await serverTime(client, clock);
  /** Nodes on which more is blocked than is listed. */
  let unlisted = 0;
  const keep = (object: KubeObject): NodeBlock[] | undefined => {
    const all = blocksOf(object, time.nowMs());
    if (isCut(object)) unlisted++;
    const wanted = all.filter((block) => isWanted(block, options));
    return wanted.length === 0 ? undefined : wanted;
  };
  let reports: (NodeBlock[] | undefined)[];
  if (options.node === undefined) {
    reports = await collect(client, resources.nodeReports, keep);
  } else {
    try {
      reports = [keep(await client.get(resources.nodeReports, options.node))];
    } catch (error) {
      if (!isNotFound(error) || !error.message.includes(`"${options.node}" not found`)) throw error;
      io.stderr(`No report of node ${options.node}: is the name right, and does an agent run there?\n`);
      return exitCodes.found;
    }
  }
  const found = reports.flatMap((one) => one ?? []);
  io.stdout(formatBlocked(found, options.output, time.nowMs()));
  if (unlisted > 0 && !isStructured(options.output)) {
    io.stderr(
      `${plural(unlisted, 'node')} blocked more sources than a report lists; on the node, portcullis-agent blocked shows all.\n`,
    );
  }
  return found.length === 0 && options.source !== undefined ? exitCodes.found : exitCodes.ok;
}

const isStructured = (output: BlockedOptions['output']): output is Structured => output === 'json' || output === 'yaml';

function isCut(object: KubeObject): boolean {
  const { blocks } = (object as { status?: { blocks?: Record<string, unknown> } }).status ?? {};
  const {
    blocked = 0,
    wouldBlock = 0,
    spared = 0,
    newest = [],
  } = (blocks ?? {}) as {
    blocked?: number;
    wouldBlock?: number;
    spared?: number;
    newest?: unknown[];
  };
  return blocked + wouldBlock + spared > newest.length;
}

function isWanted(block: NodeBlock, { source, policy }: BlockedOptions): boolean {
  if (policy !== undefined && block.policy !== policy) return false;
  return source === undefined || overlaps(parsePrefixOrAddress(block.source)!, source);
}

/** Pure; `nowMs` is the API server's time. */
export function formatBlocked(blocks: readonly NodeBlock[], output: BlockedOptions['output'], nowMs: number): string {
  if (isStructured(output))
    return structured(
      blocks.toSorted(newestFirst).map((block) => blockedDocument(block, nowMs)),
      output,
    );
  if (blocks.length === 0) return 'No source is blocked.\n';
  if (output === 'wide') {
    const rows = blocks
      .toSorted(newestFirst)
      .map((block) => [
        ...cells({ ...block, nodes: [block.node] }, true),
        block.interface ?? '-',
        block.proven === undefined ? '-' : block.proven ? 'yes' : 'no',
      ]);
    return alignColumns([[...titles(true), 'INTERFACE', 'PROVEN'], ...rows], new Set([4, 8]));
  }
  const merged = mergeBlocks(blocks);
  // A record that drops nothing must not be taken for a block.
  const withState = merged.some(({ state }) => state !== 'Blocked');
  const right = withState ? new Set([4, 8]) : new Set([3, 7]);
  return alignColumns([titles(withState), ...merged.map((block) => cells(block, withState))], right);
}

const titles = (withState: boolean): string[] => [
  'SOURCE',
  'POLICY',
  ...(withState ? ['STATE'] : []),
  'NODES',
  'PROBES',
  'PORTS',
  'SINCE',
  'UNTIL',
  'DROPPED',
];

const cells = (block: MergedBlock, withState: boolean): string[] => [
  block.source,
  block.policy,
  ...(withState ? [block.state] : []),
  shortNames(block.nodes),
  block.probes === 0 ? '-' : grouped(block.probes),
  shortPorts(block.ports),
  ago(block.startedAgoMs),
  inTime(block.endsInMs),
  grouped(block.packetsDropped),
];

/** `nowMs` is the API server's time. */
export function blockedDocument(block: NodeBlock, nowMs: number): BlockedDocument {
  const { source, node, policy, state, proven, probes, ports, startedAgoMs, endsInMs, packetsDropped } = block;
  return {
    source,
    node,
    policy,
    state,
    proven: proven ?? null,
    interface: block.interface ?? null,
    probes,
    ports,
    since: toSeconds(nowMs - startedAgoMs),
    until: toSeconds(nowMs + endsInMs),
    endsInSeconds: Math.ceil(endsInMs / 1000),
    packetsDropped,
  };
}

const toSeconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
