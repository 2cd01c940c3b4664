import type { KubeClient } from '../../kube/client.ts';
import type { Clock } from '../../kube/clock.ts';
import type { Io } from '../output.ts';

/** What every command that asks the API server is given. */
export interface Context {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly io: Io;
}

export type Structured = 'json' | 'yaml';

/** As the commands end: 0 is well, 1 means that something was found, or that nothing was. */
export const exitCodes = { ok: 0, found: 1, usage: 2, api: 3 } as const;

export const fieldManager = 'kubectl-portcullis';
/** By this the operator knows what it may delete when its time is over. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'kubectl-portcullis' } as const;
