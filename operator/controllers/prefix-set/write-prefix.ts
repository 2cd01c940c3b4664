const dot = 46;
const slash = 47;
const colon = 58;

/** Writes the canonical text of an IPv4 prefix into `buffer` at `at` as ASCII; returns where it ends. */
export function writeIpv4(address: number, length: number, buffer: Uint8Array, at: number): number {
  let end = at;
  for (let shift = 24; shift >= 0; shift -= 8) {
    end = writeDecimal((address >>> shift) & 255, buffer, end);
    buffer[end++] = shift === 0 ? slash : dot;
  }
  return writeDecimal(length, buffer, end);
}

const fields = new Uint16Array(8);

/** The same of IPv6 (RFC 5952); `words` has four words of address and then the length at `from`. */
export function writeIpv6(words: Uint32Array, from: number, buffer: Uint8Array, at: number): number {
  for (let i = 0; i < 4; i++) {
    const word = words[from + i]!;
    fields[2 * i] = word >>> 16;
    fields[2 * i + 1] = word & 0xffff;
  }
  // The first longest run of two or more zero fields is left out.
  let gapAt = -1;
  let gapLength = 1;
  for (let i = 0; i < 8; i++) {
    let stop = i;
    while (stop < 8 && fields[stop] === 0) stop++;
    if (stop - i > gapLength) {
      gapAt = i;
      gapLength = stop - i;
    }
    if (stop > i) i = stop;
  }
  let end = at;
  for (let i = 0; i < 8; i++) {
    if (i === gapAt) {
      buffer[end++] = colon;
      buffer[end++] = colon;
      i += gapLength - 1;
      continue;
    }
    if (i > 0 && i !== gapAt + gapLength) buffer[end++] = colon;
    end = writeHex(fields[i]!, buffer, end);
  }
  buffer[end++] = slash;
  return writeDecimal(words[from + 4]!, buffer, end);
}

/** 0 to 255. */
function writeDecimal(value: number, buffer: Uint8Array, at: number): number {
  let end = at;
  if (value >= 100) buffer[end++] = 48 + Math.floor(value / 100);
  if (value >= 10) buffer[end++] = 48 + (Math.floor(value / 10) % 10);
  buffer[end++] = 48 + (value % 10);
  return end;
}

function writeHex(value: number, buffer: Uint8Array, at: number): number {
  let end = at;
  for (let shift = 12; shift >= 0; shift -= 4) {
    const digit = (value >>> shift) & 15;
    if (end > at || digit !== 0 || shift === 0) buffer[end++] = digit < 10 ? 48 + digit : 87 + digit;
  }
  return end;
}
