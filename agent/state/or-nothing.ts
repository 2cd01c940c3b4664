import { PortcullisError } from '../../api/errors.ts';
import type { Log } from '../telemetry/log.ts';

/** A damaged state file must not keep the agent from guarding the node: it is told and left aside. */
export const orNothing = async <T>(loading: Promise<T> | undefined, log: Log): Promise<T | undefined> => {
  try {
    return await loading;
  } catch (error) {
    if (!(error instanceof PortcullisError)) throw error;
    log.logger.error({ event: 'failed', what: 'state', code: error.code, remedy: error.remedy }, error.message);
    return undefined;
  }
};
