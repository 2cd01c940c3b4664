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

let limit: ConnectionLimit<FakeSocket>;
let open: FakeSocket[];
beforeEach(() => {
  limit = new ConnectionLimit();
  open = [];
});

/** A connection from there. As the server does, whom it displaces is closed; returns that one. */
function connect(remoteAddress: string | undefined): FakeSocket | undefined {
  const socket = new FakeSocket(remoteAddress);
  const goes = limit.admit(socket);
  open = [...open, socket].filter((each) => each !== goes);
  goes?.emit('close');
  return goes;
}

function connectOften(remoteAddress: string, count: number): void {
  for (let i = 0; i < count; i++) connect(remoteAddress);
}

const openFrom = (remoteAddress: string) => open.filter((socket) => socket.remoteAddress === remoteAddress).length;

test('one host has eight, and another has its own', () => {
  connectOften('203.0.113.1', 20);
  connectOften('203.0.113.2', 20);
  expect([openFrom('203.0.113.1'), openFrom('203.0.113.2')]).toEqual([8, 8]);
});

test('strangers together have 32, and the host itself is not among them', () => {
  for (let host = 1; host < 100; host++) connectOften(`203.0.113.${host}`, 2);
  expect(open).toHaveLength(32);
  connectOften('192.0.2.1', 20);
  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) connectOften(address, 5);
  expect(open).toHaveLength(32 + 16);
});

test('who holds all connections shuts nobody out: the oldest of who has most goes', () => {
  // A scraper that comes first, and later than others the kubelet, to a pod with an address of its own.
  connect('198.51.100.1');
  for (let host = 1; host <= 4; host++) connectOften(`203.0.113.${host}`, 8);
  expect(open).toHaveLength(32);
  expect(connect('198.51.100.2')?.remoteAddress).toMatch(/^203\.0\.113\./);
  connectOften('203.0.113.5', 8);
  expect([openFrom('198.51.100.1'), openFrom('198.51.100.2')]).toEqual([1, 1]);
});

test('nor of one address, or of the host itself: the oldest goes', () => {
  for (const address of ['203.0.113.1', '127.0.0.1']) {
    connectOften(address, 50);
    const [oldest] = open.filter((socket) => socket.remoteAddress === address);
    expect(connect(address)).toBe(oldest);
  }
});

test('what is closed makes room', () => {
  connectOften('203.0.113.1', 8);
  open.shift()!.emit('close');
  expect(connect('203.0.113.1')).toBeUndefined();
  expect(connect('203.0.113.1')).toBeDefined();
});

test('one that broke off is not counted', () => {
  const socket = new FakeSocket(undefined);
  expect(limit.admit(socket)).toBe(socket);
});
