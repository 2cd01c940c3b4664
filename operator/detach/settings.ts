import { duration } from '../../cli/setting-values.ts';
import { type SettingTable, settingsHelp } from '../../cli/settings.ts';
import { operatorSettingTable } from '../settings-table.ts';

export interface DetachAllSettings {
  readonly kubeconfig: string | undefined;
  readonly namespace: string;
  readonly timeoutMs: number;
  readonly reportStaleAfterMs: number;
}

const { kubeconfig, namespace, reportStaleAfterMs } = operatorSettingTable;

/** The settings of `detach-all`, in the order in which they are shown. */
export const detachAllSettingTable: SettingTable<DetachAllSettings> = {
  kubeconfig,
  namespace: { ...namespace, description: 'Namespace of the installation whose agents are to detach.' },
  timeoutMs: {
    flag: 'timeout',
    group: 'Waiting',
    form: duration(1000, 3_600_000),
    default: '2m',
    description: 'How long to wait for agents that answer.',
  },
  reportStaleAfterMs: {
    ...reportStaleAfterMs,
    group: 'Waiting',
    description:
      'After which a NodeReport that does not change is stale, so that its node is named and not waited for.',
  },
};

export const detachAllHelp = `Usage: portcullis-operator detach-all [FLAGS]

Has every agent of an installation take its programs off its node, before the installation is removed, and waits for those that
answer. Prints a line for each node that is not detached. Ends with 1 when an agent that answers has not detached in time. The wish
stays, as ClusterFacts detach: kubectl delete clusterfacts detach takes it back, and everything is attached again.
${settingsHelp(detachAllSettingTable)}`;
