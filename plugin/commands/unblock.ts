/** `unblock SOURCE`: a SourceException with an end, and then a look whether the nodes have heard of it. */

import { manualBlockPolicy } from '../../agent/report/node-report.ts';
import { contains, formatPrefix, type Prefix, parsePrefixOrAddress } from '../../api/cidr.ts';
import { API_VERSION } from '../../api/types.ts';
import { printable } from '../../cli/format-text.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { blocksOf, overlaps, seenReport } from '../blocks.ts';
import { collect, type Missing, mapBounded, orMissing, serverTime, until } from '../cluster.ts';
import { factsAbout, listsAbout, policyFacts } from '../coverage.ts';
import { inTime, plural, shortNames } from '../output.ts';
import { objectName, sourceText } from '../source.ts';
import { type Context, exitCodes, managedBy } from './context.ts';
import { applyObject, asYaml, expiryAt, type WrittenObject } from './write.ts';

export interface UnblockOptions {
  readonly source: Prefix;
  readonly durationMs: number;
  /** Empty: all policies. */
  readonly policies: readonly string[];
  readonly reason: string | undefined;
  /** How long to wait for the nodes. */
  readonly waitMs: number;
  readonly dryRun: boolean;
}

const everyMs = 1000;
const parallelGets = 10;

/** Pure; `nowMs` is wall clock. */
export function exceptionFor(options: UnblockOptions, nowMs: number): WrittenObject {
  const { source, durationMs, policies, reason } = options;
  return {
    apiVersion: API_VERSION,
    kind: 'SourceException',
    metadata: { name: objectName('unblock', source), labels: { ...managedBy } },
    spec: {
      source: formatPrefix(source),
      ...(policies.length > 0 && { policies }),
      ...(reason !== undefined && { reason }),
      expiresAt: expiryAt(nowMs, durationMs),
    },
  };
}

/** What one node says of the source. */
export interface NodeView {
  readonly node: string;
  /** The exception is in force there. */
  readonly isExcepted: boolean;
  /** A block that the exception is to lift is still reported. */
  readonly isBlocked: boolean;
  /** A block of a wider prefix around the source: it stays for the others in it. */
  readonly wider: readonly string[];
}

/** Pure. */
export function viewOf(object: KubeObject, options: UnblockOptions, name: string, serverNowMs: number): NodeView {
  const { source, policies } = options;
  const about = blocksOf(object, serverNowMs).filter(
    (block) =>
      block.state === 'Blocked' &&
      block.policy !== manualBlockPolicy &&
      (policies.length === 0 || policies.includes(block.policy)) &&
      overlaps(parsePrefixOrAddress(block.source)!, source),
  );
  const inside = about.filter((block) => contains(source, parsePrefixOrAddress(block.source)!));
  return {
    node: object.metadata.name,
    isExcepted: seenReport(object, serverNowMs).exceptions.includes(name),
    isBlocked: inside.length > 0,
    wider: about.filter((block) => !inside.includes(block)).map((block) => block.source),
  };
}

export async function unblock(context: Context, options: UnblockOptions): Promise<number> {
  const { client, clock, io } = context;
  const { source, policies, waitMs } = options;
  const text = sourceText(source);
  const missing: Missing[] = [];
  const time = await serverTime(client, clock);
  const exception = exceptionFor(options, time.nowMs());
  const { name } = exception.metadata;
  const isConcerned = (object: KubeObject): NodeView | undefined => {
    const view = viewOf(object, options, name, time.nowMs());
    return view.isBlocked || view.wider.length > 0 ? view : undefined;
  };
  // Before the exception, so that it is known who has to act; without the right to look, the exception is written as well.
  const before = await orMissing('NodeReports', missing, collect(client, resources.nodeReports, isConcerned), []);
  await applyObject(context, resources.sourceExceptions, exception);
  const ends = inTime(options.durationMs);
  const whom = policies.length === 0 ? 'all policies' : policies.join(', ');
  io.stdout(`SourceException ${name}: ${text} is let in by ${whom}; ends ${ends}.\n`);
  await warnOfOthers(context, options, time.nowMs(), missing);
  const code = await follow(context, before, { name, waitMs, options, nowMs: () => time.nowMs(), missing });
  for (const { what, reason } of missing) io.stderr(`Not looked at: ${what}: ${reason}\n`);
  return code;
}

