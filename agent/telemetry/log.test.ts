import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLog, logFinding, logTelemetry } from './log.ts';

async function written(act: (log: ReturnType<typeof createLog>) => void): Promise<Record<string, unknown>[]> {
  const path = join(tmpdir(), `portcullis-log-${process.pid}-${Math.random()}.jsonl`);
  const fd = openSync(path, 'w');
  try {
    const log = createLog({ level: 'info', fd });
    act(log);
    await log.flush();
    return readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

test('writes JSON lines with time, level in words and component, and leaves out what is below the level', async () => {
  const lines = await written(({ logger }) => {
    logger.debug('not wanted');
    logger.info({ event: 'scan', ports: [22, 80] }, 'scan detected');
  });
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      component: 'agent',
      event: 'scan',
      ports: [22, 80],
      msg: 'scan detected',
    },
  ]);
});

test('a finding is logged at its severity with its parts as fields', async () => {
  const lines = await written(({ logger }) => {
    logFinding(logger, {
      code: 'GenericFallback',
      severity: 'warning',
      message: 'eth0: native mode was refused',
      remedy: 'Lower the MTU.',
      interfaceName: 'eth0',
    });
    logFinding(logger, { code: 'NotRoot', severity: 'error', message: 'no', remedy: 'Run as root.' });
  });
  expect(lines).toMatchObject([
    { level: 'warn', event: 'finding', code: 'GenericFallback', remedy: 'Lower the MTU.', interface: 'eth0' },
    { level: 'error', event: 'finding', code: 'NotRoot' },
  ]);
});

test('a scan is one record with its parts as fields', async () => {
  const [line] = await written(({ logger }) =>
    logTelemetry(logger, {
      event: 'scan-ended',
      policy: 'web',
      blocked: '192.0.2.200',
      state: 'blocked',
      proven: true,
      probes: 15,
      packetsDropped: 985,
      since: '2030-01-01T12:00:00.000Z',
      ended: '2030-01-01T12:10:00.000Z',
      cause: 'expired',
    }),
  );
  expect(line).toMatchObject({ event: 'scan-ended', packetsDropped: 985, msg: 'block of a scanner ended' });
});

test('after a flush all lines are written, in order, although the process exits at once', () => {
  const child = run(`
    for (let i = 0; i < 20_000; i++) log.logger.info({ i }, 'line');
    await log.flush();
    process.exit(3);
  `);
  expect(child.status).toBe(3);
  const numbers = child.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).i);
  expect(numbers).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
});

test('a flush of nothing, and one after another, end', () => {
  expect(run('await log.flush(); await log.flush(); process.exit(3);').status).toBe(3);
});

test('a reader that is gone neither stops the program nor holds up its end', () => {
  const script = `
    for (let i = 0; i < 1000; i++) { log.logger.info({ i }, 'line'); await new Promise(setImmediate); }
    await log.flush();
    process.stderr.write('reached the end');
  `;
  const child = spawnSync(
    'sh',
    ['-c', '"$0" --input-type=module -e "$1" | true', process.execPath, preamble + script],
    {
      encoding: 'utf8',
      timeout: 20_000,
    },
  );
  expect(child.stderr).toBe('reached the end');
});

const preamble = `
  import { createLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
  const log = createLog({ level: 'info' });
`;

function run(script: string) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', preamble + script], {
    encoding: 'utf8',
    timeout: 20_000,
    maxBuffer: 1 << 26,
  });
}
