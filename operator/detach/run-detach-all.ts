import { randomBytes } from 'node:crypto';
import { version } from '../../agent/version.ts';
import { systemClock } from '../../kube/clock.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import { type DetachEnd, detachAll } from './detach-all.ts';
import type { DetachAllSettings } from './settings.ts';

const failures: Readonly<Record<Exclude<DetachEnd, 'detached'>, string>> = {
  waiting: 'not all agents that answer have detached in time.',
  unread: 'NodeReports or Nodes could not be read in time.',
  stopped: 'it was told to stop.',
  // By somebody who took the CRDs away first: agents keep what they were told last.
  'no-kinds':
    'the kinds of Portcullis are not there, so agents cannot be told by them, and go on as they were. Install the CRDs again, or detach by ' +
    'kubectl annotate nodes --all portcullis.dev/break-glass=detach, uninstall with --no-hooks a minute later, and take the annotation away.',
  'no-account': 'agents answer, and they are of no installation in this namespace. Give theirs by --namespace.',
};
const wishStays =
  'The wish stays, and agents that hear of it later detach then. To take it back: kubectl delete clusterfacts detach';

/** Has every agent of the installation detach, and says on standard output how far they are. Returns the exit code. */
export async function runDetachAll(settings: DetachAllSettings): Promise<number> {
  const { kubeconfig, namespace, timeoutMs, reportStaleAfterMs: staleAfterMs } = settings;
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal));
  const fail = (reason: string): number => {
    process.stderr.write(`portcullis-operator detach-all: ${reason}\n`);
    return 1;
  };
  try {
    const client = await openKubeClient({
      userAgent: `portcullis-operator/${version}`,
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
    });
    const end = await detachAll({
      client,
      namespace,
      timeoutMs,
      staleAfterMs,
      clock: systemClock,
      nonce: randomBytes(8).toString('hex'),
      say: (line) => process.stdout.write(`${line}\n`),
      signal: stop.signal,
    });
    if (end === 'detached') return 0;
    return fail(end === 'no-account' || end === 'no-kinds' ? failures[end] : `${failures[end]} ${wishStays}`);
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}
