import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kubeconfigText } from '../../test/cluster/control-plane/cluster.ts';
import { Relay } from '../../test/cluster/control-plane/relay.ts';
import type { NodeBinaries } from '../../test/cluster/real-nodes/build.ts';
import { RealCluster } from '../../test/cluster/real-nodes/real-cluster.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { openPorts } from '../demo/world.ts';
import { place } from './place.ts';

const root = join(import.meta.dirname, '..', '..');
const services = join(root, 'scripts', 'demo', 'services.ts');
const nodeCount = 2;

export interface WorldParts {
  readonly binaries: NodeBinaries;
  readonly helm: string;
  /** Archives that every node gets. */
  readonly images: readonly string[];
}

/** Nodes with images on them and some services that a scan finds, an attacker, and what a person needs to use it all. */
export class World implements AsyncDisposable {
  readonly #cluster: RealCluster;
  readonly #toApiServer: Relay;

  private constructor(cluster: RealCluster, toApiServer: Relay) {
    this.#cluster = cluster;
    this.#toApiServer = toApiServer;
  }

  static async start({ binaries, helm, images }: WorldParts): Promise<World> {
    const cluster = await RealCluster.start({ binaries });
    try {
      symlinkSync(cluster.plane.folder, place.logs);
      for (const image of images) await cluster.importImage(image);
      for (let i = 0; i < nodeCount; i++) {
        const node = await cluster.addNode();
        const listeners = node.host.spawnNode([services, openPorts.join()]);
        await waitFor(() => listeners.stdout.includes('listening'), 20_000, { what: `the services of ${node.name}` });
      }
      // The cluster's network is none of the machine's: who plays comes to the API server by a port of 127.0.0.1.
      const toApiServer = await Relay.start(cluster.plane);
      writeFileSync(place.kubeconfig, adminKubeconfig(cluster, toApiServer), { mode: 0o600 });
      fillBin(cluster, helm);
      return new World(cluster, toApiServer);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#toApiServer[Symbol.asyncDispose]();
    await this.#cluster.stop();
  }
}

function adminKubeconfig({ plane }: RealCluster, { server }: Relay): string {
  const user = {
    'client-certificate': join(plane.folder, 'admin.crt'),
    'client-key': join(plane.folder, 'admin.key'),
  };
  return kubeconfigText(server, plane.caFile, user);
}

function fillBin({ plane, stranger }: RealCluster, helm: string): void {
  mkdirSync(place.bin);
  symlinkSync(plane.kubectlPath, join(place.bin, 'kubectl'));
  symlinkSync(helm, join(place.bin, 'helm'));
  symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(place.bin, 'kubectl-portcullis'));
  symlinkSync(join(root, 'bin', 'kubectl_complete-portcullis'), join(place.bin, 'kubectl_complete-portcullis'));
  const attacker = join(place.bin, 'attacker');
  writeFileSync(
    attacker,
    `#!/bin/sh\n# Runs a command as somebody outside of the cluster.\nexec nsenter --net=${stranger.path} -- "$@"\n`,
  );
  chmodSync(attacker, 0o755);
}
