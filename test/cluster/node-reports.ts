import type { BlockReport, ListReport, PolicyReport } from '../../api/types/node-report.ts';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';

export interface ReportParts {
  readonly policies?: readonly (Partial<PolicyReport> & { readonly name: string })[];
  readonly lists?: readonly (Partial<ListReport> & { readonly name: string })[];
  readonly blocks?: readonly (Partial<BlockReport> & { readonly source: string; readonly policy: string })[];
  readonly findings?: readonly object[];
}

/** Writes the report of a node as its agent does; every policy and list is Programmed in generation 1 unless said otherwise. */
export async function writeReport(
  client: KubeClient,
  node: string,
  nodeUid: string,
  parts: ReportParts,
): Promise<void> {
  const now = Date.now();
  const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const block = {
    state: 'Blocked',
    probes: 15,
    ports: [22, 80],
    since: time(now - 1000),
    until: time(now + 600_000),
    secondsLeft: 600,
  };
  const blocks = (parts.blocks ?? []).map((each) => ({ ...block, ...each }));
  const report = {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'NodeReport',
    metadata: { name: node, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node, uid: nodeUid }] },
    status: {
      // To the millisecond, so that a renewal is a change.
      observedAt: new Date(now).toISOString(),
      state: 'Enforcing',
      agent: { version: '0', startedAt: time(now) },
      policies: (parts.policies ?? []).map((each) => ({ generation: 1, state: 'Programmed', ...each })),
      lists: (parts.lists ?? []).map((each) => ({ generation: 1, state: 'Programmed', ...each })),
      blocks: { blocked: blocks.filter(({ state }) => state === 'Blocked').length, newest: blocks },
      findings: parts.findings ?? [],
    },
  };
  await client.apply(resources.nodeReports, report, { fieldManager: 'portcullis-agent', force: true });
}
