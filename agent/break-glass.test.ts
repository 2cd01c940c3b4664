import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../test/support/wait-for.ts';
import { BreakGlass, type BreakGlassReason } from './break-glass.ts';

let folder: string;
let file: string;
let seen: (BreakGlassReason | undefined)[];
const stops: (() => Promise<void>)[] = [];
const nothing = { breakGlass: false, uninstalled: false };
const annotated = { ...nothing, breakGlass: true };
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pc-test-'));
  file = join(folder, 'portcullis', 'break-glass');
  seen = [];
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  rmSync(folder, { recursive: true });
});

function open(): BreakGlass {
  const glass: BreakGlass = new BreakGlass(file, () => seen.push(glass.reason));
  return glass;
}

function run(): BreakGlass {
  const glass = open();
  const stop = new AbortController();
  const running = glass.run(stop.signal);
  stops.push(async () => {
    stop.abort();
    await running;
  });
  return glass;
}

function make(): void {
  mkdirSync(join(folder, 'portcullis'), { recursive: true });
  writeFileSync(file, '');
}

test('asks for nothing where neither folder nor file exist', () => {
  const glass = open();
  expect([glass.reason, glass.finding]).toEqual([undefined, undefined]);
});

test('knows of a file from the start', () => {
  make();
  const glass = open();
  expect(glass.reason).toBe('File');
  expect(glass.finding).toMatchObject({ code: 'BreakGlass', message: expect.stringContaining(file) });
  expect(seen).toEqual([]);
});

test('hears of a file that is made, and of its end, once each', async () => {
  const glass = run();
  make();
  await waitFor(() => glass.reason === 'File', 10_000);
  rmSync(file);
  await waitFor(() => glass.reason === undefined, 10_000);
  expect(seen).toEqual(['File', undefined]);
});

test('by an annotation holds until that is taken back', () => {
  const glass = open();
  glass.setCluster(annotated);
  glass.setCluster(annotated);
  expect(glass.reason).toBe('NodeAnnotation');
  glass.setCluster(nothing);
  expect(seen).toEqual(['NodeAnnotation', undefined]);
});

test('by a file does not end with the annotation', async () => {
  make();
  const glass = run();
  glass.setCluster(annotated);
  glass.setCluster(nothing);
  expect(glass.reason).toBe('File');
  glass.setCluster(annotated);
  rmSync(file);
  await waitFor(() => glass.reason === 'NodeAnnotation', 10_000);
});

test('by an uninstallation comes before a file, which holds on when that is taken back', () => {
  make();
  const glass = open();
  glass.setCluster({ breakGlass: true, uninstalled: true });
  expect(glass.reason).toBe('Uninstall');
  expect(glass.finding).toMatchObject({ code: 'BreakGlass', remedy: expect.stringContaining('clusterfacts detach') });
  glass.setCluster(nothing);
  expect(seen).toEqual(['Uninstall', 'File']);
});
