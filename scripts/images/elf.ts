// What the dynamic linker would read of an ELF file: enough to tell which libraries an image needs.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const magic = 0x7f454c46;
const dynamicSegment = 2;
const loadSegment = 1;
const neededTag = 1n;
const stringTableTag = 5n;

/** Starts with the bytes of an ELF file. */
export function isElf(file: string): boolean {
  const head = Buffer.alloc(4);
  const descriptor = openSync(file, 'r');
  try {
    return readSync(descriptor, head) === 4 && head.readUInt32BE() === magic;
  } finally {
    closeSync(descriptor);
  }
}

/** What an ELF file is for, as far as it is in an image. */
export function elfMachine(image: Buffer): string {
  const number = image.readUInt16LE(18);
  return { 62: 'amd64', 183: 'arm64', 247: 'BPF' }[number] ?? `machine ${number}`;
}

/** Sonames that a 64-bit little-endian ELF file names as needed; none for one that is linked statically. */
export function neededLibraries(file: string): readonly string[] {
  const image = readFileSync(file);
  if (image.readUInt32BE(0) !== magic || image[4] !== 2 || image[5] !== 1) {
    throw new Error(`${file} is no 64-bit little-endian ELF file`);
  }
  const segments = programHeaders(image);
  const dynamic = segments.find(({ type }) => type === dynamicSegment);
  if (dynamic === undefined) return [];
  const needed: bigint[] = [];
  let stringTable = 0n;
  for (let at = dynamic.offset; at + 16 <= dynamic.offset + dynamic.bytes; at += 16) {
    const [tag, value] = [image.readBigUInt64LE(at), image.readBigUInt64LE(at + 8)];
    if (tag === 0n) break;
    if (tag === neededTag) needed.push(value);
    if (tag === stringTableTag) stringTable = value;
  }
  // The table is given by its address in memory; the segment that is loaded there tells where it is in the file.
  const segment = segments.find(
    ({ type, address, bytes }) =>
      type === loadSegment && stringTable >= address && stringTable < address + BigInt(bytes),
  );
  if (segment === undefined) throw new Error(`${file} has no string table`);
  const strings = segment.offset + Number(stringTable - segment.address);
  return needed.map((offset) => {
    const start = strings + Number(offset);
    return image.toString('latin1', start, image.indexOf(0, start));
  });
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly bytes: number;
}

function programHeaders(image: Buffer): readonly Segment[] {
  const start = Number(image.readBigUInt64LE(32));
  const [size, count] = [image.readUInt16LE(54), image.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return {
      type: image.readUInt32LE(at),
      offset: Number(image.readBigUInt64LE(at + 8)),
      address: image.readBigUInt64LE(at + 16),
      bytes: Number(image.readBigUInt64LE(at + 32)),
    };
  });
}
