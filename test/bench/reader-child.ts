// Reads the ring of the tables pinned at argv[2] as the agent does, log lines included, until SIGTERM.
import { openSync } from 'node:fs';
import { PinnedDatapath } from '../../agent/datapath/inspect.ts';
import { defaultSizes } from '../../agent/datapath/options.ts';
import { EventReader } from '../../agent/event-reader.ts';
import { ConnectionLog } from '../../agent/telemetry/connections.ts';
import { createLog, logTelemetry } from '../../agent/telemetry/log.ts';
import { ScanRecorder } from '../../agent/telemetry/scans.ts';

using pinned = await PinnedDatapath.open(process.argv[2]!);
const { logger } = createLog({ level: 'info', fd: openSync('/dev/null', 'w') });
let lines = 0;
const connections = new ConnectionLog((line) => {
  lines++;
  logTelemetry(logger, line);
});
const scans = new ScanRecorder((line) => logTelemetry(logger, line), { startedAtMs: Date.now() });
const { tables, owners, clock } = pinned;
const reader = new EventReader(
  { tables, owners, clock, options: { sizes: defaultSizes } },
  { scans, connections, interfaceName: (ifindex) => `#${ifindex}` },
);

const end = new AbortController();
process.once('SIGTERM', () => end.abort());
const tick = setInterval(() => {
  reader.flush();
  connections.tick(Date.now());
}, 1000);
const running = reader.run(end.signal);
const before = process.cpuUsage();
const startedMs = performance.now();
process.stdout.write('ready\n');
await running;
clearInterval(tick);
const { user, system } = process.cpuUsage(before);
connections.flush();
const report = {
  events: lines + connections.suppressed,
  lines,
  cpuMs: (user + system) / 1000,
  wallMs: performance.now() - startedMs,
};
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
