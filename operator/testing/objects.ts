import type { BlockReport, ListReport, PolicyReport } from '../../api/types/node-report.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { type StoredNode, storeNode } from '../stored/node.ts';
import { listStore, policyStore, type StoredList, type StoredPolicy } from '../stored/policy-object.ts';
import { reportStore, type StoredReport } from '../stored/report.ts';

let versions = 0;

const meta = (name: string, more: object = {}) => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: `${++versions}`,
  ...more,
});

export interface NodeParts {
  readonly labels?: Readonly<Record<string, string>>;
  readonly uid?: string;
  readonly ready?: boolean;
}

export function aNode(name: string, { labels = {}, uid = `uid-${name}`, ready = true }: NodeParts = {}): StoredNode {
  const status = { conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }] };
  return storeNode({ metadata: meta(name, { labels, uid }), status } as KubeObject);
}

export interface ReportParts {
  readonly policies?: readonly (Partial<PolicyReport> & { readonly name: string })[];
  readonly lists?: readonly (Partial<ListReport> & { readonly name: string })[];
  readonly blocks?: readonly (Partial<BlockReport> & { readonly source: string })[];
  readonly findings?: readonly object[];
  readonly state?: string;
  readonly breakGlass?: string;
  readonly nodeUid?: string;
  readonly writtenAt?: string;
}

export const writtenAt = '2026-01-01T00:00:00Z';

/** As an agent writes it and the API server keeps it; everything is Programmed in generation 1 unless said otherwise. */
export function rawReport(name: string, parts: ReportParts = {}): KubeObject {
  const entry = { generation: 1, state: 'Programmed' };
  const block = {
    policy: 'web',
    state: 'Blocked',
    probes: 15,
    ports: [22, 80],
    since: '2026-01-01T00:00:00Z',
    until: '2026-01-01T00:10:00Z',
    secondsLeft: 540,
  };
  const owner = { apiVersion: 'v1', kind: 'Node', name, uid: parts.nodeUid ?? `uid-${name}` };
  return {
    metadata: meta(name, {
      ownerReferences: [owner],
      managedFields: [{ manager: 'portcullis-agent', time: parts.writtenAt ?? writtenAt }],
    }),
    status: {
      observedAt: writtenAt,
      state: parts.state ?? 'Enforcing',
      ...(parts.breakGlass === undefined ? {} : { breakGlass: parts.breakGlass }),
      agent: { version: '1', startedAt: writtenAt },
      policies: (parts.policies ?? []).map((each) => ({ ...entry, ...each })),
      lists: (parts.lists ?? []).map((each) => ({ ...entry, ...each })),
      blocks: { blocked: 0, newest: (parts.blocks ?? []).map((each) => ({ ...block, ...each })) },
      findings: parts.findings ?? [],
    },
  } as KubeObject;
}

const storeReport = reportStore();
export const aReport = (name: string, parts?: ReportParts): StoredReport => storeReport(rawReport(name, parts));

export interface ObjectParts {
  readonly spec?: object;
  readonly generation?: number;
  readonly status?: object;
  readonly uid?: string;
}

export function aPolicy(name: string, { spec = {}, generation = 1, status, uid = `uid-${name}` }: ObjectParts = {}) {
  const object = { metadata: meta(name, { generation, uid }), spec: { mode: 'Enforce', ...spec }, status };
  return policyStore()(object as KubeObject) satisfies StoredPolicy;
}

export function aList(name: string, { spec = {}, generation = 1, status, uid = `uid-${name}` }: ObjectParts = {}) {
  return listStore()({ metadata: meta(name, { generation, uid }), spec, status } as KubeObject) satisfies StoredList;
}
