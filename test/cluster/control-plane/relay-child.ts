// Forwards bytes between two sockets, for a namespace that the parent cannot enter: `relay-child.ts LISTEN CONNECT`, each a port
// of 127.0.0.1 or the path of a unix socket, which reaches across network namespaces.
import { connect, createServer, type Socket } from 'node:net';

const [listen, target] = process.argv.slice(2).map((text) => (/^\d+$/.test(text) ? Number(text) : text));

createServer({ allowHalfOpen: true }, (client) => {
  const server = typeof target === 'number' ? connect(target, '127.0.0.1') : connect(target!);
  forward(client, server);
  forward(server, client);
})
  .listen(...(typeof listen === 'number' ? ([listen, '127.0.0.1'] as const) : [listen]), () =>
    process.stdout.write('listening\n'),
  )
  .on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });

// Nobody is left to forward for.
process.stdin.on('end', () => process.exit(0)).resume();

function forward(from: Socket, to: Socket): void {
  from.setNoDelay?.(true);
  from.pipe(to);
  from.on('error', () => to.resetAndDestroy());
  from.on('close', () => to.destroy());
}
