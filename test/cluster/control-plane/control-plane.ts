import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning } from '../../support/is-running.ts';
import { waitFor } from '../../support/wait-for.ts';
import { type Binaries, controlPlaneBinaries } from './build.ts';
import { Cluster, type ClusterAddress, kubeconfigText } from './cluster.ts';
import { freePort } from './free-port.ts';
import { makePki, type Pki } from './pki.ts';
import { Service } from './service.ts';

export interface ControlPlaneOptions {
  /** Empty or not there yet; removed at the end. One below the folder for temporary files when absent. */
  readonly folder?: string;
  /**
   * File of the network namespace in which all of it runs, kubectl too; the API server then listens on all addresses there.
   * Without one it listens on 127.0.0.1 of this process's own namespace: a Relay brings it into others.
   */
  readonly netns?: string;
  /** With `netns`: addresses in there under which clients reach the API server. The first one becomes that of `server`. */
  readonly addresses?: readonly string[];
  /** Runs garbage collection and all the other loops too; another 120 MB. */
  readonly controllerManager?: boolean;
  readonly apiServerArgs?: readonly string[];
  /** Found or built when absent. */
  readonly binaries?: Binaries;
}

export interface EtcdSnapshot {
  readonly folder: string;
}

/** What the Service `kubernetes` leads to where nobody else says so: documentation's address, which nothing has (RFC 5737). */
const noAddress = '192.0.2.10';
const readyTimeoutMs = 60_000;
const folderName = /^pc-cluster-(\d+)-/;

interface Parts {
  readonly binaries: Binaries;
  readonly pki: Pki;
  readonly folder: string;
  readonly etcdPort: number;
  readonly apiPort: number;
}

/** etcd and an API server of its own for one test, or for a run of tests: `await using plane = await ControlPlane.start()`. */
export class ControlPlane extends Cluster implements AsyncDisposable {
  readonly #etcd: Service;
  readonly #apiServer: Service;
  readonly #controllerManager: Service | undefined;
  #snapshots = 0;
  readonly #onExit = () => this.#remove();

