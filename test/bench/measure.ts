/** Middle and ends of what several rounds gave. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export const spreadOf = (values: readonly number[]): Spread => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
};

/** Element by element: what of one round belongs together is divided before anything is averaged. */
export const ratios = (over: readonly number[], under: readonly number[]): Spread =>
  spreadOf(over.map((value, i) => value / under[i]!));

export interface Goal {
  readonly atMost: number;
  readonly unit: string;
}

/** One figure of a section, as build/bench.json keeps it. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly min?: number;
  readonly max?: number;
  readonly unit: string;
  readonly goal?: number;
  readonly met?: boolean;
}

export const figure = (name: string, unit: string, value: number | Spread, goal?: number): Figure => {
  const spread = typeof value === 'number' ? undefined : value;
  const number = typeof value === 'number' ? value : value.median;
  return {
    name,
    value: round(number),
    ...(spread && { min: round(spread.min), max: round(spread.max) }),
    unit,
    ...(goal !== undefined && { goal, met: number <= goal }),
  };
};

const round = (value: number): number => Number(value.toPrecision(4));

export interface SectionResult {
  readonly figures: readonly Figure[];
}

export interface SectionOptions {
  /** Fewer rounds and packets: shows that it works and roughly how fast. */
  readonly short: boolean;
  readonly print: (text: string) => void;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  run(options: SectionOptions): Promise<SectionResult>;
}

/** Lines with columns in line: the first to the left, the others to the right. */
export const table = (rows: readonly (readonly string[])[]): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
};

export const showRatio = (spread: Spread): string =>
  `${spread.median.toFixed(2)} (${spread.min.toFixed(2)}-${spread.max.toFixed(2)})`;

export const showGoal = (value: number, goal: number | undefined): string =>
  goal === undefined ? '' : `<= ${goal} ${value <= goal ? 'met' : 'MISSED'}`;
