// Runs inside of the victim: a web page on port 80, and a greeting on every other port given as argument.
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';

const pagePort = 80;

function service(port: number): Server {
  if (port === pagePort) return createHttpServer((_, response) => response.end('<h1>It works</h1>\n'));
  // A scanner resets in the middle of everything; that is no reason to end.
  return createServer((socket) => socket.on('error', () => {}).end('hello\r\n'));
}

for (const port of process.argv[2]!.split(',').map(Number)) {
  const server = service(port).listen(port);
  await once(server, 'listening');
}
process.stdout.write('listening\n');
