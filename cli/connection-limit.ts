import type { Socket } from 'node:net';

/** What is looked at of a socket. */
interface Peer {
  readonly remoteAddress?: string | undefined;
  readonly localAddress?: string | undefined;
  once(event: 'close', listener: () => void): unknown;
}

/** A scraper needs one connection; the rest is for a second Prometheus, and for people with curl. */
const maxPerAddress = 8;
const maxOfStrangers = 32;
/** Probes of the kubelet come from the node itself: strangers who take all that is theirs leave these alone. */
const maxOfThisHost = 16;

/**
 * Bounds the connections of a server. Who comes anew is let in and an older one goes, or whoever holds connections open for nothing
 * would shut out those who watch over the server: its scraper, and the kubelet, which is a stranger to a pod of its own network.
 */
export class ConnectionLimit<T extends Peer = Socket> {
  /** Of each stranger, by address. Sets and maps keep the order of coming. */
  readonly #byAddress = new Map<string, Set<T>>();
  readonly #strangers = new Map<T, string>();
  readonly #ofThisHost = new Set<T>();

  /** Who has to be closed for this one, which then counts until it is closed itself; undefined: nobody. */
  admit(socket: T): T | undefined {
    const { remoteAddress, localAddress } = socket;
    // It broke off before anybody looked.
    if (remoteAddress === undefined) return socket;
    socket.once('close', () => this.#forget(socket));
    const isHere = isLoopback(remoteAddress) || remoteAddress === localAddress;
    const goes = isHere ? first(this.#ofThisHost, maxOfThisHost) : this.#inTheWayOf(remoteAddress);
    if (goes !== undefined) this.#forget(goes);
    if (isHere) this.#ofThisHost.add(socket);
    else {
      this.#strangers.set(socket, remoteAddress);
      this.#byAddress.set(remoteAddress, (this.#byAddress.get(remoteAddress) ?? new Set<T>()).add(socket));
    }
    return goes;
  }

  /** The oldest of who has most: one that has a single connection loses it only to a crowd of others that have one too. */
  #inTheWayOf(address: string): T | undefined {
    const own = first(this.#byAddress.get(address) ?? new Set<T>(), maxPerAddress);
    if (own !== undefined || this.#strangers.size < maxOfStrangers) return own;
    const most = Math.max(...[...this.#byAddress.values()].map(({ size }) => size));
    for (const [socket, from] of this.#strangers) if (this.#byAddress.get(from)!.size === most) return socket;
    return undefined;
  }

  #forget(socket: T): void {
    this.#ofThisHost.delete(socket);
    const address = this.#strangers.get(socket);
    if (address === undefined) return;
    this.#strangers.delete(socket);
    const left = this.#byAddress.get(address)!;
    left.delete(socket);
    if (left.size === 0) this.#byAddress.delete(address);
  }
}

/** The oldest of a set that is full; undefined while there is room. */
const first = <T>(set: ReadonlySet<T>, max: number): T | undefined =>
  set.size < max ? undefined : set.values().next().value;

const isLoopback = (address: string): boolean => /^(::ffff:)?127\.|^::1$/.test(address);
