import { join } from 'node:path';
import { type Namespace, type TestNet, waitFor } from '../../test/support/namespaces.ts';

/** Shared address space (RFC 6598): no example list and no allow entry names these. */
export const addresses = { attacker: '100.66.6.6', honest: '100.77.7.7', victim: '100.80.0.80' } as const;

/** What the victim serves: a page on 80, and listeners that only a scan finds. */
export const openPorts = [22, 80, 179, 389, 443, 512, 631, 873, 989] as const;

export interface World {
  readonly attacker: Namespace;
  readonly honest: Namespace;
  readonly victim: Namespace;
}

/** Three hosts, each behind the same router: the victim sees strangers by way of its default route, as a server does. */
export async function buildWorld(net: TestNet): Promise<World> {
  const router = await net.namespace('router');
  await router.sysctl({ 'net.ipv4.ip_forward': 1 });
  const host = async (role: keyof typeof addresses) => {
    const namespace = await net.namespace(role);
    const gateway = addresses[role].replace(/\d+$/, '1');
    await net.veth(
      { namespace, name: 'eth0', addresses: [`${addresses[role]}/24`] },
      { namespace: router, name: role, addresses: [`${gateway}/24`] },
    );
    await namespace.ip(`route add default via ${gateway}`);
    return namespace;
  };
  const [attacker, honest, victim] = [await host('attacker'), await host('honest'), await host('victim')];
  const services = victim.spawnNode([join(import.meta.dirname, 'services.ts'), openPorts.join(',')]);
  await waitFor(() => services.stdout.includes('listening'), 10_000, { what: 'the services of the victim' });
  return { attacker, honest, victim };
}

/** What curl says of the victim's page from here: the status, or why there is none. */
export async function fetchPage(from: Namespace, maxSeconds = 2): Promise<string> {
  const result = await from.exec(
    [
      'curl',
      '-sS',
      '-o',
      '/dev/null',
      '-w',
      'HTTP %{http_code}',
      '--max-time',
      `${maxSeconds}`,
      `http://${addresses.victim}/`,
    ],
    { allowFailure: true },
  );
  return result.code === 0 ? result.stdout : result.stderr.trim();
}
