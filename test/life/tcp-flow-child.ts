// One long TCP connection: HOST PORT [SILENT_MS]; sends a line every 25 ms, the first after SILENT_MS, and prints how many
// have come back, whenever some have.
import { connect } from 'node:net';

const [host, port, silentMs = '0'] = process.argv.slice(2);
const intervalMs = 25;

const socket = connect({ host: host!, port: Number(port), noDelay: true });
let echoed = 0;
socket.on('connect', () => {
  console.log('connected');
  setTimeout(() => setInterval(() => socket.write('still here\n'), intervalMs), Number(silentMs));
});
socket.on('data', (data) => {
  echoed += data.toString().split('\n').length - 1;
  console.log(`echoed ${echoed}`);
});
socket.on('close', () => process.exit(0));
socket.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
