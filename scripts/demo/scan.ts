import type { Namespace } from '../../test/support/namespaces.ts';

export interface ScanResult {
  /** Ports that nmap reports open. */
  readonly open: readonly number[];
  /** How many ports gave any answer, open or closed: their probes reached the host. */
  readonly answered: number;
  readonly probed: number;
  readonly seconds: number;
}

/** --min-rate: where nothing answers any more, nmap by itself slows down to a few probes a second, for minutes. */
export const scanCommand = ['nmap', '-Pn', '-n', '-sS', '-T4', '--min-rate', '300', '-p1-1000'] as const;

export async function scan(from: Namespace, target: string): Promise<ScanResult> {
  const startedAt = performance.now();
  const { stdout } = await from.exec([...scanCommand, '-oX', '-', target], { timeoutMs: 100_000 });
  return { ...parseScan(stdout), seconds: (performance.now() - startedAt) / 1_000 };
}

/** Reads nmap's XML: ports of a rare state one by one, the rest as a sum for each state. Throws when nmap did not finish. */
export function parseScan(xml: string): Omit<ScanResult, 'seconds'> {
  if (!/<finished [^>]*exit="success"/.test(xml)) throw new Error(`nmap did not finish:\n${xml}`);
  const listed = [...xml.matchAll(/<port protocol="tcp" portid="(\d+)"><state state="([^"]+)"/g)];
  const summed = [...xml.matchAll(/<extraports state="([^"]+)" count="(\d+)"/g)];
  const counts = new Map<string, number>();
  const add = (state: string, count: number) => counts.set(state, (counts.get(state) ?? 0) + count);
  for (const [, , state] of listed) add(state!, 1);
  for (const [, state, count] of summed) add(state!, Number(count));
  return {
    open: listed.filter(([, , state]) => state === 'open').map(([, port]) => Number(port)),
    answered: (counts.get('open') ?? 0) + (counts.get('closed') ?? 0),
    probed: [...counts.values()].reduce((sum, count) => sum + count, 0),
  };
}
