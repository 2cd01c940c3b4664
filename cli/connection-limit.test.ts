import { EventEmitter } from 'node:events';
import { beforeEach, expect, test } from 'vitest';
import { ConnectionLimit } from './connection-limit.ts';

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string | undefined;
  readonly localAddress = '192.0.2.1';

  constructor(remoteAddress: string | undefined) {
    super();
    this.remoteAddress = remoteAddress;
  }
}

let limit: ConnectionLimit;
let admitted: FakeSocket[];
beforeEach(() => {
  limit = new ConnectionLimit();
  admitted = [];
});

/** How many of `count` connections from there are admitted. */
function offer(remoteAddress: string | undefined, count: number): number {
  const sockets = Array.from({ length: count }, () => new FakeSocket(remoteAddress));
  const taken = sockets.filter((socket) => limit.admit(socket as never));
  admitted.push(...taken);
  return taken.length;
}

test('one host has eight, and another has its own', () => {
  expect(offer('203.0.113.1', 20)).toBe(8);
  expect(offer('203.0.113.2', 20)).toBe(8);
});

test('strangers together have 32, and the host itself is not among them', () => {
  let strangers = 0;
  for (let host = 1; host < 100; host++) strangers += offer(`203.0.113.${host}`, 2);
  expect(strangers).toBe(32);
  expect(offer('192.0.2.1', 20) + offer('127.0.0.1', 5) + offer('::1', 5) + offer('::ffff:127.0.0.1', 5)).toBe(16);
});

test('what is closed makes room', () => {
  expect(offer('203.0.113.1', 9)).toBe(8);
  admitted.shift()!.emit('close');
  expect(offer('203.0.113.1', 9)).toBe(1);
  for (const socket of admitted.splice(0)) socket.emit('close');
  expect(offer('203.0.113.1', 9)).toBe(8);
});

test('one that broke off is not counted', () => {
  expect(offer(undefined, 3)).toBe(0);
});
