import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';

/** The image of what holds a pod's namespaces. Nobody pulls it: each node gets it at its start. */
export const pauseImage = 'portcullis.invalid/pause:1';

const codes: Readonly<
  Record<string, { readonly machine: number; readonly code: readonly number[]; readonly name: string }>
> = {
  // again: mov eax, 34 (pause); syscall; jmp again
  x64: { machine: 62, name: 'amd64', code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // again: ppoll(NULL, 0, NULL, NULL, 0), number 73, which never returns; svc 0; b again
  arm64: {
    machine: 183,
    name: 'arm64',
    code: [
      ...[0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, 0xd2800928, 0xd4000001, 0x17fffff9].flatMap(
        (word) => [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24],
      ),
    ],
  },
};

/**
 * Writes the image as an OCI archive: one program that waits for ever, of some hundred bytes, put together here, since no
 * compiler needs to be there and no registry can be asked.
 */
export function writePauseImage(file: string, arch: string = process.arch): void {
  const target = codes[arch];
  if (target === undefined) throw new Error(`no pause program for ${arch}`);
  const layer = tar({ pause: { content: elf(target.machine, Buffer.from(target.code)), mode: 0o755 } });
  const blobs: Record<string, { readonly content: Buffer; readonly mode: number }> = {};
  const blob = (content: Buffer, mediaType: string) => {
    const digest = sha256(content);
    blobs[`blobs/sha256/${digest}`] = { content, mode: 0o644 };
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest: `sha256:${digest}`, size: content.length };
  };
  const platform = { architecture: target.name, os: 'linux' };
  const layers = [blob(layer, 'layer.v1.tar')];
  const config = blob(
    json({
      ...platform,
      config: { Entrypoint: ['/pause'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    }),
    'config.v1+json',
  );
  const manifest = blob(
    json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers }),
    'manifest.v1+json',
  );
  const annotations = { 'io.containerd.image.name': pauseImage, 'org.opencontainers.image.ref.name': '1' };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations, platform }] };
  writeFileSync(
    file,
    tar({
      'oci-layout': { content: json({ imageLayoutVersion: '1.0.0' }), mode: 0o644 },
      'index.json': { content: json(index), mode: 0o644 },
      ...blobs,
    }),
  );
}

/** A 64-bit ELF file of one segment, which starts at the code. */
function elf(machine: number, code: Buffer): Buffer {
  const [headerBytes, segmentBytes, base] = [64, 56, 0x400000n];
  const start = headerBytes + segmentBytes;
  const file = Buffer.alloc(start + code.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(base + BigInt(start), 24);
  file.writeBigUInt64LE(BigInt(headerBytes), 32);
  file.writeUInt16LE(headerBytes, 52);
  file.writeUInt16LE(segmentBytes, 54);
  file.writeUInt16LE(1, 56);
  // PT_LOAD, readable and executable, the whole file.
  file.writeUInt32LE(1, headerBytes);
  file.writeUInt32LE(5, headerBytes + 4);
  file.writeBigUInt64LE(base, headerBytes + 16);
  file.writeBigUInt64LE(base, headerBytes + 24);
  file.writeBigUInt64LE(BigInt(file.length), headerBytes + 32);
  file.writeBigUInt64LE(BigInt(file.length), headerBytes + 40);
  file.writeBigUInt64LE(0x1000n, headerBytes + 48);
  file.set(code, start);
  return file;
}

function tar(files: Readonly<Record<string, { readonly content: Buffer; readonly mode: number }>>): Buffer {
  const pieces: Buffer[] = [];
  for (const [name, { content, mode }] of Object.entries(files)) {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    const octal = (value: number, at: number, digits: number) =>
      header.write(value.toString(8).padStart(digits, '0'), at);
    octal(mode, 100, 7);
    octal(0, 108, 7);
    octal(0, 116, 7);
    octal(content.length, 124, 11);
    octal(0, 136, 11);
    header.write('0', 156);
    header.write('ustar\u000000', 257);
    // The sum is taken with blanks in its own place.
    header.fill(' ', 148, 156);
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      148,
      6,
    );
    header[154] = 0;
    pieces.push(header, content, Buffer.alloc(-content.length & 511));
  }
  return Buffer.concat([...pieces, Buffer.alloc(1024)]);
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
