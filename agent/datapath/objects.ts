import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PortcullisError } from '../../api/errors.ts';

/** Beside the bundle when installed, in build/ in a checkout. */
const places = [import.meta.dirname, join(import.meta.dirname, '../../build'), join(import.meta.dirname, '../build')];

/** Set by the build; absent where the sources run as they are. */
declare const BPF_OBJECT_DIGESTS: Readonly<Record<string, string>> | undefined;

const images = new Map<string, Buffer>();

/** `guard-sockets` is the guard of kernels whose connection tracking cannot be asked; `conntrack` tells which these are. */
export type ObjectName = 'guard' | 'guard-sockets' | 'clock' | 'conntrack' | 'forget';

/** The compiled object `name`.bpf.o. @throws PortcullisError BpfLoadFailed when it was not built */
export const objectImage = (name: ObjectName): Buffer => {
  const known = images.get(name);
  if (known) return known;
  for (const place of places) {
    const file = join(place, `${name}.bpf.o`);
    if (!existsSync(file)) continue;
    const image = readFileSync(file);
    checkDigest(name, file, image);
    images.set(name, image);
    return image;
  }
  throw new PortcullisError('BpfLoadFailed', `${name}.bpf.o is in none of ${places.join(', ')}`, {
    remedy: 'Run make build.',
  });
};

/** An object of another build has other tables than this code reads: that must not first show as a verifier's refusal. */
const checkDigest = (name: string, file: string, image: Buffer): void => {
  const expected = typeof BPF_OBJECT_DIGESTS === 'undefined' ? undefined : BPF_OBJECT_DIGESTS[name];
  if (expected === undefined || createHash('sha256').update(image).digest('hex') === expected) return;
  throw new PortcullisError('BpfLoadFailed', `${file} is not the object that this agent was built with`, {
    value: file,
    remedy: 'Run make build, or install all files of one release.',
  });
};
