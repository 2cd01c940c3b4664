import type { InterfaceSelector } from '../../api/types.ts';
import { isDefaultRoute } from '../host/default-route.ts';
import type { HostLink, HostSnapshot } from '../host/snapshot.ts';

export interface Selection {
  /** Links that can be guarded, by ifindex. Whether they are up does not matter: a program may wait for its first packet. */
  readonly links: readonly HostLink[];
  /** Links that a name or a pattern asks for and that cannot be guarded. */
  readonly unsupported: readonly UnsupportedLink[];
  /** Links that only a role asks for and that cannot be guarded. */
  readonly unsupportedByRole: readonly UnsupportedLink[];
}

export interface UnsupportedLink {
  readonly link: HostLink;
  /** Completes `eth0 is ...`. */
  readonly reason: string;
}

const ARPHRD_ETHER = 1;
const typeNames = new Map([
  [32, 'an InfiniBand interface'],
  [512, 'a PPP interface'],
  [519, 'a raw IP interface'],
  [768, 'an IPv4 tunnel'],
  [769, 'an IPv6 tunnel'],
  [772, 'a loopback interface'],
  [776, 'an IPv6-in-IPv4 tunnel'],
  [778, 'a GRE tunnel'],
  [823, 'an IPv6 GRE tunnel'],
  [824, 'a netlink monitor'],
  [65534, 'an interface without link-layer header'],
]);

/** Why a link cannot be guarded; undefined for one that can. */
export function unsupportedReason({ type, kind }: HostLink): string | undefined {
  if (type === ARPHRD_ETHER) return undefined;
  const name = typeNames.get(type) ?? `an interface of type ${type}`;
  return `${name}${kind === undefined ? '' : ` (${kind})`}, not of Ethernet type`;
}

/** The interfaces of this host that a policy or a list is for; no selector means the role DefaultRoute. */
export function selectInterfaces(selector: InterfaceSelector | undefined, host: HostSnapshot): Selection {
  const { names = [], patterns = [], exclude = [], roles = [] } = selector ?? { roles: ['DefaultRoute'] };
  const withDefaultRoute = new Set(
    roles.includes('DefaultRoute') ? host.routes.filter(isDefaultRoute).map(({ ifindex }) => ifindex) : [],
  );
  const links: HostLink[] = [];
  const unsupported: UnsupportedLink[] = [];
  const unsupportedByRole: UnsupportedLink[] = [];
  for (const link of [...host.links].sort((a, b) => a.ifindex - b.ifindex)) {
    if (exclude.some((pattern) => matchesGlob(pattern, link.name))) continue;
    const asked = names.includes(link.name) || patterns.some((pattern) => matchesGlob(pattern, link.name));
    if (!asked && !withDefaultRoute.has(link.ifindex)) continue;
    const reason = unsupportedReason(link);
    if (reason === undefined) links.push(link);
    else (asked ? unsupported : unsupportedByRole).push({ link, reason });
  }
  return { links, unsupported, unsupportedByRole };
}

/** `*` stands for any characters, `?` for one; everything else for itself. */
export function matchesGlob(pattern: string, name: string): boolean {
  let at = 0;
  let nameAt = 0;
  let star = -1;
  let starNameAt = 0;
  // On a mismatch only the latest star can help by taking one more character: no backtracking beyond it, so no blow-up.
  while (nameAt < name.length) {
    if (pattern[at] === '*') {
      star = at++;
      starNameAt = nameAt;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[nameAt])) {
      at++;
      nameAt++;
    } else if (star >= 0) {
      at = star + 1;
      nameAt = ++starNameAt;
    } else {
      return false;
    }
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
