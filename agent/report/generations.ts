import type { PolicySnapshot } from '../source/policy-source.ts';

/** `metadata.generation` of policies and lists by `Kind/name`; objects out of a file may have none. */
export const generationsOf = (policies: PolicySnapshot | undefined): Map<string, number> =>
  new Map(
    [...(policies?.portScanPolicies ?? []), ...(policies?.ipBlocklists ?? [])].flatMap(({ kind, metadata }) =>
      metadata.generation === undefined ? [] : [[`${kind}/${metadata.name}`, metadata.generation] as const],
    ),
  );
