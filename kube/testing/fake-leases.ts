import type { KubeClient } from '../client.ts';
import type { Clock } from '../clock.ts';
import { KubeError } from '../errors.ts';
import type { Lease } from '../lease.ts';

/** What becomes of one request. */
export interface Fate {
  /** Until the server sees it; it does so also when the client has given up by then. */
  readonly requestMs?: number;
  /** From there until the client has the answer. */
  readonly answerMs?: number;
  /** `refused`: never arrives, and the client knows; `request` or `answer`: lost, and nobody knows. */
  readonly lost?: 'refused' | 'request' | 'answer';
  /** The client never gives up waiting, whatever its signal says. */
  readonly isDeaf?: boolean;
}

/** The leases of an API server, without the API server: resourceVersions, and 404 and 409 where they are due. */
export class FakeLeases {
  readonly #leases = new Map<string, Lease>();
  #revision = 0;
  requests = 0;

  get(name: string): Lease | undefined {
    return structuredClone(this.#leases.get(name));
  }

  /** As somebody with kubectl would. */
  edit(name: string, change: (lease: Lease) => Lease): void {
    const before = this.#leases.get(name);
    if (before !== undefined) this.#store(change(before));
  }

  delete(name: string): void {
    this.#leases.delete(name);
  }

  /** Puts an older state back, resourceVersions and all. */
  snapshot(): () => void {
    const leases = new Map(this.#leases);
    const revision = this.#revision;
    return () => {
      this.#leases.clear();
      for (const [name, lease] of leases) this.#leases.set(name, lease);
      this.#revision = revision;
    };
  }

  /** A connection to it. `clock` carries what is sent and answered, so that a stopped process hears nothing. */
  client(clock: Clock, fate: (verb: 'get' | 'create' | 'replace') => Fate = () => ({})): KubeClient {
    const send = (verb: 'get' | 'create' | 'replace', signal: AbortSignal | undefined, answer: () => Lease) =>
      new Promise<Lease>((resolve, reject) => {
        this.requests++;
        const { requestMs = 0, answerMs = 0, lost, isDeaf = false } = fate(verb);
        if (!isDeaf) {
          if (signal?.aborted) return reject(signal.reason);
          signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        }
        if (lost === 'refused') return reject(new KubeError({ message: `${verb}: refused`, code: 'ECONNREFUSED' }));
        if (lost === 'request') return;
        clock.startTimer(requestMs, () => {
          let deliver: () => void;
          try {
            const lease = answer();
            deliver = () => resolve(lease);
          } catch (error) {
            deliver = () => reject(error);
          }
          if (lost !== 'answer') clock.startTimer(answerMs, deliver);
        });
      });
    const client: Partial<KubeClient> = {
      server: 'fake',
      get: (_resource, name, at) => send('get', at?.signal, () => this.#existing(name)) as never,
      create: (_resource, object, at) => send('create', at?.signal, () => this.#create(object as Lease)) as never,
      replace: (_resource, object, at) => send('replace', at?.signal, () => this.#replace(object as Lease)) as never,
      reconnect: () => {},
    };
    return client as KubeClient;
  }

  #existing(name: string): Lease {
    const lease = this.#leases.get(name);
    if (lease === undefined) throw new KubeError({ message: 'not found', status: 404, reason: 'NotFound' });
    return structuredClone(lease);
  }

  #create(lease: Lease): Lease {
    if (this.#leases.has(lease.metadata.name)) {
      throw new KubeError({ message: 'exists', status: 409, reason: 'AlreadyExists' });
    }
    return this.#store({ ...lease, metadata: { ...lease.metadata, uid: `uid-${this.#revision}` } });
  }

  #replace(lease: Lease): Lease {
    const { metadata } = this.#existing(lease.metadata.name);
    if (lease.metadata.resourceVersion !== metadata.resourceVersion) {
      throw new KubeError({ message: 'the object has been modified', status: 409, reason: 'Conflict' });
    }
    return this.#store(lease);
  }

  #store(lease: Lease): Lease {
    const stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++this.#revision) } };
    this.#leases.set(lease.metadata.name, structuredClone(stored));
    return structuredClone(stored);
  }
}
