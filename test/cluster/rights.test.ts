/**
 * docs/rights.md shows what each service account of the chart may do, as an API server tells it that has the chart's accounts and
 * roles and nothing else of it. With UPDATE_GUIDE=1 (`make guide`) the page is written anew; without, it must say the same.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Manifest, render } from '../chart/render.ts';
import { ControlPlane } from './control-plane/control-plane.ts';

const page = join(import.meta.dirname, '../../docs/rights.md');
const section = /(<!-- rights -->\n```console\n)\$ kubectl (.*)\n[\s\S]*?(```\n<!-- end of rights -->)/g;
const granting = ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'];

let plane: ControlPlane;
let accounts: readonly string[];
beforeAll(async () => {
  plane = await ControlPlane.start();
  const { objects } = await render();
  await plane.run(['create', 'namespace', 'portcullis-system']);
  await plane.apply(objects.filter(({ kind }: Manifest) => granting.includes(kind)));
  accounts = objects
    .filter(({ kind }: Manifest) => kind === 'ServiceAccount')
    .map(({ metadata }: Manifest) => metadata.name);
});
afterAll(() => plane?.stop());

it('says what every account of the chart may do', async () => {
  const text = readFileSync(page, 'utf8');
  const shown = [...text.matchAll(section)].map(([whole, begin, command, end]) => ({ whole, begin, command, end }));
  let fresh = text;
  for (const { whole, begin, command, end } of shown) {
    // Columns are as wide as the widest cell, which leaves spaces at the ends of lines.
    const printed = (await plane.run(command!.split(' '))).replaceAll(/ +$/gm, '');
    fresh = fresh.replace(whole, () => `${begin}$ kubectl ${command}\n${printed}${end}`);
  }
  if (process.env.UPDATE_GUIDE === '1') writeFileSync(page, fresh);
  else expect(text).toBe(fresh);

  expect(accounts.length).toBe(4);
  for (const account of accounts)
    expect(shown.filter(({ command }) => command!.endsWith(`:${account}`)).length, account).toBeGreaterThan(0);
  expect(fresh).toMatch(/nodereports\.portcullis\.dev .*\[create patch\]/);
});
