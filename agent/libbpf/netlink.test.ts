import { describe, expect, it } from 'vitest';
import { errnoName } from './bpf-error.ts';
import { attachXdpByNetlink, NetlinkSocket, RouteGroup, XdpFlag } from './netlink.ts';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const NO_SUCH_INTERFACE = 0x7fff_fff0;

describe('NetlinkSocket', () => {
  it('dumps the links of this namespace', async () => {
    const socket = new NetlinkSocket();
    try {
      const dump = await socket.dump(RTM_GETLINK, Buffer.alloc(16), () => (each) => [each.type]);
      expect(dump.rows.length).toBeGreaterThan(0);
      expect(dump.rows.every((type) => type === RTM_NEWLINK)).toBe(true);
    } finally {
      socket.close();
    }
  });

  it('tells the table and the errno when the kernel refuses a dump', async () => {
    const socket = new NetlinkSocket();
    try {
      // Strict checking refuses a header with a field set that a dump cannot filter by.
      const header = Buffer.alloc(16);
      header.writeUInt16LE(772, 2);
      await expect(socket.dump(RTM_GETLINK, header, () => () => [])).rejects.toThrow(/dump of table 18: EINVAL \(.+\)/);
    } finally {
      socket.close();
    }
  });

  it('ends a wait for news when the signal aborts', async () => {
    const socket = new NetlinkSocket(RouteGroup.link);
    const abort = new AbortController();
    const waiting = socket.readable(abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    socket.close();
  });

  it('refuses to wait on a closed socket', async () => {
    const socket = new NetlinkSocket();
    socket.close();
    await expect(socket.readable()).rejects.toThrow('closed');
  });
});

describe('attachXdpByNetlink', () => {
  it('gives the errno for an interface that is not there', async () => {
    const answer = await attachXdpByNetlink(NO_SUCH_INTERFACE, -1, XdpFlag.native);
    expect(errnoName(answer.errno)).toBe('ENODEV');
  });
});
