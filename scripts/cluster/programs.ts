import { join } from 'node:path';
import { nodePath } from '../../test/support/command.ts';

const bin = join(import.meta.dirname, '..', '..', 'bin');

export interface OperatorOptions {
  readonly kubeconfig: string;
  readonly metricsAddress: string;
}

export interface AgentOptions {
  readonly node: string;
  readonly kubeconfig: string;
  readonly pinPath: string;
  /** Its state directory and its break-glass file. */
  readonly folder: string;
}

/** How an operator of the cluster to play with is started. */
export function operatorArgv({ kubeconfig, metricsAddress }: OperatorOptions): readonly string[] {
  const flags = ['--kubeconfig', kubeconfig, '--metrics-address', metricsAddress];
  return [nodePath, join(bin, 'portcullis-operator.mjs'), 'run', ...flags];
}

/** How an agent is started, in the network namespace of its node. */
export function agentArgv({ node, kubeconfig, pinPath, folder }: AgentOptions): readonly string[] {
  const flags = [
    ...['--kubernetes', '--node-name', node, '--kubeconfig', kubeconfig, '--pin-path', pinPath],
    ...['--state', join(folder, 'state'), '--break-glass-file', join(folder, 'break-glass')],
  ];
  return [nodePath, join(bin, 'portcullis-agent.mjs'), 'run', ...flags];
}
