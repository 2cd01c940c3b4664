import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PortcullisError } from '../../api/errors.ts';

/** Beside the bundle when installed, in build/ in a checkout. */
const places = [import.meta.dirname, join(import.meta.dirname, '../../build'), join(import.meta.dirname, '../build')];

const images = new Map<string, Buffer>();

/** The compiled object `name`.bpf.o. @throws PortcullisError BpfLoadFailed when it was not built */
export const objectImage = (name: 'guard' | 'clock'): Buffer => {
  const known = images.get(name);
  if (known) return known;
  for (const place of places) {
    const file = join(place, `${name}.bpf.o`);
    if (!existsSync(file)) continue;
    const image = readFileSync(file);
    images.set(name, image);
    return image;
  }
  throw new PortcullisError('BpfLoadFailed', `${name}.bpf.o is in none of ${places.join(', ')}`, {
    remedy: 'Run make build.',
  });
};
