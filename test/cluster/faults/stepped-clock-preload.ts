/**
 * For `node --import`: the wall clock of this one process is off by as many ms as the file STEPPED_CLOCK_FILE says, which may
 * change at any time. Timers and `performance.now()` go on as they do when a real clock is set.
 */
import { readFileSync } from 'node:fs';

const file = process.env.STEPPED_CLOCK_FILE ?? '';
const RealDate = Date;
/** The file is not read for each of many calls in a row. */
const rereadMs = 20;
let readAtMs = Number.NEGATIVE_INFINITY;
let offsetMs = 0;

function now(): number {
  if (performance.now() - readAtMs > rereadMs) {
    readAtMs = performance.now();
    offsetMs = Number(readFileSync(file, 'utf8'));
  }
  return RealDate.now() + offsetMs;
}

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  get: (target, key, receiver) => (key === 'now' ? now : Reflect.get(target, key, receiver)),
});
