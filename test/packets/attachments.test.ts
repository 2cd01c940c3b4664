/** Programs on interfaces: attached in the mode asked for, adopted after a restart, and never in another program's place. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Namespace, TestNet } from '../support/namespaces.ts';

const child = join(import.meta.dirname, 'attachments-child.ts');

let net: TestNet;
let namespace: Namespace;
let peer: Namespace;
let pinPath: string;
let ifindex: number;
beforeEach(async () => {
  net = await TestNet.create();
  namespace = await net.namespace('a');
  peer = await net.namespace('b');
  await net.veth({ namespace, name: 'v0' }, { namespace: peer, name: 'v1' });
  const { stdout } = await namespace.exec(['ip', '-j', 'link', 'show', 'v0']);
  ifindex = (JSON.parse(stdout) as { ifindex: number }[])[0]!.ifindex;
  pinPath = net.pinPath();
});
afterEach(async () => await net[Symbol.asyncDispose]());

interface Step {
  readonly step: string;
  readonly answer?: unknown;
  readonly state: readonly { ifindex: number; mode: string; program: string }[];
  readonly pins: readonly string[];
}

/** Another process, as another agent would be. */
async function steps(...names: string[]): Promise<Step[]> {
  const command = namespace.spawnNode([child, pinPath, String(ifindex), ...names]);
  const { stdout, stderr, code } = await command.ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Step);
}

/** What the kernel says of the interface: `xdp` for native, `xdpgeneric`; nothing when nothing is attached. */
async function attached(): Promise<{ mode: string; id: number } | undefined> {
  const { stdout } = await namespace.exec(['ip', '-j', '-d', 'link', 'show', 'v0']);
  const [link] = JSON.parse(stdout) as { xdp?: { mode: number; prog: { id: number } } }[];
  return link?.xdp && { mode: link.xdp.mode === 1 ? 'native' : 'generic', id: link.xdp.prog.id };
}

describe('a program', () => {
  test.each(['native', 'generic'])(
    'attached in mode %s outlives its process, and the next one adopts it',
    async (mode) => {
      const [first] = await steps(mode);
      expect(first).toMatchObject({ state: [{ ifindex, mode, program: 'first' }], pins: [`${ifindex}-${mode}`] });
      const before = await attached();
      expect(before?.mode).toBe(mode);
      const [adopted, swapped, closed] = await steps('adopt', 'swap', 'close');
      expect(adopted?.state).toEqual([{ ifindex, mode, program: '?' }]);
      expect(swapped?.state).toEqual([{ ifindex, mode, program: 'other' }]);
      expect(closed).toMatchObject({ state: [], pins: [`${ifindex}-${mode}`] });
      const after = await attached();
      expect(after?.mode).toBe(mode);
      expect(after?.id).not.toBe(before?.id);
      const [, detached] = await steps('adopt', 'detach');
      expect(detached).toMatchObject({ state: [], pins: [] });
      expect(await attached()).toBeUndefined();
    },
  );

  test('tried in mode auto is native where the driver has it', async () => {
    expect(await steps('auto')).toMatchObject([{ answer: {}, state: [{ mode: 'native' }] }]);
  });

  test('that the driver refuses becomes generic in mode auto and says why; asked for native it is refused', async () => {
    // A veth takes a native program only if a frame of its peer fits one page, or the program takes several buffers.
    await peer.ip('link set v1 mtu 9000');
    const [refused, auto] = await steps('native', 'auto');
    expect(refused).toMatchObject({ answer: { refused: 'failed' }, state: [], pins: [] });
    expect(refused!.answer).toMatchObject({ message: expect.stringContaining('MTU') });
    expect(auto).toMatchObject({ state: [{ mode: 'generic' }] });
    expect(auto!.answer).toMatchObject({ fallbackReason: expect.stringContaining('MTU') });
  });

  test('is never attached in the place of another', async () => {
    const [, ...tried] = await steps('foreign', 'native', 'generic', 'auto');
    for (const one of tried) expect(one).toMatchObject({ answer: { refused: 'foreign' }, state: [], pins: [] });
    expect(await attached()).toBeUndefined();
  });

  test('is let go with its pin when its interface is deleted, by those who run and by those who come later', async () => {
    await steps('native');
    await namespace.ip('link del v0');
    const [adopted] = await steps('adopt');
    expect(adopted).toMatchObject({ state: [], pins: [] });
  });

  test('taken off twice, or never put on, is no error', async () => {
    const all = await steps('native', 'detach', 'detach', 'gone');
    expect(all.at(-1)).toMatchObject({ answer: [], state: [], pins: [] });
  });
});
