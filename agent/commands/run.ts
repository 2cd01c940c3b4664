import { Agent } from '../agent.ts';
import type { RunSettings } from '../settings.ts';
import { createLog } from '../telemetry/log.ts';
import { version } from '../version.ts';

/** Runs until SIGTERM or SIGINT. What is attached stays, unless Portcullis is being uninstalled: enforcement does not depend on this process. */
export const run = async (settings: RunSettings): Promise<number> => {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal));
  const log = createLog({ level: settings.logLevel });
  process.on('uncaughtException', (error) => {
    log.logger.fatal({ event: 'crashed', err: error }, 'the agent ends by an error; what is attached stays in force');
    log.flushSync();
    process.exit(1);
  });
  try {
    log.logger.info({ event: 'starting', version, pinPath: settings.pinPath }, 'starting');
    const agent = await Agent.open(settings, log);
    const left = await agent.run(stop.signal);
    log.logger.info(
      { event: 'stopped', cause: String(stop.signal.reason), ...(left === 'removed' && { removed: true }) },
      left === 'removed' ? 'stopped and uninstalled: nothing is left' : 'stopped; what is attached stays in force',
    );
    return 0;
  } finally {
    await log.flush();
  }
};
