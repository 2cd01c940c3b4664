import type { Socket } from 'node:net';

/** A scraper needs one connection; the rest is for a second Prometheus, and for people with curl. */
const maxPerAddress = 8;
const maxOfStrangers = 32;
/** Probes of the kubelet come from the node itself: strangers who take all that is theirs leave these alone. */
const maxOfThisHost = 16;

/** Counts the connections of a server, so that no one host takes them all from those who watch over it. */
export class ConnectionLimit {
  readonly #byAddress = new Map<string, number>();
  #strangers = 0;
  #ofThisHost = 0;

  /** False: it is to be closed. Otherwise it counts until it is. */
  admit(socket: Pick<Socket, 'remoteAddress' | 'localAddress' | 'once'>): boolean {
    const { remoteAddress, localAddress } = socket;
    // It broke off before anybody looked.
    if (remoteAddress === undefined) return false;
    if (isLoopback(remoteAddress) || remoteAddress === localAddress) {
      if (this.#ofThisHost >= maxOfThisHost) return false;
      this.#ofThisHost++;
      socket.once('close', () => this.#ofThisHost--);
      return true;
    }
    const ofAddress = this.#byAddress.get(remoteAddress) ?? 0;
    if (ofAddress >= maxPerAddress || this.#strangers >= maxOfStrangers) return false;
    this.#strangers++;
    this.#byAddress.set(remoteAddress, ofAddress + 1);
    socket.once('close', () => {
      this.#strangers--;
      const left = this.#byAddress.get(remoteAddress)! - 1;
      if (left > 0) this.#byAddress.set(remoteAddress, left);
      else this.#byAddress.delete(remoteAddress);
    });
    return true;
  }
}

const isLoopback = (address: string): boolean => /^(::ffff:)?127\.|^::1$/.test(address);
