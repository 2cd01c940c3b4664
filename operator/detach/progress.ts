/** How far the agents are with a wish that all of them detach. Pure. */

export interface NodeSeen {
  readonly name: string;
  /** The Ready condition of the Node. */
  readonly isReady: boolean;
}

export interface ReportSeen {
  readonly node: string;
  /** `status.state` of the NodeReport. */
  readonly state: string;
  /** It has changed within the time in which an agent that runs renews it. */
  readonly isFresh: boolean;
}

export interface DetachProgress {
  readonly detached: readonly string[];
  /** Whose agents answer and have not done it yet, with what they say they do. */
  readonly waiting: readonly { readonly node: string; readonly state: string }[];
  /** Of whom nothing can be awaited, and why. What was attached there goes on. */
  readonly unanswered: readonly { readonly node: string; readonly why: string }[];
}

/** Nodes in order of name. Reports of Nodes that are gone do not count: there is nobody left who could detach. */
export function detachProgress(nodes: readonly NodeSeen[], reports: readonly ReportSeen[]): DetachProgress {
  const reportOf = new Map(reports.map((report) => [report.node, report]));
  const detached: string[] = [];
  const waiting: { node: string; state: string }[] = [];
  const unanswered: { node: string; why: string }[] = [];
  for (const { name: node, isReady } of nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const report = reportOf.get(node);
    if (report === undefined) unanswered.push({ node, why: 'no agent has ever reported' });
    else if (report.state === 'Detached') detached.push(node);
    else if (!report.isFresh) unanswered.push({ node, why: `its report is old, and said ${report.state}` });
    // Its report looks fresh for minutes after it went down.
    else if (!isReady) unanswered.push({ node, why: `the Node is not ready; its report said ${report.state}` });
    else waiting.push({ node, state: report.state });
  }
  return { detached, waiting, unanswered };
}

/** One line for each node that is not detached, and a last one with the sums. */
export function describeProgress({ detached, waiting, unanswered }: DetachProgress): readonly string[] {
  return [
    ...waiting.map(({ node, state }) => `${node}: not detached; its agent answers and says ${state}`),
    ...unanswered.map(({ node, why }) => `${node}: not detached; ${why}. On the node: rm -r /sys/fs/bpf/portcullis`),
    `${detached.length} detached, ${waiting.length} not, ${unanswered.length} without an answer`,
  ];
}
