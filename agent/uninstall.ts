import { rm } from 'node:fs/promises';
import { Datapath } from './datapath/datapath.ts';
import { Pins } from './datapath/pins.ts';
import type { RunSettings } from './settings.ts';
import type { StateStore } from './state/state-store.ts';

/** Takes away what an agent leaves on a node for the next one: pins, kept state, status file. After its datapath was closed. */
export async function removeTraces(
  { pinPath, statusFile }: Pick<RunSettings, 'pinPath' | 'statusFile'>,
  state: StateStore | undefined,
): Promise<void> {
  await Datapath.detachPinned(new Pins(pinPath));
  await state?.clear();
  if (statusFile !== undefined) await rm(statusFile, { force: true });
}
