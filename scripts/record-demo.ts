// Runs the demo and writes docs/images/demo.svg, which replays what it wrote. The demo has to hold all that it promises.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type RecordedLine, replayTimes } from './demo/recording.ts';
import { terminalPicture } from './demo/terminal-picture.ts';

const root = join(import.meta.dirname, '..');
const picture = join(root, 'docs', 'images', 'demo.svg');
const prompt = '\u001b[2m#\u001b[22m make demo';
// The log's record alone is longer: it is cut off.
const columns = 112;
const rows = 30;

const lines = [{ atMs: 0, text: prompt }, ...(await recordedDemo())];
const timesMs = replayTimes(lines, { maxWaitMs: 1_500, minWaitMs: 60, readingMs: 1_500 }, isHeading);
mkdirSync(dirname(picture), { recursive: true });
writeFileSync(
  picture,
  terminalPicture({
    title: 'make demo',
    lines: lines.map(({ text }) => text),
    timesMs,
    columns,
    rows,
    restMs: 6_000,
  }),
);
process.stdout.write(
  `record-demo: ${picture}, ${lines.length} lines, plays ${Math.round(timesMs.at(-1)! / 1_000)} s\n`,
);

async function recordedDemo(): Promise<readonly RecordedLine[]> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [join(root, 'scripts', 'demo.ts')], {
    env: { ...process.env, FORCE_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const written: RecordedLine[] = [];
  createInterface({ input: child.stdout }).on('line', (text) =>
    written.push({ atMs: performance.now() - startedAt, text }),
  );
  const [code] = await once(child, 'close');
  if (code !== 0) {
    process.stderr.write(`record-demo: the demo ended with ${code}:\n${written.map(({ text }) => text).join('\n')}\n`);
    process.exit(1);
  }
  return written;
}

function isHeading({ text }: RecordedLine): boolean {
  return text.startsWith('\u001b[1m');
}
