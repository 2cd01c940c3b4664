/** One series of a Prometheus text exposition that is not the same any more. */
export interface MovedSeries {
  readonly series: string;
  readonly before: number;
  readonly after: number;
}

/**
 * The series that moved between two scrapes, in the order of the second. One that was not there before counts from 0.
 * @param isShown which series are of interest, by their whole name with labels
 */
export function movedSeries(
  before: string,
  after: string,
  isShown: (series: string) => boolean,
): readonly MovedSeries[] {
  const old = parse(before);
  return [...parse(after)]
    .map(([series, value]) => ({ series, before: old.get(series) ?? 0, after: value }))
    .filter((moved) => moved.before !== moved.after && isShown(moved.series));
}

function parse(text: string): ReadonlyMap<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    // A label's value may hold spaces: the number is what follows the last brace, or the name.
    const match = /^([^\s{]+(?:\{.*\})?) (\S+)/.exec(line);
    if (match) series.set(match[1]!, Number(match[2]));
  }
  return series;
}
