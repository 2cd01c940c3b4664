/**
 * What a terminal would act upon instead of showing: control characters, and those that reorder or hide text around them
 * (bidirectional controls, zero-width characters, line separators).
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Text out of a file or a packet, safe to print: what is not printable is written as an escape. */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** JSON for people and programs alike: escaped so that printing it to a terminal does nothing but print. */
export function printableJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  // Line feeds are JSON.stringify's own indentation; those in strings are escaped already.
  return `${text.replace(unprintable, (character) => (character === '\n' ? character : escapeUnits(character)))}\n`;
}

function escapeUnits(character: string): string {
  let escaped = '';
  for (let i = 0; i < character.length; i++) escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}

/** Columns aligned by spaces, two between; the last is not padded. Cells are made printable. */
export function alignColumns(
  rows: readonly (readonly string[])[],
  rightAligned: ReadonlySet<number> = new Set(),
): string {
  const cells = rows.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of cells) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const lines = cells.map((row) =>
    row
      .map((cell, i) => (rightAligned.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join('');
}

/** A number with thousands separated. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** A length of time in its two largest units: `9m52s`, `3d4h`, `0s` below a second. */
export function humaneDuration(durationMs: number): string {
  const seconds = Math.max(0, Math.floor(durationMs / 1000));
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join('');
}

/** A moment as seen from now: `in 9m52s`, `8s ago`, `now`. */
export function humaneTime(atMs: number, nowMs: number): string {
  const duration = humaneDuration(Math.abs(atMs - nowMs));
  if (duration === '0s') return 'now';
  return atMs > nowMs ? `in ${duration}` : `${duration} ago`;
}
