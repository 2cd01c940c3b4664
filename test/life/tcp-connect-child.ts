// Many short TCP connections: PLAN as JSON; prints how they ended as JSON.
import { connect } from 'node:net';
import type { ConnectPlan, ConnectResult } from './tcp.ts';

const plan = JSON.parse(process.argv[2]!) as ConnectPlan;
const ended: Record<keyof ConnectResult, number> = { connected: 0, refused: 0, timedOut: 0, failed: 0 };
const { hosts, ports, rounds = 1, concurrency = 64, timeoutMs = 3_000 } = plan;

const total = rounds * hosts.length * ports.length;
let next = 0;

/** The ports alternate first, then the hosts, so that every round touches all of them. */
function target(index: number): { readonly host: string; readonly port: number } {
  return { port: ports[index % ports.length]!, host: hosts[Math.floor(index / ports.length) % hosts.length]! };
}

function attempt(index: number): Promise<keyof ConnectResult> {
  const { promise, resolve } = Promise.withResolvers<keyof ConnectResult>();
  const socket = connect({ ...target(index), ...(plan.from === undefined ? {} : { localAddress: plan.from }) });
  const timer = setTimeout(() => {
    resolve('timedOut');
    socket.destroy();
  }, timeoutMs);
  socket.on('connect', () => socket.end());
  // The other end closes as well, so that each connection ends as those of a well-behaved client do.
  socket.on('end', () => resolve('connected')).resume();
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ECONNREFUSED') console.error(`${JSON.stringify(target(index))}: ${error.message}`);
    resolve(error.code === 'ECONNREFUSED' ? 'refused' : error.code === 'ETIMEDOUT' ? 'timedOut' : 'failed');
  });
  return promise.finally(() => clearTimeout(timer));
}

async function work(): Promise<void> {
  while (next < total) ended[await attempt(next++)]++;
}

await Promise.all(Array.from({ length: concurrency }, work));
console.log(JSON.stringify(ended));
