import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunningCommand } from '../support/command.ts';
import type { Namespace, TestNet } from '../support/namespaces.ts';
import { waitFor } from '../support/wait-for.ts';

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'portcullis-agent.mjs');

export interface StartedAgent {
  readonly command: RunningCommand;
  readonly pinPath: string;
  /** From the start of the process to the log line that says so. */
  readonly enforcingMs: number;
}

/** Starts the bundled agent in a namespace on these documents and waits until it enforces them. */
export const startAgent = async (
  net: TestNet,
  namespace: Namespace,
  documents: Readonly<Record<string, string>>,
): Promise<StartedAgent> => {
  const folder = net.folder();
  const policies = join(folder, 'policies');
  mkdirSync(policies);
  for (const [name, text] of Object.entries(documents)) writeFileSync(join(policies, name), text);
  const pinPath = net.pinPath();
  const startedMs = performance.now();
  const command = namespace.spawnNode([
    launcher,
    'run',
    ...['--policies', policies],
    ...['--state', join(folder, 'state')],
    ...['--pin-path', pinPath],
    ...['--status-file', join(folder, 'status.json')],
    ...['--metrics-address', '127.0.0.1:9469'],
  ]);
  const isEnforcing = () => command.stdout.includes('"event":"enforcing"');
  await waitFor(() => isEnforcing() || !command.isRunning, 20_000, { what: 'the agent to enforce', intervalMs: 2 });
  if (!isEnforcing()) {
    const { stdout, stderr } = await command.ended;
    throw new Error(`the agent ended: ${stderr}${stdout}`);
  }
  return { command, pinPath, enforcingMs: performance.now() - startedMs };
};

export const policyDocument = (interfaceName: string): string => `apiVersion: portcullis.dev/v1alpha1
kind: PortScanPolicy
metadata:
  name: bench
spec:
  mode: Enforce
  interfaces:
    names: [${interfaceName}]
`;

export const listDocument = (
  interfaceName: string,
  cidrs: readonly string[],
): string => `apiVersion: portcullis.dev/v1alpha1
kind: IpBlocklist
metadata:
  name: bench
spec:
  interfaces:
    names: [${interfaceName}]
  entries:
${cidrs.map((cidr) => `    - cidr: ${cidr}`).join('\n')}
`;
