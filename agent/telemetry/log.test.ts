import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLog, logFinding, logTelemetry } from './log.ts';

function written(act: (log: ReturnType<typeof createLog>) => void): Record<string, unknown>[] {
  const path = join(tmpdir(), `portcullis-log-${process.pid}-${Math.random()}.jsonl`);
  const fd = openSync(path, 'w');
  try {
    const log = createLog({ level: 'info', fd });
    act(log);
    log.flush();
    return readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

test('writes JSON lines with time, level in words and component, and leaves out what is below the level', () => {
  const lines = written(({ logger }) => {
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

test('a finding is logged at its severity with its parts as fields', () => {
  const lines = written(({ logger }) => {
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

test('a scan is one record with its parts as fields', () => {
  const [line] = written(({ logger }) =>
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

test('what is buffered when the process exits is written, none lost', () => {
  const script = `
    import { createLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
    const { logger } = createLog({ level: 'info' });
    for (let i = 0; i < 5000; i++) logger.info({ i }, 'line');
    process.exit(3);
  `;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(child.status).toBe(3);
  const lines = child.stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(5000);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ i: 4999 });
});
