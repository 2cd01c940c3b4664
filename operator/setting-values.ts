import type { ValueForm } from '../agent/setting-values.ts';
import { parseDuration } from '../api/duration.ts';

/** In the unit that is largest without a fraction. */
function spoken(ms: number): string {
  for (const [unit, unitMs] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms >= unitMs && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}

/** In ms. */
export function duration(minMs: number, maxMs: number): ValueForm<number> {
  return {
    placeholder: 'DURATION',
    allowed: `a duration from ${spoken(minMs)} to ${spoken(maxMs)}, such as 500ms, 90s, 10m or 1h30m`,
    read: (text) => {
      const ms = parseDuration(text);
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
    },
    suggest: (text) => (/^\d+$/.test(text) ? `${text}s` : undefined),
  };
}

export const dnsLabel: ValueForm<string> = {
  placeholder: 'NAME',
  allowed: 'a name of at most 63 lower-case letters, digits and dashes',
  read: (text) => (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text) ? text : undefined),
  suggest: (text) => text.toLowerCase(),
};
