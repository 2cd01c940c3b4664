// Asks TCP services again and again: FROM ADDRESS:PORT...; prints a line a visit: its target, `answered` or what went wrong, and ms.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 50;
const timeoutMs = 2_000;
const [from, ...targets] = process.argv.slice(2);

function visit(target: string): void {
  const [host, port] = target.split(':');
  const startedMs = performance.now();
  const end = (result: string) => {
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.destroy();
    console.log(`${target} ${result} ${Math.round(performance.now() - startedMs)}`);
  };
  const socket = connect({ host: host!, port: Number(port), localAddress: from! });
  socket.setTimeout(timeoutMs, () => end('timeout'));
  socket.on('connect', () => socket.write('hello'));
  socket.on('data', () => end('answered'));
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
}

for (;;) {
  for (const target of targets) visit(target);
  await sleep(everyMs);
}
