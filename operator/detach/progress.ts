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
  /** It is Detached because of an uninstallation, and not by break-glass. */
  readonly isUninstalled: boolean;
  /** It was written within the time in which an agent that runs renews it. */
  readonly isFresh: boolean;
  /** It was written after the wish; where there is none, it is fresh. */
  readonly isAnswer: boolean;
}

export interface DetachProgress {
  readonly detached: readonly string[];
  /** Who is to do something yet, and what is known of it. */
  readonly waiting: readonly { readonly node: string; readonly why: string }[];
  /** Of whom nothing can be awaited, and why. What was attached there goes on. */
  readonly unanswered: readonly { readonly node: string; readonly why: string }[];
}

type Standing = keyof DetachProgress;

/**
 * Nodes in order of name. Reports of Nodes that are gone do not count: there is nobody left who could detach. With `isPatient`
 * also those are waited for who should be heard again in a moment, though they need not be.
 */
export function detachProgress(
  nodes: readonly NodeSeen[],
  reports: readonly ReportSeen[],
  { isPatient }: { readonly isPatient: boolean },
): DetachProgress {
  const reportOf = new Map(reports.map((report) => [report.node, report]));
  const progress = { detached: [] as string[], waiting: [] as Told[], unanswered: [] as Told[] };
  for (const { name: node, isReady } of nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const [standing, why] = standingOf(reportOf.get(node), isReady, isPatient);
    if (standing === 'detached') progress.detached.push(node);
    else progress[standing].push({ node, why });
  }
  return progress;
}

interface Told {
  readonly node: string;
  readonly why: string;
}

function standingOf(report: ReportSeen | undefined, isReady: boolean, isPatient: boolean): [Standing, string] {
  if (report === undefined) return ['unanswered', 'no agent has ever reported'];
  const { state, isUninstalled, isFresh, isAnswer } = report;
  // Also when the node went down since.
  if (state === 'Detached' && isAnswer && isUninstalled) return ['detached', ''];
  if (!isFresh) return ['unanswered', `its report is old, and said ${state}`];
  // Its report looks fresh for minutes after it went down.
  if (!isReady) return ['unanswered', `the Node is not ready; its report said ${state}`];
  if (state !== 'Detached') return ['waiting', `its agent answers and says ${state}`];
  if (isUninstalled) {
    // Its agent may be one that has come since, and is about to say so; where none has come, it is gone.
    const why = 'its report is of an earlier uninstallation';
    return [isPatient ? 'waiting' : 'unanswered', why];
  }
  // An agent that knows leaves nothing behind when it ends; an older one, which never will, has detached all the same.
  return isPatient ? ['waiting', 'detached by break-glass, and not heard of the wish'] : ['detached', ''];
}

/** One line for each node that is not detached, and a last one with the sums. */
export function describeProgress(progress: DetachProgress): readonly string[] {
  const { waiting, unanswered } = progress;
  return [
    ...waiting.map(({ node, why }) => `${node}: not detached; ${why}`),
    ...unanswered.map(({ node, why }) => `${node}: not detached; ${why}. On the node: rm -r /sys/fs/bpf/portcullis`),
    sumsOf(progress),
  ];
}

export const sumsOf = ({ detached, waiting, unanswered }: DetachProgress): string =>
  `${detached.length} detached, ${waiting.length} not, ${unanswered.length} without an answer`;
