import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cutOff, replayTimes, spansOf } from './recording.ts';
import { terminalPicture } from './terminal-picture.ts';

const root = join(import.meta.dirname, '..', '..');

describe('a recorded line', () => {
  it('falls into pieces by how they look', () => {
    expect(spansOf('a \u001b[1mb\u001b[32mc\u001b[22md\u001b[39m e')).toEqual([
      { text: 'a ', styles: [] },
      { text: 'b', styles: ['bold'] },
      { text: 'c', styles: ['bold', 'green'] },
      { text: 'd', styles: ['green'] },
      { text: ' e', styles: [] },
    ]);
    expect(spansOf('\u001b[31mno\u001b[m yes')).toEqual([
      { text: 'no', styles: ['red'] },
      { text: ' yes', styles: [] },
    ]);
    expect(spansOf('')).toEqual([]);
  });

  it('is cut off where the terminal ends, and says so', () => {
    const spans = spansOf('\u001b[32m✓\u001b[39m all of it');
    expect(cutOff(spans, 11)).toBe(spans);
    const cut = cutOff(spans, 6);
    expect(cut.map(({ text }) => text)).toEqual(['✓', ' all', '…']);
  });
});

describe('a replay', () => {
  it('keeps the pace, but for long waits, and leaves time to read before a heading', () => {
    const lines = [0, 5, 400, 9_000].map((atMs, index) => ({ atMs, text: `${index}` }));
    const pace = { maxWaitMs: 1_000, minWaitMs: 50, readingMs: 2_000 };
    expect(replayTimes(lines, pace, ({ text }) => text === '2')).toEqual([50, 100, 2_495, 3_495]);
  });
});

describe('the picture of a terminal', () => {
  const options = { title: 'a < b', columns: 20, rows: 2, restMs: 1_000, timesMs: [0, 500, 1_000, 1_000] };
  const picture = terminalPicture({ ...options, lines: ['one', '<two> & "2"', 'three', 'four'] });

  it('shows text as it is, whatever it holds', () => {
    expect(picture).toContain('<title>a &lt; b</title>');
    expect(picture).toContain('>&lt;two&gt; &amp; &quot;2&quot;</text>');
    expect(picture).not.toContain('<two>');
  });

  it('shows each line in its time, and goes up when the screen is full', () => {
    expect(picture).toContain('@keyframes r1{0%{opacity:0}25.00%,100%{opacity:1}}');
    // Lines three and four come together: one step of two rows.
    expect(picture).toContain('@keyframes scroll{0%{transform:none}50.00%{transform:translateY(-36px)}100%');
    expect(picture).not.toContain('translateY(-18px)');
  });

  it('is whole without animation', () => {
    // Outside of the rules for who takes motion nothing is hidden.
    expect(picture.replace(/@media[\s\S]*?\n}\n/, '').replace(/@keyframes.*/g, '')).not.toMatch(/opacity|animation/);
  });
});

describe('docs/images/demo.svg', () => {
  const file = join(root, 'docs', 'images', 'demo.svg');

  it('is of this demo: node scripts/record-demo.ts writes it anew', () => {
    expect(existsSync(file)).toBe(true);
    const picture = readFileSync(file, 'utf8');
    const steps = [...readFileSync(join(root, 'scripts', 'demo.ts'), 'utf8').matchAll(/terminal\.step\(\s*'([^']+)'/g)];
    expect(steps.length).toBeGreaterThan(5);
    for (const [index, [, title]] of steps.entries()) expect(picture).toContain(`>${index + 1}. ${title}</text>`);
    expect(picture).toContain('All of it held');
    expect(picture).not.toContain('✗');
  });
});