/** `--dry-run`: needs no cluster. */
export function unblockDryRun({ io, clock }: Pick<Context, 'io' | 'clock'>, options: UnblockOptions): number {
  io.stdout(asYaml(exceptionFor(options, clock.wallMs())));
  return exitCodes.ok;
}

async function follow(
  { client, clock, io }: Context,
  before: readonly NodeView[],
  more: {
    readonly name: string;
    readonly waitMs: number;
    readonly options: UnblockOptions;
    readonly nowMs: () => number;
    readonly missing: readonly Missing[];
  },
): Promise<number> {
  const text = sourceText(more.options.source);
  if (more.missing.some(({ what }) => what === 'NodeReports')) return exitCodes.ok;
  if (before.length === 0) {
    io.stdout(`No node reports a block of ${text} now (each lists its newest 20).\n`);
    return exitCodes.ok;
  }
  let waiting: readonly NodeView[] = before;
  const isOver = await until(clock, { waitMs: more.waitMs, everyMs }, async () => {
    const views = await mapBounded(waiting, parallelGets, async ({ node }) => {
      try {
        const report = await client.get(resources.nodeReports, node);
        return viewOf(report, more.options, more.name, more.nowMs());
      } catch (error) {
        // A Node that is gone blocks nobody.
        if (!isNotFound(error)) throw error;
        return undefined;
      }
    });
    // Where the block has ended by itself there is nothing to lift; a wider one stays, and the exception must be seen.
    waiting = views.filter((view): view is NodeView => {
      if (view === undefined) return false;
      return view.isBlocked || (view.wider.length > 0 && !view.isExcepted);
    });
    return waiting.length === 0;
  });
  const wider = [...new Set(before.flatMap((view) => view.wider))];
  if (wider.length > 0) {
    io.stdout(`${printable(shortNames(wider, 3))} stays blocked for the other addresses in it.\n`);
  }
  if (isOver) {
    io.stdout(`Let in on ${plural(before.length, 'node')} that had blocked it: ${printable(names(before))}.\n`);
    return exitCodes.ok;
  }
  io.stderr(
    `Still blocked by the newest report of ${printable(names(waiting))}. The exception stands, and is in force there as soon as the agent hears of it; kubectl portcullis explain ${text} tells more.\n`,
  );
  return exitCodes.found;
}

const names = (views: readonly NodeView[]): string =>
  shortNames(
    views.map(({ node }) => node),
    5,
  );

/** What the exception does not change. */
async function warnOfOthers(
  { client, io }: Context,
  { source, policies }: UnblockOptions,
  nowMs: number,
  missing: Missing[],
): Promise<void> {
  const text = sourceText(source);
  for (const list of await listsAbout(client, source, nowMs, missing)) {
    if (list.mode !== 'Enforce' || list.except.length > 0) continue;
    const entries = shortNames([...list.entries.map(({ cidr }) => cidr), ...list.fromConfigMaps], 3);
    const end = list.isByHand
      ? `kubectl delete ipblocklist ${list.name} ends that`
      : `add it to spec.except of that list`;
    io.stderr(
      printable(
        `Warning: ${text} is still dropped by IpBlocklist ${list.name} (${entries}), which an exception does not weaken: ${end}.`,
      ),
    );
    io.stderr('\n');
  }
  if ((await factsAbout(client, source, missing)).some(({ covers }) => covers)) {
    io.stderr(`Note: ${text} is in the never-block set of the cluster, so it is not dropped anyway.\n`);
  }
  if (policies.length === 0) return;
  const known = (await policyFacts(client, source, nowMs, missing)).map(({ name }) => name);
  for (const name of policies.filter((each) => !known.includes(each))) {
    if (!missing.some(({ what }) => what === 'PortScanPolicies')) {
      io.stderr(`Warning: there is no PortScanPolicy ${printable(name)}; the exception says nothing about others.\n`);
    }
  }
}
