/** `block SOURCE`: an IpBlocklist of one entry that ends by itself. */

import { formatPrefix, type Prefix } from '../../api/cidr.ts';
import { conditionOf } from '../../api/conditions.ts';
import { API_VERSION, type IpBlocklist } from '../../api/types.ts';
import { printable } from '../../cli/format-text.ts';
import { resources } from '../../kube/resources.ts';
import { type Missing, serverTime, until } from '../cluster.ts';
import { factsAbout } from '../coverage.ts';
import { inTime } from '../output.ts';
import { objectName, sourceText } from '../source.ts';
import { type Context, exitCodes, managedBy } from './context.ts';
import { applyObject, asYaml, expiryAt, type WrittenObject } from './write.ts';

export interface BlockOptions {
  readonly source: Prefix;
  readonly durationMs: number;
  readonly reason: string | undefined;
  /** Labels that a node must have; empty: all nodes. */
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly waitMs: number;
  readonly dryRun: boolean;
}

const everyMs = 1000;

/** Pure; `nowMs` is wall clock. */
export function listFor(options: BlockOptions, nowMs: number): WrittenObject {
  const { source, durationMs, reason, nodeLabels } = options;
  return {
    apiVersion: API_VERSION,
    kind: 'IpBlocklist',
    metadata: { name: objectName('block', source), labels: { ...managedBy } },
    spec: {
      ...(Object.keys(nodeLabels).length > 0 && { nodeSelector: { matchLabels: nodeLabels } }),
      mode: 'Enforce',
      entries: [
        {
          cidr: formatPrefix(source),
          ...(reason !== undefined && { reason }),
          expiresAt: expiryAt(nowMs, durationMs),
        },
      ],
    },
  };
}

/** `--dry-run`: needs no cluster. */
export function blockDryRun({ io, clock }: Pick<Context, 'io' | 'clock'>, options: BlockOptions): number {
  io.stdout(asYaml(listFor(options, clock.wallMs())));
  return exitCodes.ok;
}

export async function block(context: Context, options: BlockOptions): Promise<number> {
  const { client, clock, io } = context;
  const text = sourceText(options.source);
  const missing: Missing[] = [];
  const time = await serverTime(client, clock);
  const list = listFor(options, time.nowMs());
  const { name } = list.metadata;
  const { metadata } = await applyObject(context, resources.ipBlocklists, list);
  io.stdout(
    `IpBlocklist ${name}: all packets of ${text} are dropped on the interfaces of the default route; ends ${inTime(options.durationMs)}.\n`,
  );
  for (const { cidr, holds } of await factsAbout(client, options.source, missing)) {
    io.stderr(`Warning: ${cidr} (${holds}) is in the never-block set of the cluster and is not dropped.\n`);
  }
  for (const { what, reason } of missing) io.stderr(`Not looked at: ${what}: ${reason}\n`);
  let seen: IpBlocklist['status'];
  const isProgrammed = await until(clock, { waitMs: options.waitMs, everyMs }, async () => {
    seen = ((await client.get(resources.ipBlocklists, name)) as unknown as IpBlocklist).status;
    const programmed = conditionOf(seen?.conditions, 'Programmed');
    return programmed?.status === 'True' && (programmed.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  });
  if (isProgrammed) {
    io.stdout(`In force on ${seen?.summary ?? 'all'} nodes.\n`);
    return exitCodes.ok;
  }
  const condition = conditionOf(seen?.conditions, 'Programmed');
  const why =
    condition === undefined ? 'the operator has written no status yet' : `${condition.reason}: ${condition.message}`;
  io.stderr(
    printable(
      `Not in force everywhere yet: ${why}. kubectl wait --for=condition=Programmed ipblocklist/${name} waits for it.`,
    ),
  );
  io.stderr('\n');
  return exitCodes.found;
}
