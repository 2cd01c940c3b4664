import { addressBits, formatAddress, formatPrefix, type Prefix } from '../api/cidr.ts';

const isSingle = ({ family, length }: Prefix): boolean => length === addressBits(family);

/** As people write it: a single address without its length. */
export function sourceText(source: Prefix): string {
  return isSingle(source) ? formatAddress(source) : formatPrefix(source);
}

/**
 * A name for an object about the source, the same whenever it is asked for and of no other source: 192.0.2.7 gives
 * `unblock-192.0.2.7`, 192.0.2.0/24 `unblock-192.0.2.0-24`, 2001:db8::/32 `unblock-2001-db8--0.32`. A DNS subdomain name.
 */
export function objectName(verb: 'block' | 'unblock', source: Prefix): string {
  // A dash before the length would read as one more group: 1::5:0/112 is not 1::5:0:112.
  const length = isSingle(source) ? '' : `${source.family === 4 ? '-' : '.'}${source.length}`;
  // No part of the name may end in a dash.
  const address = formatAddress(source).replaceAll(':', '-').replace(/-$/, '-0');
  return `${verb}-${address}${length}`;
}
