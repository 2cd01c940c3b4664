/** Reads structs and enums out of an ELF object's .BTF section (https://docs.kernel.org/bpf/btf.html). Little-endian only, as bpfel objects are. */
export interface BtfStruct {
  readonly bytes: number;
  /** Member name to offset and size in bytes; no bit fields. */
  readonly members: ReadonlyMap<string, { readonly at: number; readonly bytes: number }>;
}

export interface BtfTypes {
  readonly structs: ReadonlyMap<string, BtfStruct>;
  readonly enums: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  proto: 13,
  variable: 14,
  section: 15,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

const sectionOf = (elf: Buffer, wanted: string): Buffer => {
  const headersAt = Number(elf.readBigUInt64LE(0x28));
  const count = elf.readUInt16LE(0x3c);
  const namesIndex = elf.readUInt16LE(0x3e);
  const header = (index: number) => {
    const at = headersAt + index * 64;
    return {
      name: elf.readUInt32LE(at),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      bytes: Number(elf.readBigUInt64LE(at + 32)),
    };
  };
  const names = header(namesIndex);
  for (let i = 0; i < count; i++) {
    const { name, offset, bytes } = header(i);
    const start = names.offset + name;
    if (elf.toString('latin1', start, elf.indexOf(0, start)) === wanted) return elf.subarray(offset, offset + bytes);
  }
  throw new Error(`the object has no section ${wanted}: compile it with -g`);
};

interface RawType {
  readonly name: string;
  readonly kind: number;
  readonly sizeOrType: number;
  readonly count: number;
  readonly bitfield: boolean;
  readonly at: number;
}

export const readBtf = (elf: Buffer): BtfTypes => {
  const btf = sectionOf(elf, '.BTF');
  const headerBytes = btf.readUInt32LE(4);
  const typesAt = headerBytes + btf.readUInt32LE(8);
  const typesEnd = typesAt + btf.readUInt32LE(12);
  const stringsAt = headerBytes + btf.readUInt32LE(16);
  const text = (offset: number) => btf.toString('utf8', stringsAt + offset, btf.indexOf(0, stringsAt + offset));

  const types: (RawType | undefined)[] = [undefined];
  for (let at = typesAt; at < typesEnd; ) {
    const info = btf.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 31;
    const count = info & 0xffff;
    types.push({
      name: text(btf.readUInt32LE(at)),
      kind,
      sizeOrType: btf.readUInt32LE(at + 8),
      count,
      bitfield: info >>> 31 === 1,
      at: at + 12,
    });
    const tail: Record<number, number> = {
      [KIND.int]: 4,
      [KIND.array]: 12,
      [KIND.struct]: 12 * count,
      [KIND.union]: 12 * count,
      [KIND.enum]: 8 * count,
      [KIND.enum64]: 12 * count,
      [KIND.proto]: 8 * count,
      [KIND.variable]: 4,
      [KIND.section]: 12 * count,
      [KIND.declTag]: 4,
    };
    at += 12 + (tail[kind] ?? 0);
  }

  const bytesOf = (id: number): number => {
    const type = types[id];
    if (type === undefined) throw new Error(`BTF type ${id} does not exist`);
    if (type.kind === KIND.pointer) return 8;
    if (type.kind === KIND.array) return bytesOf(btf.readUInt32LE(type.at)) * btf.readUInt32LE(type.at + 8);
    const alias: number[] = [KIND.typedef, KIND.volatile, KIND.const, KIND.restrict, KIND.typeTag];
    return alias.includes(type.kind) ? bytesOf(type.sizeOrType) : type.sizeOrType;
  };

  const structs = new Map<string, BtfStruct>();
  const enums = new Map<string, Map<string, number>>();
  for (const type of types) {
    if (type === undefined || type.name === '') continue;
    if (type.kind === KIND.struct) {
      const members = new Map<string, { at: number; bytes: number }>();
      for (let i = 0; i < type.count; i++) {
        const at = type.at + i * 12;
        const bits = btf.readUInt32LE(at + 8) & (type.bitfield ? 0xffffff : 0xffffffff);
        members.set(text(btf.readUInt32LE(at)), { at: bits / 8, bytes: bytesOf(btf.readUInt32LE(at + 4)) });
      }
      structs.set(type.name, { bytes: type.sizeOrType, members });
    } else if (type.kind === KIND.enum) {
      const values = new Map<string, number>();
      for (let i = 0; i < type.count; i++)
        values.set(text(btf.readUInt32LE(type.at + i * 8)), btf.readUInt32LE(type.at + i * 8 + 4));
      enums.set(type.name, values);
    }
  }
  return { structs, enums };
};
