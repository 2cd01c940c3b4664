/** What the machine looks like at one moment; agent/host/ builds a stream of these, resolve() reads them. */
export interface HostSnapshot {
  readonly links: readonly HostLink[];
  readonly addresses: readonly HostAddress[];
  readonly routes: readonly HostRoute[];
  /** Resolver addresses: /etc/resolv.conf and systemd-resolved's upstreams. */
  readonly resolvers: readonly string[];
}

export interface HostLink {
  readonly ifindex: number;
  readonly name: string;
  /** ARPHRD_*: 1 is Ethernet, 772 loopback, 65534 none (tun). */
  readonly type: number;
  readonly up: boolean;
  readonly mtu: number;
  /** rtnetlink's IFLA_INFO_KIND: veth, bond, vlan, ...; absent for physical ones. */
  readonly kind?: string;
  /** ifindex of the bridge or bond this link is a port of. */
  readonly master?: number;
  /** XDP as the kernel reports it; absent when none is attached. */
  readonly xdp?: { readonly mode: 'native' | 'generic' | 'offload' | 'multi'; readonly programId: number };
}

export interface HostAddress {
  readonly ifindex: number;
  /** Canonical text, without zone. */
  readonly address: string;
  readonly prefixLength: number;
  /** IPv4 broadcast address, where there is one. */
  readonly broadcast?: string;
}

export interface HostRoute {
  readonly family: 4 | 6;
  /** Canonical prefix, `0.0.0.0/0` or `::/0` for the default. */
  readonly destination: string;
  readonly ifindex: number;
  /** Next hop; absent for a connected route. */
  readonly gateway?: string;
  readonly table: number;
  readonly metric: number;
}
