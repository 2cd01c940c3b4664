// UDP: `echo PORT` sends back what comes. `ask HOST PORT [SOURCE_PORT]` sends a datagram every 50 ms from one socket and
// prints how many have come back, whenever some have; `connected` in front of HOST uses a connected socket.
import { createSocket } from 'node:dgram';

const intervalMs = 50;
const [mode, ...rest] = process.argv.slice(2);

if (mode === 'echo') {
  const server = createSocket('udp6');
  server.on('message', (data, from) => server.send(data, from.port, from.address));
  server.bind(Number(rest[0]), () => console.log('listening'));
} else {
  const isConnected = rest[0] === 'connected';
  const [host, port, sourcePort = '0'] = isConnected ? rest.slice(1) : rest;
  const socket = createSocket(host!.includes(':') ? 'udp6' : 'udp4');
  let answered = 0;
  socket.on('message', () => console.log(`answered ${++answered}`));
  socket.on('error', (error: NodeJS.ErrnoException) => console.log(error.code));
  socket.bind(Number(sourcePort), () => {
    if (!isConnected) setInterval(() => socket.send('?', Number(port), host!), intervalMs);
    // A connected socket alone is told of an ICMP error.
    else
      socket.connect(Number(port), host!, () =>
        setInterval(
          () => socket.send('?', (error) => error && console.log((error as { code?: string }).code)),
          intervalMs,
        ),
      );
  });
}
