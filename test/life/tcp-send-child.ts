// Sends BYTES to a sink at HOST PORT and prints how many it says have come; ends with 1 when it does not say so in TIMEOUT_MS.
import { connect } from 'node:net';

const [host, port, bytes, timeoutMs] = process.argv.slice(2);

setTimeout(() => process.exit(1), Number(timeoutMs));
const socket = connect({ host: host!, port: Number(port), allowHalfOpen: true }, () => {
  socket.end(Buffer.alloc(Number(bytes)));
});
socket.on('data', (data) => process.stdout.write(data));
socket.on('end', () => process.exit(0));
socket.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
