import { describe, expect, it } from 'vitest';
import { KubeError } from '../../kube/errors.ts';
import type { NewKubeObject } from '../../kube/objects.ts';
import { type ApplyCrdsOptions, applyCrds, versionAnnotation } from './apply-crds.ts';

const crd = (name: string) => ({ metadata: { name }, spec: { group: 'portcullis.dev' } });
const notFound = new KubeError({ message: 'gone', status: 404, reason: 'NotFound' });

/** A server that serves a CRD at the second look. */
function room(stored: Readonly<Record<string, string>>) {
  const applied: NewKubeObject[] = [];
  const said: string[] = [];
  let rests = 0;
  const client = {
    get: async (_: unknown, name: string) => {
      const version = applied.find(({ metadata }) => metadata.name === name) ? 'applied' : stored[name];
      if (version === undefined) throw notFound;
      const conditions = rests > 0 ? [{ type: 'Established', status: 'True' }] : [];
      return { metadata: { name, annotations: { [versionAnnotation]: version } }, status: { conditions } };
    },
    apply: async (_: unknown, object: NewKubeObject) => {
      applied.push(object);
      return object;
    },
  } as unknown as ApplyCrdsOptions['client'];
  const run = (version: string) =>
    applyCrds({
      client,
      crds: [crd('a'), crd('b')],
      version,
      say: (sentence) => said.push(sentence),
      rest: async () => {
        rests++;
      },
      signal: new AbortController().signal,
    });
  return { run, applied, said, rests: () => rests };
}

describe('CRDs', () => {
  it('are brought to the version of the program, and waited for', async () => {
    const { run, applied, rests } = room({ b: '0.1.0' });
    await run('0.2.0');
    expect(applied.map(({ metadata }) => [metadata.name, metadata.annotations])).toEqual([
      ['a', { [versionAnnotation]: '0.2.0' }],
      ['b', { [versionAnnotation]: '0.2.0' }],
    ]);
    expect(rests()).toBe(1);
  });

  it('of a newer version stay as they are', async () => {
    const { run, applied, said } = room({ b: '0.3.0' });
    await run('0.2.0');
    expect(applied.map(({ metadata }) => metadata.name)).toEqual(['a']);
    expect(said).toContain('b is of version 0.3.0, which is newer than 0.2.0: it stays as it is');
  });
});
