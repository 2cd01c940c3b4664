import { readFile } from 'node:fs/promises';
import { formatAddress, parseAddress } from '../../api/cidr.ts';

export interface ResolverPaths {
  readonly resolvConf: string;
  /** Where systemd-resolved lists its upstreams while resolvConf names only its stub. */
  readonly upstreams: string;
}

export const resolverPaths: ResolverPaths = {
  resolvConf: '/etc/resolv.conf',
  upstreams: '/run/systemd/resolve/resolv.conf',
};

/** glibc asks three; systemd-resolved lists as many as the links bring. More than these is no resolver list. */
const MAX_RESOLVERS = 64;

/** The name servers of a resolv.conf, canonical and without zone; what is no address is left out. */
export function parseResolvConf(text: string): string[] {
  const found = new Set<string>();
  for (const line of text.split('\n')) {
    const [, server] = /^nameserver[ \t]+([^\s%]+)/.exec(line) ?? [];
    const address = server === undefined ? undefined : parseAddress(server);
    if (address !== undefined && found.size < MAX_RESOLVERS) found.add(formatAddress(address));
  }
  return [...found];
}

const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

/**
 * The addresses that answer this host's name queries. Behind a local stub
 * these are systemd-resolved's upstreams; those of other local resolvers are
 * not known. A file that is not there names none.
 */
export async function readResolvers(paths: ResolverPaths = resolverPaths): Promise<string[]> {
  const named = parseResolvConf(await textOrNothing(paths.resolvConf));
  if (!named.some(isLoopback)) return named;
  const upstreams = parseResolvConf(await textOrNothing(paths.upstreams));
  return [...new Set([...named, ...upstreams])];
}

async function textOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
