import { describe, expect, it } from 'vitest';
import {
  acknowledgementOf,
  attribute,
  attributesOf,
  MessageFlag,
  MessageType,
  message,
  messagesOf,
  nestedAttribute,
  textOf,
  unsigned32,
} from './netlink-message.ts';

describe('messagesOf', () => {
  it('splits a datagram, messages aligned to 4 bytes', () => {
    const first = message(16, 2, 7, Buffer.from([1, 2, 3]));
    const second = message(17, 0, 8, Buffer.from([9]));
    const datagram = Buffer.concat([first, Buffer.alloc(1), second]);
    expect([...messagesOf(datagram)]).toEqual([
      { type: 16, flags: 2, sequence: 7, payload: Buffer.from([1, 2, 3]) },
      { type: 17, flags: 0, sequence: 8, payload: Buffer.from([9]) },
    ]);
  });

  it('leaves out a message that is cut short, or shorter than its own header', () => {
    const whole = message(16, 0, 1, Buffer.alloc(8));
    expect([...messagesOf(whole.subarray(0, 20))]).toEqual([]);
    whole.writeUInt32LE(3, 0);
    expect([...messagesOf(whole)]).toEqual([]);
  });
});

describe('attributesOf', () => {
  it('reads padded and nested attributes', () => {
    const inner = attribute(1, Buffer.from('veth\0'));
    const bytes = Buffer.concat([unsigned32(0), attribute(3, Buffer.from([5])), nestedAttribute(18, [inner])]);
    const attributes = attributesOf(bytes, 4);
    expect(attributes.get(3)).toEqual(Buffer.from([5]));
    expect(textOf(attributesOf(attributes.get(18)!).get(1)!)).toBe('veth');
  });

  it('stops at an attribute that reaches beyond the message', () => {
    const bytes = Buffer.concat([attribute(3, Buffer.from([5])), attribute(4, Buffer.alloc(8))]);
    expect([...attributesOf(bytes.subarray(0, bytes.length - 1)).keys()]).toEqual([3]);
    expect(attributesOf(Buffer.from([0, 0, 3, 0])).size).toBe(0);
  });
});

describe('acknowledgementOf', () => {
  const quotedHeader = Buffer.alloc(16);

  it('gives the errno and the words of the kernel', () => {
    const error = Buffer.alloc(4);
    error.writeInt32LE(-95);
    const words = attribute(1, Buffer.from('MTU is too large\0'));
    const flags = MessageFlag.ackAttributes;
    const [reply] = messagesOf(message(MessageType.error, flags, 1, Buffer.concat([error, quotedHeader, words])));
    expect(acknowledgementOf(reply!)).toEqual({ errno: 95, message: 'MTU is too large' });
  });

  it('reads the done of a dump that failed, which quotes no request', () => {
    const error = Buffer.alloc(4);
    error.writeInt32LE(-22);
    const words = attribute(1, Buffer.from('Invalid values in header\0'));
    const flags = MessageFlag.ackAttributes;
    const [reply] = messagesOf(message(MessageType.done, flags, 1, Buffer.concat([error, words])));
    expect(acknowledgementOf(reply!)).toEqual({ errno: 22, message: 'Invalid values in header' });
  });

  it('reads success', () => {
    const [reply] = messagesOf(message(MessageType.error, 0, 1, Buffer.concat([Buffer.alloc(4), quotedHeader])));
    expect(acknowledgementOf(reply!)).toEqual({ errno: 0 });
  });
});
