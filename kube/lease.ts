import type { KubeMeta, NewKubeObject } from './objects.ts';

/** coordination.k8s.io/v1, as far as it is read here. */
export interface LeaseSpec {
  /** Absent or empty: nobody has it. */
  readonly holderIdentity?: string;
  /** How long others have to leave the holder alone after its last sign of life. */
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  /** How often it went from one holder to another. */
  readonly leaseTransitions?: number;
}

export interface Lease {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: KubeMeta;
  readonly spec?: LeaseSpec;
}

export interface LeaseWriter {
  readonly identity: string;
  readonly leaseDurationMs: number;
  readonly wallMs: number;
}

/** V1MicroTime: the server wants six decimals. */
export const microTime = (wallMs: number): string => `${new Date(wallMs).toISOString().slice(0, -1)}000Z`;

export function newLease(namespace: string, name: string, writer: LeaseWriter): NewKubeObject & Lease {
  const now = microTime(writer.wallMs);
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace, name },
    spec: {
      holderIdentity: writer.identity,
      leaseDurationSeconds: Math.ceil(writer.leaseDurationMs / 1000),
      acquireTime: now,
      renewTime: now,
      leaseTransitions: 0,
    },
  };
}

/** The lease as this writer holds it. What others wrote beside it, labels for one, stays; so does the resourceVersion. */
export function heldLease(before: Lease, writer: LeaseWriter): NewKubeObject & Lease {
  const now = microTime(writer.wallMs);
  const { acquireTime, holderIdentity, leaseTransitions = 0 } = before.spec ?? {};
  const isRenewal = holderIdentity === writer.identity;
  return withSpec(before, {
    holderIdentity: writer.identity,
    leaseDurationSeconds: Math.ceil(writer.leaseDurationMs / 1000),
    acquireTime: (isRenewal && acquireTime) || now,
    renewTime: now,
    leaseTransitions: isRenewal ? leaseTransitions : leaseTransitions + 1,
  });
}

/** The lease as it is given away: whoever sees it may take it at once. */
export function releasedLease(before: Lease, wallMs: number): NewKubeObject & Lease {
  const now = microTime(wallMs);
  // 1 is the shortest that the server admits; it also frees a reader who looks at the time alone.
  return withSpec(before, { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now });
}

function withSpec(before: Lease, spec: LeaseSpec): NewKubeObject & Lease {
  return {
    ...before,
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    spec: { ...before.spec, ...spec },
  };
}
