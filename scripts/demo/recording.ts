/** A line that a program wrote to its terminal, with the escape sequences of colours in it. */
export interface RecordedLine {
  /** Since the start. */
  readonly atMs: number;
  readonly text: string;
}

export type Style = 'bold' | 'dim' | 'green' | 'red';

export interface Span {
  readonly text: string;
  readonly styles: readonly Style[];
}

const styleOf: Readonly<Record<string, Style>> = { 1: 'bold', 2: 'dim', 31: 'red', 32: 'green' };
const endOf: Readonly<Record<string, readonly Style[]>> = {
  0: ['bold', 'dim', 'green', 'red'],
  22: ['bold', 'dim'],
  39: ['green', 'red'],
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: what colours begin with
const escapeSequence = /\u001b\[(\d*)m/;

/** The pieces of a line by how they look. Escape sequences other than those of the demo's own colours have no effect. */
export function spansOf(line: string): readonly Span[] {
  const spans: Span[] = [];
  let styles: readonly Style[] = [];
  // Texts stand at even places, codes between them.
  for (const [index, part] of line.split(escapeSequence).entries()) {
    if (index % 2 === 0) {
      if (part !== '') spans.push({ text: part, styles });
      continue;
    }
    const code = part || '0';
    const ended = endOf[code] ?? [];
    const begun = styleOf[code];
    styles = [...styles.filter((style) => !ended.includes(style)), ...(begun === undefined ? [] : [begun])];
  }
  return spans;
}

/** As much of a line as has room in `columns`; what is cut off shows as one more character. */
export function cutOff(spans: readonly Span[], columns: number): readonly Span[] {
  const length = spans.reduce((sum, { text }) => sum + [...text].length, 0);
  if (length <= columns) return spans;
  const cut: Span[] = [];
  let room = columns - 1;
  for (const { text, styles } of spans) {
    if (room <= 0) break;
    const kept = [...text].slice(0, room).join('');
    room -= [...kept].length;
    cut.push({ text: kept, styles });
  }
  return [...cut, { text: '…', styles: ['dim'] }];
}

export interface Pace {
  /** Longer waits are shown as this long. */
  readonly maxWaitMs: number;
  /** From one line to the next one at least. */
  readonly minWaitMs: number;
  /** Before a line that begins something new, for who reads. */
  readonly readingMs: number;
}

/** When each line shows in a replay: as recorded, but for long waits, and with time to read. */
export function replayTimes(
  lines: readonly RecordedLine[],
  { maxWaitMs, minWaitMs, readingMs }: Pace,
  isHeading: (line: RecordedLine) => boolean,
): readonly number[] {
  let nowMs = 0;
  return lines.map((line, index) => {
    const waitedMs = index === 0 ? 0 : line.atMs - lines[index - 1]!.atMs;
    nowMs += Math.min(Math.max(waitedMs, minWaitMs), maxWaitMs) + (index > 0 && isHeading(line) ? readingMs : 0);
    return Math.round(nowMs);
  });
}
