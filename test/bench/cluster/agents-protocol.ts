/** What agents-child.ts is told and what it tells, over Node's own channel between parent and child. */
export type ToAgents =
  | {
      readonly type: 'start';
      readonly agents: readonly { readonly nodeName: string; readonly index: number; readonly kubeconfig: string }[];
      readonly interfaces: number;
      /** Agents start at random times within it. */
      readonly spreadMs: number;
    }
  /** From then on each of these nodes is scanned by a new source every `everyMs`; 0 ends that. */
  | { readonly type: 'scan'; readonly nodes: readonly string[]; readonly everyMs: number }
  | { readonly type: 'count' }
  | { readonly type: 'stop' };

export type FromAgents =
  /** Generations of policies that an agent got for the first time, on CLOCK_MONOTONIC, which processes share. */
  | { readonly type: 'snapshot'; readonly node: string; readonly atMs: number; readonly news: Record<string, number> }
  | { readonly type: 'counts'; readonly writes: Record<string, number>; readonly findings: readonly string[] }
  | { readonly type: 'failed'; readonly message: string };
