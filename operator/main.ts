import { createLog } from '../agent/telemetry/log.ts';
import { version } from '../agent/version.ts';
import { PortcullisError } from '../api/errors.ts';
import { tellFailure } from '../cli/failure.ts';
import { runApplyCrds } from './crds/run-apply-crds.ts';
import { runDetachAll } from './detach/run-detach-all.ts';
import { Operator } from './operator.ts';
import { type Command, type OperatorSettings, parseCommandLine } from './settings.ts';

const execute = async (command: Command): Promise<number> => {
  switch (command.name) {
    case 'help':
      (command.exitCode === 0 ? process.stdout : process.stderr).write(command.text);
      return command.exitCode;
    case 'version':
      process.stdout.write(`${version}\n`);
      return 0;
    case 'apply-crds':
      // As below: connections of HTTP/2 may keep the process.
      return process.exit(await runApplyCrds(command.kubeconfig));
    case 'detach-all':
      return process.exit(await runDetachAll(command.settings));
    case 'run':
      // At once: taking down what HTTP/2 leaves behind was seen to keep Node.js busy for ever. The log is written out by then.
      return process.exit(await run(command.settings));
  }
};

/** The loops have ten seconds to end, the Lease takes a moment, and a pod is killed after thirty. */
const stopMs = 20_000;

/** Runs until SIGTERM or SIGINT; the exit code is not 0 when the lead was lost. */
const run = async (settings: OperatorSettings): Promise<number> => {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal));
  const log = createLog({ level: settings.logLevel, component: 'operator' });
  const { logger } = log;
  process.on('uncaughtException', (error) => {
    logger.fatal({ event: 'crashed', err: error }, 'the operator ends by an error; nodes go on as they are');
    log.flushSync();
    process.exit(1);
  });
  try {
    logger.info({ event: 'starting', version, namespace: settings.namespace }, 'starting');
    const endWithin = (ms: number) => {
      const end = () => {
        logger.fatal({ event: 'stuck' }, 'something did not end in time; the process ends all the same');
        log.flushSync();
        process.exit(1);
      };
      setTimeout(end, ms).unref();
    };
    stop.signal.addEventListener('abort', () => endWithin(stopMs));
    // Another may lead by then.
    const onLost = () => endWithin(settings.leaseDurationMs - settings.leaseRenewDeadlineMs);
    const operator = await Operator.open({ settings, version, logger, onLost });
    const end = await operator.run(stop.signal);
    logger.info({ event: 'stopped', cause: end === 'lost' ? 'lost the lead' : String(stop.signal.reason) }, 'stopped');
    return end === 'lost' ? 1 : 0;
  } catch (error) {
    if (error instanceof PortcullisError) throw error;
    logger.fatal({ event: 'failed', err: error }, 'the operator ends by an error; nodes go on as they are');
    return 1;
  } finally {
    await log.flush();
  }
};

try {
  process.exitCode = await execute(parseCommandLine(process.argv.slice(2), process.env));
} catch (error) {
  process.exitCode = tellFailure('portcullis-operator', error);
}
