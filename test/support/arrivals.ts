import type { Namespace } from './namespaces.ts';

/**
 * Counts by nftables what arrives in a namespace. Its prerouting hook sits behind XDP and is nothing of ours, so what it
 * counts has reached the host.
 */
export class Arrivals {
  readonly #namespace: Namespace;

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  /** `counters`: a match of nftables by the name it is counted under, such as `ip protocol icmp`. */
  static async count(namespace: Namespace, counters: Readonly<Record<string, string>> = {}): Promise<Arrivals> {
    const named = Object.entries(counters);
    await namespace.exec(['nft', '-f', '-'], {
      input: `table inet arrivals {
        set ports4 { type ipv4_addr . inet_service; flags dynamic; size 65535; }
        set ports6 { type ipv6_addr . inet_service; flags dynamic; size 65535; }
        ${named.map(([name]) => `counter ${name} {}`).join('\n')}
        chain arrivals {
          type filter hook prerouting priority -450;
          ${named.map(([name, match]) => `${match} counter name ${name}`).join('\n')}
          meta l4proto tcp add @ports4 { ip saddr . tcp dport }
          meta l4proto tcp add @ports6 { ip6 saddr . tcp dport }
        }
      }`,
    });
    return new Arrivals(namespace);
  }

  /** Distinct TCP ports that packets of a source arrived for, by number. */
  async ports(source: string): Promise<readonly number[]> {
    const [set] = await this.#list<{ set?: { elem?: unknown[] } }>('set', source.includes(':') ? 'ports6' : 'ports4');
    return (set!.set!.elem ?? [])
      .map((element) => element as { concat: [string, number] })
      .filter(({ concat: [from] }) => from === source)
      .map(({ concat: [, port] }) => port)
      .sort((a, b) => a - b);
  }

  /** Packets counted under a name so far. */
  async packets(name: string): Promise<number> {
    const [counter] = await this.#list<{ counter?: { packets: number } }>('counter', name);
    return counter!.counter!.packets;
  }

  async #list<T extends object>(kind: 'set' | 'counter', name: string): Promise<readonly T[]> {
    const { stdout } = await this.#namespace.exec(['nft', '-j', 'list', kind, 'inet', 'arrivals', name]);
    return (JSON.parse(stdout) as { nftables: readonly T[] }).nftables.filter((each) => kind in each);
  }
}
