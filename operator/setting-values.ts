import type { ValueForm } from '../agent/setting-values.ts';
import { formatDuration, parseDuration } from '../api/duration.ts';

/** In ms. */
export function duration(minMs: number, maxMs: number): ValueForm<number> {
  return {
    placeholder: 'DURATION',
    allowed: `a duration from ${formatDuration(minMs)} to ${formatDuration(maxMs)}, such as 500ms, 90s, 10m or 1h30m`,
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
