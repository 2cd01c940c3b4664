import { expect, test } from 'vitest';
import type { ConnectionEvent } from '../datapath/view.ts';
import { ConnectionLog, type ConnectionLogLine } from './connections.ts';

const event: ConnectionEvent = {
  kind: 'connection',
  policy: 'web',
  atMs: Date.UTC(2030, 0, 1, 12, 0, 0, 250),
  source: '198.51.100.200',
  sourcePort: 40_001,
  target: '2001:db8::1',
  targetPort: 443,
  interfaceName: 'eth0',
  reason: 'new-connection',
};

function log(linesPerSecond?: number): { connections: ConnectionLog; lines: ConnectionLogLine[] } {
  const lines: ConnectionLogLine[] = [];
  return { connections: new ConnectionLog((line) => lines.push(line), linesPerSecond), lines };
}

test('writes a line for a new connection', () => {
  const { connections, lines } = log();
  connections.add(event, event.atMs);
  expect(lines).toEqual([
    {
      event: 'connection',
      policy: 'web',
      source: '198.51.100.200',
      sourcePort: 40_001,
      target: '2001:db8::1',
      targetPort: 443,
      interface: 'eth0',
      reason: 'new-connection',
      at: '2030-01-01T12:00:00.250Z',
    },
  ]);
});

test('a million connections in one second are 1,000 lines and one summary', () => {
  const { connections, lines } = log();
  for (let i = 0; i < 500_000; i++) connections.add(event, event.atMs);
  connections.count('db', 500_000, event.atMs);
  connections.tick(event.atMs + 1000);
  expect(lines).toHaveLength(1001);
  expect(lines.at(-1)).toEqual({
    event: 'connections-summarized',
    from: '2030-01-01T12:00:00.000Z',
    connections: 999_000,
    byPolicy: { web: 499_000, db: 500_000 },
  });
  expect(connections.suppressed).toBe(999_000);
});

test('tells the reader when a connection would only be counted', () => {
  const { connections } = log(1);
  expect(connections.hasRoom(event.atMs)).toBe(true);
  connections.add(event, event.atMs);
  expect(connections.hasRoom(event.atMs)).toBe(false);
  expect(connections.hasRoom(event.atMs + 1000)).toBe(true);
});

test('a flush at the end gives the summary of the second under way', () => {
  const { connections, lines } = log(0);
  connections.add(event, event.atMs);
  connections.flush();
  expect(lines).toMatchObject([{ event: 'connections-summarized', connections: 1 }]);
});
