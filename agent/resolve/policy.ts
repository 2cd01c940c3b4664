import { parseDuration } from '../../api/duration.ts';
import { PortcullisError } from '../../api/errors.ts';
import type { PortScanPolicy } from '../../api/types.ts';
import type { DesiredPolicy } from './desired-state.ts';

/** A policy with its durations in milliseconds and its words as facts. */
export function desiredPolicy({ metadata, spec }: PortScanPolicy): DesiredPolicy {
  const blockDurationMs = durationOf(spec.block.duration);
  return {
    name: metadata.name,
    enforce: spec.mode === 'Enforce',
    distinctTargets: spec.detection.distinctTargets,
    windowMs: durationOf(spec.detection.window),
    allDestinations: spec.detection.destinations === 'All',
    ipv6PrefixLength: spec.detection.ipv6PrefixLength,
    blockDurationMs,
    // A source that has not proven its address is never worse off than one that has.
    unprovenDurationMs: Math.min(durationOf(spec.block.unprovenDuration), blockDurationMs),
    blockAllTraffic: spec.block.traffic === 'All',
    logConnections: spec.connectionLog === 'All',
  };
}

/** The duration of a text that was validated before; anything else is a mistake of ours. */
function durationOf(text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === undefined) throw new PortcullisError('Internal', `${JSON.stringify(text)} is no duration`);
  return durationMs;
}
