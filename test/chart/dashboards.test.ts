import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { checkDashboards } from './grafana/check-dashboards.ts';
import type { Manifest } from './render.ts';

const files = globSync('files/dashboards/*.json', { cwd: chartFolder }).map((path) => join(chartFolder, path));
/** Go builds the program once, on a busy machine in minutes. */
const timeoutMs = 600_000;

/** What the schema has against a dashboard that was changed. */
async function complaint(change: (board: Manifest) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-boards-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const board = JSON.parse(readFileSync(files[0]!, 'utf8'));
  change(board);
  const file = join(folder, 'board.json');
  writeFileSync(file, JSON.stringify(board));
  const { code, stderr } = await checkDashboards([file]);
  expect(code).toBe(1);
  return stderr;
}

describe('the dashboards', () => {
  it("are of Grafana's schema, to the last option of each panel", { timeout: timeoutMs }, async () => {
    expect(files.length).toBe(2);
    const { code, stderr } = await checkDashboards(files);
    expect([code, stderr]).toEqual([0, '']);
  });
});

describe('the schema', () => {
  it('knows fields of dashboards, options of panels and fields of queries', { timeout: timeoutMs }, async () => {
    const panel = (board: Manifest) => board.panels.find(({ type }: Manifest) => type === 'timeseries');
    expect(await complaint((board) => Object.assign(board, { titel: 'x' }))).toContain('titel');
    expect(await complaint((board) => Object.assign(panel(board).options, { legnd: {} }))).toContain('legnd');
    expect(await complaint((board) => Object.assign(panel(board).targets[0], { expression: 'up' }))).toContain(
      'expression',
    );
    expect(await complaint((board) => Object.assign(panel(board).gridPos, { w: 'wide' }))).toContain('gridPos.w');
  });
});
