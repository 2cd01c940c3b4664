import type { Dump, NetlinkSocket } from '../libbpf/netlink.ts';
import { isDefaultRoute } from './default-route.ts';
import { parseRoute, RouteMessage, routeDumpRequest } from './rtnetlink.ts';
import type { HostRoute } from './snapshot.ts';

/**
 * Unicast routes of both families and of all tables but the one of local
 * addresses. Of several that lead through the same next hop, default routes
 * apart, only the first is kept: a router may carry a million, what concerns
 * us of each is its next hop, and their coming and going is then no change.
 */
export async function readRoutes(socket: NetlinkSocket, signal?: AbortSignal): Promise<Dump<HostRoute>> {
  const rows: HostRoute[] = [];
  let interrupted = false;
  for (const family of [4, 6] as const) {
    const routes = await socket.dump(RouteMessage.getRoute, routeDumpRequest(family), firstOfEachHop, signal);
    rows.push(...routes.rows);
    interrupted ||= routes.interrupted;
  }
  return { rows, interrupted };
}

/** A parser that remembers which next hops it has told. */
function firstOfEachHop(): typeof parseRoute {
  const seen = new Set<string>();
  return (message) =>
    parseRoute(message).filter((route) => {
      if (route.gateway === undefined || isDefaultRoute(route)) return true;
      const hop = `${route.gateway} ${route.ifindex} ${route.table}`;
      return !seen.has(hop) && seen.add(hop);
    });
}
