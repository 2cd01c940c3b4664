// Forwards bytes between two sockets, for a namespace that the parent cannot enter: `relay-child.ts LISTEN CONNECT`, each a port
// of 127.0.0.1 or the path of a unix socket, which reaches across network namespaces.
import { connect, createServer, type Socket } from 'node:net';

const [listen, target] = process.argv.slice(2).map((text) => (/^\d+$/.test(text) ? Number(text) : text));

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const upstream =
    typeof target === 'number' ? connect({ port: target, host: '127.0.0.1', noDelay: true }) : connect(target!);
  forward(client, upstream);
  forward(upstream, client);
});
server.on('listening', () => process.stdout.write('listening\n'));
server.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
if (typeof listen === 'number') server.listen(listen, '127.0.0.1');
else server.listen(listen);

function forward(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on('error', () => to.destroy());
  from.on('close', () => to.destroy());
}
