import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlPlane } from '../../test/cluster/control-plane/control-plane.ts';
import { Relay } from '../../test/cluster/control-plane/relay.ts';
import { type Namespace, type TestNet, waitFor } from '../../test/support/namespaces.ts';
import { openPorts } from '../demo/world.ts';
import { keepRunning } from './kept-running.ts';
import { home, place } from './place.ts';
import { agentArgv, operatorArgv } from './programs.ts';

/** Shared address space (RFC 6598), which no example names. */
export const nodes = [
  { name: 'node-a', address: '100.80.1.10', podRange: '10.244.1.0/24' },
  { name: 'node-b', address: '100.80.2.10', podRange: '10.244.2.0/24' },
] as const;
export const attackerAddress = '100.66.6.6';

const namespace = 'portcullis-system';
const apiPort = 6443;
// As long as the certificates: nobody renews it here.
const tokenSeconds = 30 * 24 * 60 * 60;
const services = join(import.meta.dirname, '..', 'demo', 'services.ts');

export interface World {
  /** Stops the programs in order. The namespaces go with their net. */
  stop(): Promise<void>;
}

/** Two nodes, each with an agent and some services, an operator, and an attacker; all behind one router. */
export async function buildWorld(plane: ControlPlane, net: TestNet, metricsPort: number): Promise<World> {
  const router = await net.namespace('router');
  await router.sysctl({ 'net.ipv4.ip_forward': 1 });
  const attacker = await host(net, router, 'attacker', attackerAddress);
  symlinkSync(attacker.path, place.attacker);

  const operatorToken = await plane.tokenFor({
    namespace,
    serviceAccount: 'portcullis-operator',
    lifetimeSeconds: tokenSeconds,
  });
  const { kubeconfig } = plane.kubeconfigForToken(join(plane.folder, 'operator'), operatorToken);
  const programs = [
    keepRunning({
      name: 'operator',
      argv: operatorArgv({ kubeconfig, metricsAddress: `127.0.0.1:${metricsPort}` }),
      folder: place.logs,
    }),
  ];
  const relays: Relay[] = [];
  for (const { name, address, podRange } of nodes) {
    const node = await host(net, router, name, address);
    symlinkSync(node.path, join(home, name));
    await plane.createNode(name, { addresses: [address], podCIDRs: [podRange] });
    const listeners = node.spawnNode([services, openPorts.join()]);
    await waitFor(() => listeners.stdout.includes('listening'), 20_000, { what: `the services of ${name}` });
    const relay = await Relay.start(plane, { netns: node.path, port: apiPort });
    relays.push(relay);
    const token = await plane.tokenFor({
      namespace,
      serviceAccount: 'portcullis-agent',
      node: name,
      lifetimeSeconds: tokenSeconds,
    });
    const folder = join(plane.folder, name);
    const agent = plane.kubeconfigForToken(folder, token, relay.server);
    const argv = agentArgv({ node: name, kubeconfig: agent.kubeconfig, pinPath: net.pinPath(), folder });
    programs.push(keepRunning({ name, argv, folder: place.logs, netns: node.path }));
  }
  return {
    stop: async () => {
      await Promise.all(programs.map((program) => program.stop()));
      for (const relay of relays) await relay[Symbol.asyncDispose]();
    },
  };
}

/** A host behind the router: it sees strangers by way of its default route, as a server does. */
async function host(net: TestNet, router: Namespace, name: string, address: string): Promise<Namespace> {
  const namespace = await net.namespace(name);
  const gateway = address.replace(/\d+$/, '1');
  await net.veth(
    { namespace, name: 'eth0', addresses: [`${address}/24`] },
    { namespace: router, name, addresses: [`${gateway}/24`] },
  );
  await namespace.ip(`route add default via ${gateway}`);
  return namespace;
}
