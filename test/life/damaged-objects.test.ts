import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GuardedHost, portScanPolicy } from './guarded-host.ts';

for (const [what, objects] of Object.entries({
  'an empty object': [{}],
  null: [null],
  'no spec': [{ file: 'x.yaml', kind: 'PortScanPolicy', name: 'x', line: 1, object: {} }],
  'spec of another version': [
    {
      file: 'x.yaml',
      kind: 'PortScanPolicy',
      name: 'x',
      line: 1,
      object: { kind: 'PortScanPolicy', metadata: { name: 'x' }, spec: { mode: 'Enforce', block: { duration: 'x' } } },
    },
  ],
}))
  test(`objects.json with ${what} does not keep the agent from guarding`, async () => {
    await using host = await GuardedHost.create();
    const state = join(host.policies, '..', 'state');
    mkdirSync(state);
    writeFileSync(join(state, 'objects.json'), JSON.stringify({ formatVersion: 1, objects }));
    host.write('p', portScanPolicy('p'));
    host.write('x', 'broken: [');
    const agent = host.launch(['--metrics-address', 'off', '--state', state]);
    const line = await agent
      .until(({ event }) => event === 'enforcing', 'enforcing', 6000)
      .catch((e: Error) => e.message.slice(0, 900));
    console.log(what, JSON.stringify(line));
    expect((line as { event?: string }).event).toBe('enforcing');
    await agent.stop();
  });
