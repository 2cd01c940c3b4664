import { cases as abuse } from './abuse.ts';
import type { Case } from './case.ts';
import { cases as encapsulation } from './encapsulation.ts';
import { cases as limits } from './limits.ts';
import { cases as policies } from './policies.ts';
import { cases as probes } from './probes.ts';
import { cases as sources } from './sources.ts';
import { cases as tables } from './tables.ts';
import { cases as window } from './window.ts';

/** All cases, by the file they stand in. */
export const caseFiles: Readonly<Record<string, readonly Case[]>> = {
  probes,
  sources,
  encapsulation,
  abuse,
  window,
  tables,
  policies,
  limits,
};

export const cases: readonly Case[] = Object.values(caseFiles).flat();
