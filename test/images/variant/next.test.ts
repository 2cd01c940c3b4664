import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isNewer } from '../../../operator/crds/version-order.ts';
import { makeNextTree, nextLayoutVersion, nextVersion, PatchDoesNotFit, patched } from './next.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'pc-next-'));
const tree = join(folder, 'tree');

beforeAll(() => makeNextTree(root, tree));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const text = (path: string) => readFileSync(join(tree, path), 'utf8');
const version = (path: string) => (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;

describe('the next build, for tests of upgrades', () => {
  test('is newer than this one, in its programs, images and chart', () => {
    expect(isNewer(nextVersion, version(join(root, 'package.json')))).toBe(true);
    expect(version(join(tree, 'package.json'))).toBe(nextVersion);
    expect(text('charts/portcullis/Chart.yaml')).toContain(`\nversion: ${nextVersion}\nappVersion: ${nextVersion}\n`);
  });

  test('has another layout of the table of blocks, in the kernel and in user space', async () => {
    const own = await import('../../../agent/datapath/layout.ts');
    const next = (await import(join(tree, 'agent/datapath/layout.ts'))) as typeof own;
    expect(next.layoutVersion).toBe(nextLayoutVersion);
    expect(next.layoutVersion).not.toBe(own.layoutVersion);
    expect(next.blockStruct.bytes).toBe(own.blockStruct.bytes + 8);
    expect(next.blockStruct.until).not.toBe(own.blockStruct.until);
  });

  test('has one more field in policies and in reports, which its agent writes', () => {
    for (const path of ['api/types/port-scan-policy.ts', 'api/types/node-report.ts'])
      expect(text(path)).toContain('note?: string');
    for (const crd of ['portscanpolicies', 'nodereports'])
      expect(text(`charts/portcullis/crds/${crd}.yaml`)).toBe(text(`crds/${crd}.yaml`));
    expect(text('agent/report/node-report.ts')).toContain("note: 'next'");
  });

  test('cannot be made of sources that went on without it', () => {
    const patch = { file: 'a.h', find: /VERSION \d/, replace: 'VERSION 2' };
    expect(patched('VERSION 1', patch)).toBe('VERSION 2');
    expect(() => patched('LAYOUT 1', patch)).toThrow(PatchDoesNotFit);
    expect(() => patched('VERSION 1, VERSION 1', patch)).toThrow(/a\.h has 2 places like .*next\.ts has to follow/);
  });
});
