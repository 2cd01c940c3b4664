import { Service, type ServiceOptions } from '../../test/cluster/control-plane/service.ts';

const restartMs = 2_000;

/** Starts a program, and again whenever it ends, as a kubelet does; `stop` ends it for good. */
export function keepRunning(options: ServiceOptions): { stop(): Promise<void> } {
  const service = new Service(options);
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const start = () => {
    service.start();
    service.ended.then(() => {
      if (!stopped) timer = setTimeout(start, restartMs);
    });
  };
  start();
  return {
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await service.stop();
    },
  };
}
