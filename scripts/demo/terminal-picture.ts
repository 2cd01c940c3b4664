import { cutOff, type Span, spansOf } from './recording.ts';

export interface PictureOptions {
  /** Above the lines. */
  readonly title: string;
  readonly lines: readonly string[];
  /** When each line shows, ascending. */
  readonly timesMs: readonly number[];
  readonly columns: number;
  readonly rows: number;
  /** How long the end is shown before it begins anew. */
  readonly restMs: number;
}

// Of a monospaced font at 13 px, roughly; textLength makes it exactly this, whatever font the reader has.
const fonts = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const columnPx = 7.8;
const rowPx = 18;
const paddingPx = 16;
const barPx = 34;

/**
 * A terminal session as an SVG that plays: text and style sheet alone, without scripts or fonts of its own, so that it plays as an
 * image of a page too. Where nothing is animated, and for who wants no motion, it shows the first screen.
 */
export function terminalPicture({ title, lines, timesMs, columns, rows, restMs }: PictureOptions): string {
  const totalMs = (timesMs.at(-1) ?? 0) + restMs;
  const percent = (ms: number) => `${((100 * ms) / totalMs).toFixed(2)}%`;
  const width = Math.ceil(columns * columnPx) + 2 * paddingPx;
  const height = barPx + rows * rowPx + paddingPx;
  const hidden = lines.slice(0, rows).map(
    // The first one is there from the start.
    (_, row) => (row === 0 ? '' : `@keyframes r${row}{0%{opacity:0}${percent(timesMs[row]!)},100%{opacity:1}}`),
  );
  const steps = timesMs
    .map((ms, index) => ({ ms, up: Math.max(0, index + 1 - rows) * rowPx }))
    .filter(({ ms, up }, index, all) => up > 0 && all[index + 1]?.ms !== ms);
  const scroll = steps.map(({ ms, up }) => `${percent(ms)}{transform:translateY(-${up}px)}`).join('');
  const last = steps.at(-1)?.up ?? 0;
  const text = lines.map((line, row) => textElement(cutOff(spansOf(line), columns), row, row < rows)).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="${fonts}" font-size="13">
<title>${escaped(title)}</title>
<style>
text{fill:#c9d1d9;white-space:pre}
.bold{font-weight:bold;fill:#f0f6fc}
.dim{fill:#8b949e}
.green{fill:#3fb950}
.red{fill:#f85149}
.title{fill:#8b949e;text-anchor:middle}
@media (prefers-reduced-motion:no-preference){
.all{animation:scroll ${totalMs}ms step-end infinite}
${hidden.map((_, row) => (row === 0 ? '' : `.r${row}{animation:r${row} ${totalMs}ms step-end infinite}`)).join('')}
}
@keyframes scroll{0%{transform:none}${scroll}100%{transform:translateY(-${last}px)}}
${hidden.join('\n').trim()}
</style>
<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>
<circle cx="20" cy="17" r="6" fill="#f85149"/><circle cx="40" cy="17" r="6" fill="#d29922"/><circle cx="60" cy="17" r="6" fill="#3fb950"/>
<text class="title" x="${width / 2}" y="22">${escaped(title)}</text>
<clipPath id="screen"><rect x="0" y="${barPx}" width="${width}" height="${rows * rowPx}"/></clipPath>
<g clip-path="url(#screen)"><g class="all">
${text}
</g></g>
</svg>
`;
}

function textElement(spans: readonly Span[], row: number, isOnFirstScreen: boolean): string {
  if (spans.length === 0) return '';
  const y = barPx + row * rowPx + 13;
  let column = 0;
  const parts = spans.map(({ text, styles }) => {
    const count = [...text].length;
    const at = `x="${px(paddingPx + column * columnPx)}" textLength="${px(count * columnPx)}"`;
    column += count;
    const look = styles.length === 0 ? '' : ` class="${styles.join(' ')}"`;
    // Blanks are kept by this attribute where the style sheet's white-space is not known.
    return `<text${look} ${at} y="${y}" xml:space="preserve">${escaped(text)}</text>`;
  });
  return isOnFirstScreen && row > 0 ? `<g class="r${row}">${parts.join('')}</g>` : parts.join('');
}

function px(value: number): string {
  return `${Math.round(value * 10) / 10}`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