  private constructor(parts: Parts, options: ControlPlaneOptions, address: ClusterAddress) {
    super(address);
    const service = (name: string, argv: readonly string[]) =>
      new Service({ name, argv, folder: parts.folder, netns: options.netns });
    this.#etcd = service('etcd', etcdArgv(parts));
    this.#apiServer = service('kube-apiserver', apiServerArgv(parts, options));
    if (options.controllerManager) {
      const { kubeControllerManager } = parts.binaries;
      if (kubeControllerManager === undefined) throw new Error('KUBEBUILDER_ASSETS has no kube-controller-manager');
      const argv = controllerManagerArgv(kubeControllerManager, address.kubeconfig, parts.pki);
      this.#controllerManager = service('kube-controller-manager', argv);
    }
    process.on('exit', this.#onExit);
  }

  /**
   * Starts one and waits until it answers, some three seconds.
   * @throws ControlPlaneUnavailable when this machine has no programs for one; Error with the end of the logs when it does not start
   */
  static async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const binaries = options.binaries ?? (await controlPlaneBinaries());
    removeLeftFolders();
    for (let attempt = 1; ; attempt++) {
      const plane = await ControlPlane.#prepare(binaries, options);
      try {
        plane.#etcd.start();
        plane.#apiServer.start();
        await plane.#untilReady();
        plane.#controllerManager?.start();
        return plane;
      } catch (error) {
        const logs = [plane.#etcd, plane.#apiServer].map((service) => service.logTail());
        const portTaken = logs.some((log) => log.includes('address already in use'));
        await plane.stop();
        if (!portTaken || attempt === 3) throw error;
      }
    }
  }

  static async #prepare(binaries: Binaries, options: ControlPlaneOptions): Promise<ControlPlane> {
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), `pc-cluster-${process.pid}-`));
    mkdirSync(folder, { recursive: true });
    const { netns, addresses = [] } = options;
    const pki = await makePki(folder, { addresses });
    const [etcdPort, apiPort] = [await freePort(), await freePort()];
    const server = `https://${addresses[0] ?? '127.0.0.1'}:${apiPort}`;
    const kubeconfig = join(folder, 'admin.kubeconfig');
    const admin = { 'client-certificate': pki.adminCertFile, 'client-key': pki.adminKeyFile };
    writeFileSync(kubeconfig, kubeconfigText(server, pki.caFile, admin), { mode: 0o600 });
    return new ControlPlane({ binaries, pki, folder, etcdPort, apiPort }, options, {
      folder,
      kubectlPath: binaries.kubectl,
      server,
      caFile: pki.caFile,
      kubeconfig,
      serviceAccountKeyFile: pki.serviceAccountKeyFile,
      ...(netns === undefined ? {} : { netns }),
    });
  }

  /** Connections to it are refused from then on. */
  async stopApiServer(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#apiServer.stop(signal);
  }

  /** On the same port, with what etcd has. */
  async startApiServer(): Promise<void> {
    this.#apiServer.start();
    await this.#untilReady();
  }

  /** Connections stay open and nothing answers. */
  pauseApiServer(): void {
    this.#apiServer.signal('SIGSTOP');
  }

  resumeApiServer(): void {
    this.#apiServer.signal('SIGCONT');
  }

  async stopEtcd(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#etcd.stop(signal);
  }

  /** With the data that it had. Waits until the API server answers again, where that runs. */
  async startEtcd(): Promise<void> {
    this.#etcd.start();
    if (this.#apiServer.isRunning) await this.#untilReady();
  }

  /** The state of this moment. Nobody notices: etcd stands still for the milliseconds that the copy takes. */
  snapshotEtcd(): EtcdSnapshot {
    const folder = join(this.folder, `snapshot-${this.#snapshots++}`);
    // What a process that stands still has written is as a crash would leave it, and etcd starts from that.
    this.#etcd.whileFrozen(() => cpSync(etcdData(this.folder), folder, { recursive: true }));
    return { folder };
  }

  /**
   * Goes back to a snapshot as an administrator does: the API server is stopped, the data replaced, all started again. Revisions
   * then count on from that of the snapshot, and are given out a second time.
   */
  async restoreEtcd(snapshot: EtcdSnapshot): Promise<void> {
    await this.#apiServer.stop('SIGKILL');
    await this.#etcd.stop('SIGKILL');
    rmSync(etcdData(this.folder), { recursive: true, force: true });
    cpSync(snapshot.folder, etcdData(this.folder), { recursive: true });
    this.#etcd.start();
    await this.startApiServer();
  }

  /** Of the programs that run, by name: what a test wants to measure, or to kill by itself. */
  get pids(): Readonly<Record<string, number>> {
    const services = [this.#etcd, this.#apiServer, ...(this.#controllerManager ? [this.#controllerManager] : [])];
    return Object.fromEntries(services.flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid]])));
  }

  /** Ends all of it and removes its folder. Safe to call twice. */
  async stop(): Promise<void> {
    // Nothing of it is needed any more, so nothing needs to end in order.
    await Promise.all(
      [this.#controllerManager, this.#apiServer, this.#etcd].map((service) => service?.stop('SIGKILL')),
    );
    this.#remove();
    process.off('exit', this.#onExit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #untilReady(): Promise<void> {
    const ready = async () => {
      for (const service of [this.#etcd, this.#apiServer])
        if (!service.isRunning) throw new ServiceEnded(`${service.name} ended at its start:\n${service.logTail()}`);
      const { code } = await this.kubectl(['get', '--raw', '/readyz', '--request-timeout=2s']);
      // Namespaces come by a loop of the API server's own, after it is ready.
      return code === 0 && (await this.kubectl(['get', 'namespace', 'default', 'kube-system'])).code === 0;
    };
    let ended: ServiceEnded | undefined;
    await waitFor(
      () =>
        ready().catch((error: unknown) => {
          if (error instanceof ServiceEnded) ended = error;
          return ended !== undefined;
        }),
      readyTimeoutMs,
      { what: 'the API server', intervalMs: 50 },
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#apiServer.logTail()}`, { cause: error });
    });
    if (ended) throw ended;
  }

  /** Synchronous, since it also runs when the process exits. */
  #remove(): void {
    for (const service of [this.#controllerManager, this.#apiServer, this.#etcd]) service?.signal('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

class ServiceEnded extends Error {}

function etcdData(folder: string): string {
  return join(folder, 'etcd');
}

function etcdArgv({ binaries, folder, etcdPort }: Parts): readonly string[] {
  const url = `http://127.0.0.1:${etcdPort}`;
  // The only member talks to no peer: any free port will do.
  const peer = 'http://127.0.0.1:0';
  return [
    binaries.etcd,
    ...['--data-dir', etcdData(folder), '--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    // A crash of the machine may lose it all; a crash of etcd does not.
    '--unsafe-no-fsync',
  ];
}

function apiServerArgv({ binaries, pki, folder, etcdPort, apiPort }: Parts, options: ControlPlaneOptions) {
  const { netns, addresses = [], apiServerArgs = [] } = options;
  return [
    binaries.kubeApiserver,
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--bind-address=${netns === undefined ? '127.0.0.1' : '0.0.0.0'}`,
    `--secure-port=${apiPort}`,
    `--advertise-address=${addresses[0] ?? noAddress}`,
    `--cert-dir=${join(folder, 'certificates')}`,
    `--tls-cert-file=${pki.servingCertFile}`,
    `--tls-private-key-file=${pki.servingKeyFile}`,
    `--client-ca-file=${pki.caFile}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${pki.serviceAccountPublicKeyFile}`,
    `--service-account-signing-key-file=${pki.serviceAccountKeyFile}`,
    '--service-cluster-ip-range=10.96.0.0/24',
    '--allow-privileged=true',
    ...apiServerArgs,
  ];
}

function controllerManagerArgv(program: string, kubeconfig: string, pki: Pki): readonly string[] {
  return [
    program,
    ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map((flag) => `--${flag}=${kubeconfig}`),
    `--root-ca-file=${pki.caFile}`,
    `--service-account-private-key-file=${pki.serviceAccountKeyFile}`,
    // Nobody asks it for its health; several may run on one machine.
    '--secure-port=0',
    '--leader-elect=false',
    // Nodes here have no kubelet, which to that loop looks like an outage.
    '--controllers=*,-node-lifecycle-controller',
  ];
}

/** Removes folders of runs that were killed; their programs ended with them. */
export function removeLeftFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = folderName.exec(name)?.[1];
    if (pid !== undefined && !isRunning(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
