import { PortcullisError } from '../api/errors.ts';
import { readCommandName, readFlags, type TypedCommand, takeArguments } from '../cli/flags.ts';
import { checkMetricsSettings } from '../cli/metrics-settings.ts';
import { type Environment, readSettings, settingsHelp, syntaxOf } from '../cli/settings.ts';
import { type DetachAllSettings, detachAllHelp, detachAllSettingTable } from './detach/settings.ts';
import { type OperatorSettings, operatorSettingTable } from './settings-table.ts';

export type { OperatorSettings } from './settings-table.ts';

/** What a command line asks for, fully checked. */
export type Command =
  | { readonly name: 'help'; readonly text: string; readonly exitCode: 0 | 2 }
  | { readonly name: 'version' }
  | { readonly name: 'apply-crds'; readonly kubeconfig: string | undefined }
  | { readonly name: 'detach-all'; readonly settings: DetachAllSettings }
  | { readonly name: 'run'; readonly settings: OperatorSettings };

const program = 'portcullis-operator';

/**
 * Reads a command line (without the interpreter and the script) and the environment; a flag wins over its variable. Pure.
 * Throws UnknownSetting or BadSetting.
 */
export function parseCommandLine(argv: readonly string[], env: Environment): Command {
  const [first, ...rest] = argv;
  if (first === undefined) return { name: 'help', text: overview, exitCode: 2 };
  if (first === '--help' || first === '-h' || (first === 'help' && rest.length === 0)) {
    return { name: 'help', text: overview, exitCode: 0 };
  }
  if (first === '--version') return { name: 'version' };
  if (first === 'help' && rest.length === 1 && rest[0] === 'run') return { name: 'help', text: runHelp(), exitCode: 0 };
  const command = { program, name: readCommandName(first, ['run', 'apply-crds', 'detach-all'], `${program} run`) };
  if (command.name === 'apply-crds') return applyCrdsCommand(command, rest, env);
  if (command.name === 'detach-all') return detachAllCommand(command, rest, env);
  const given = readFlags(command, syntaxOf(operatorSettingTable), rest);
  if (given.help) return { name: 'help', text: runHelp(), exitCode: 0 };
  takeArguments(command, given.positionals, []);
  return { name: 'run', settings: checkTogether(readSettings(operatorSettingTable, given.values, env)) };
}

function applyCrdsCommand(command: TypedCommand, args: readonly string[], env: Environment): Command {
  const { kubeconfig } = operatorSettingTable;
  const table = { kubeconfig };
  const given = readFlags(command, syntaxOf(table), args);
  if (given.help) return { name: 'help', text: applyCrdsHelp, exitCode: 0 };
  takeArguments(command, given.positionals, []);
  return { name: 'apply-crds', ...readSettings(table, given.values, env) };
}

function detachAllCommand(command: TypedCommand, args: readonly string[], env: Environment): Command {
  const given = readFlags(command, syntaxOf(detachAllSettingTable), args);
  if (given.help) return { name: 'help', text: detachAllHelp, exitCode: 0 };
  takeArguments(command, given.positionals, []);
  return { name: 'detach-all', settings: readSettings(detachAllSettingTable, given.values, env) };
}

/** What no form of a single value can say. */
function checkTogether(settings: OperatorSettings): OperatorSettings {
  checkMetricsSettings(settings);
  const { leaseDurationMs, leaseRenewDeadlineMs, leaseRetryPeriodMs } = settings;
  if (leaseRenewDeadlineMs >= leaseDurationMs) {
    throw new PortcullisError('BadSetting', '--lease-renew-deadline is not shorter than --lease-duration', {
      field: '--lease-renew-deadline',
      value: leaseRenewDeadlineMs,
      remedy: 'Give a shorter deadline: the leader must have stopped before another may start.',
    });
  }
  if (leaseRetryPeriodMs >= leaseRenewDeadlineMs) {
    throw new PortcullisError('BadSetting', '--lease-retry-period is not shorter than --lease-renew-deadline', {
      field: '--lease-retry-period',
      value: leaseRetryPeriodMs,
      remedy: 'Give a shorter period: a leader that renews too seldom loses the Lease.',
    });
  }
  return settings;
}

const overview = `Portcullis operator: tells nodes about the cluster, and users what their policies do.

Usage: ${program} COMMAND [ARGUMENTS]

Commands:
  run         work until SIGTERM; of several replicas one leads
  apply-crds  bring the CRDs in the cluster to this version, and end
  detach-all  have all agents detach, wait for those that answer, and end

  ${program} COMMAND --help   tells more about it
  ${program} --version        shows the version
`;

const applyCrdsHelp = `Usage: ${program} apply-crds [--kubeconfig FILE]

Applies the CRDs of this version by server-side apply and waits until they are served. A CRD of a newer version stays as it is.
`;

function runHelp(): string {
  return `Usage: ${program} run [FLAGS]

Turns the reports of the nodes into the status of policies and lists, publishes the prefixes of ConfigMaps and what is
known of the cluster, and removes what is left of nodes that are gone. Nothing that is enforced depends on it.

Each flag can be given as an environment variable too; the flag wins. Where a flag is repeated, the last one holds,
unless it takes a list.
${settingsHelp(operatorSettingTable)}`;
}
