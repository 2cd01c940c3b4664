import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeClient } from '../client.ts';
import { type KubeClientOptions, openKubeClient } from '../http-client.ts';
import { type Change, Reflector, type ReflectorLog, type ReflectorOptions, type RestartReason } from '../reflector.ts';
import { resources } from '../resources.ts';
import { FaultServer, type FaultServerOptions } from './fault-server.ts';
import type { StoredObject } from './object-store.ts';
import { makeCertificate } from './tls.ts';

let certificate: ReturnType<typeof makeCertificate> | undefined;

/** One for all servers of a test file: openssl takes longer than most of the tests. */
export const sharedCertificate = () => {
  certificate ??= makeCertificate();
  return certificate;
};

/** Waits are short. Nothing is taken for silent or healthy because the machine is busy: tests of those say so. */
export const fastTimings = {
  baseBackoffMs: 10,
  maxBackoffMs: 80,
  healthyMs: 60_000,
  silentMs: 60_000,
  probeTimeoutMs: 1000,
  resyncMs: 20,
};

/** Three minutes become 150 ms. */
export const silentSoon = { healthyMs: 40, silentMs: 150, probeTimeoutMs: 100 };

/** Resolves when `condition` holds; rejects with what it last saw after 20 seconds. */
export async function until(condition: () => boolean, what: string | (() => string) = 'condition'): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`still not true: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A server with faults, a client in a "pod", and reflectors on them; close() ends all and checks that no stream is left. */
export class Room {
  readonly server: FaultServer;
  readonly folder = mkdtempSync(join(tmpdir(), 'portcullis-pod-'));
  readonly logs: ReflectorLog[] = [];
  readonly restarts: RestartReason[] = [];
  listFailures = 0;
  handlerErrors = 0;
  client!: KubeClient;
  readonly #stop = new AbortController();
  readonly #runs: Promise<void>[] = [];

  constructor(options: FaultServerOptions = {}) {
    this.server = new FaultServer({ certificate: sharedCertificate(), bookmarkMs: 20, ...options });
  }

  async open(options: Partial<KubeClientOptions> = {}): Promise<this> {
    await this.server.start();
    this.writeToken('first');
    writeFileSync(join(this.folder, 'ca.crt'), this.server.certificate.cert);
    this.client = await this.anotherClient(options);
    return this;
  }

  anotherClient(options: Partial<KubeClientOptions> = {}): Promise<KubeClient> {
    const { hostname, port } = new URL(this.server.url);
    return openKubeClient({
      userAgent: 'portcullis-test',
      env: { KUBERNETES_SERVICE_HOST: hostname.replace(/[[\]]/g, ''), KUBERNETES_SERVICE_PORT: port },
      serviceAccountFolder: this.folder,
      requestTimeoutMs: 5000,
      reconnectGraceMs: 20,
      ...options,
    });
  }

  writeToken(token: string): void {
    writeFileSync(join(this.folder, 'token'), `${token}\n`);
  }

  reflector(options: Partial<ReflectorOptions<StoredObject>> = {}): Reflector<StoredObject> {
    return new Reflector<StoredObject>({
      client: this.client,
      resource: resources.portScanPolicies,
      name: 'policies',
      onChange: () => {},
      log: (entry) => this.logs.push(entry),
      metrics: {
        track: () => () => {},
        restarted: (_name, reason) => this.restarts.push(reason),
        listFailed: () => this.listFailures++,
        handlerFailed: () => this.handlerErrors++,
      },
      ...options,
      timings: { ...fastTimings, ...options.timings },
    });
  }

  /** Runs until close(). */
  run(reflector: Reflector<StoredObject>): Reflector<StoredObject> {
    this.#runs.push(reflector.run(this.#stop.signal));
    return reflector;
  }

  /** A running reflector that has listed and watches, with the changes that it told. */
  async watching(
    options: Partial<ReflectorOptions<StoredObject>> = {},
  ): Promise<{ reflector: Reflector<StoredObject>; changes: Change<StoredObject>[] }> {
    const changes: Change<StoredObject>[] = [];
    const before = this.server.seen('watch').length;
    const reflector = this.run(this.reflector({ onChange: (change) => changes.push(change), ...options }));
    await until(() => reflector.hasSynced && this.server.seen('watch').length > before, 'watching');
    return { reflector, changes };
  }

  /** The copy holds what the server holds: the same objects in the same states. */
  async converged(reflector: Reflector<StoredObject>): Promise<void> {
    await until(
      () => this.holdsAll(reflector),
      () =>
        `copy ${[...reflector.items.keys()].slice(0, 20)}, server ${[...this.server.store.objects.keys()].slice(0, 20)}`,
    );
  }

  holdsAll(reflector: Reflector<StoredObject>): boolean {
    const { objects } = this.server.store;
    if (reflector.items.size !== objects.size) return false;
    for (const [name, { metadata, spec }] of objects) {
      const held = reflector.items.get(name);
      if (held === undefined || held.metadata.uid !== metadata.uid) return false;
      if (held.metadata.resourceVersion !== metadata.resourceVersion) return false;
      if (JSON.stringify(held.spec) !== JSON.stringify(spec)) return false;
    }
    return true;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#runs);
    await this.client?.close();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** `type name`, the shape in which tests compare changes. */
export const told = (changes: readonly Change<StoredObject>[]): string[] =>
  changes.map(({ type, object }) => `${type} ${object.metadata.name}`);
