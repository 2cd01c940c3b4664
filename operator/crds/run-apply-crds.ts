import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { version } from '../../agent/version.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import { applyCrds, type Crd } from './apply-crds.ts';

/** Beside dist/ when installed, at the top of a checkout. */
const places = [join(import.meta.dirname, '../crds'), join(import.meta.dirname, '../../crds')];
/** An API server serves a new kind within a second or two. */
const withinMs = 60_000;
const restMs = 200;

/** Applies the CRDs of this installation and says on standard output what it did. Returns the exit code. */
export async function runApplyCrds(kubeconfig: string | undefined): Promise<number> {
  const signal = AbortSignal.timeout(withinMs);
  try {
    const client = await openKubeClient({
      userAgent: `portcullis-operator/${version}`,
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
    });
    await applyCrds({
      client,
      crds: readCrds(),
      version,
      say: (sentence) => process.stdout.write(`${sentence}\n`),
      rest: () => sleep(restMs, undefined, { signal }),
      signal,
    });
    return 0;
  } catch (error) {
    const reason = signal.aborted ? `not done within ${withinMs / 1000} seconds` : (error as Error).message;
    process.stderr.write(`portcullis-operator apply-crds: ${reason}\n`);
    return 1;
  }
}

function readCrds(): readonly Crd[] {
  const folder = places.find((place) => existsSync(join(place, 'portscanpolicies.yaml')));
  if (folder === undefined) throw new Error(`the CRDs are in none of ${places.join(', ')}`);
  const names = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  return names.sort().map((name) => parse(readFileSync(join(folder, name), 'utf8')) as Crd);
}
