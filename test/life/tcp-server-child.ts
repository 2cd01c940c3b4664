// A TCP server: MODE PORT...; `echo` sends back what comes, `sink` says at the end how many bytes came.
import { createServer } from 'node:net';

const [mode, ...ports] = process.argv.slice(2);

await Promise.all(
  ports.map((port) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    createServer({ allowHalfOpen: true }, (socket) => {
      let bytes = 0;
      // A peer that resets its connection is none of the server's business.
      socket.on('error', () => {});
      socket.on('data', (data) => {
        bytes += data.length;
        if (mode === 'echo') socket.write(data);
      });
      socket.on('end', () => (mode === 'echo' ? socket.end() : socket.end(`${bytes}`)));
    })
      .on('error', reject)
      .listen({ port: Number(port), host: '::', backlog: 1024 }, resolve);
    return promise;
  }),
);
console.log('listening');
