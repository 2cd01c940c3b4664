/** The Internet checksum of RFC 1071, as TCP, UDP, ICMPv6 and the IPv4 header use it. */

/** Unfolded sum of big-endian 16-bit words in [from, to); an odd last byte is the high half of a word. */
export function sumWords(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = 0;
  let at = from;
  for (; at + 1 < to; at += 2) sum += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  if (at < to) sum += (bytes[at] as number) << 8;
  return sum;
}

/** End-around carry down to 16 bits. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x10000) + (folded & 0xffff);
  return folded;
}

/** What goes into the checksum field. */
export function complement(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** Unfolded sum of the pseudo-header: addresses (4 or 16 bytes each), protocol, length of the segment in bytes. */
export function pseudoHeaderSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  segmentBytes: number,
): number {
  return sumWords(source) + sumWords(destination) + protocol + (segmentBytes >>> 16) + (segmentBytes & 0xffff);
}
