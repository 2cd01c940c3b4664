import type { Dump, NetlinkSocket } from '../libbpf/netlink.ts';
import { addressDumpRequest, linkDumpRequest, parseAddress, parseLink, RouteMessage } from './rtnetlink.ts';
import type { HostAddress, HostLink } from './snapshot.ts';

/** All network devices of the namespace. */
export function readLinks(socket: NetlinkSocket, signal?: AbortSignal): Promise<Dump<HostLink>> {
  return socket.dump(RouteMessage.getLink, linkDumpRequest(), () => parseLink, signal);
}

/** Addresses of every scope, those of the loopback interface and tentative ones too. */
export function readAddresses(socket: NetlinkSocket, signal?: AbortSignal): Promise<Dump<HostAddress>> {
  return socket.dump(RouteMessage.getAddress, addressDumpRequest(), () => parseAddress, signal);
}
