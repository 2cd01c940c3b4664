#!/usr/bin/env node
// Starts the bundled agent.
import { argv, env } from 'node:process';
import { launch } from './launch.mjs';

// The agent runs for months beside other work. A small young generation, no TurboFan (its compiler alone takes 5 MB), Maglev only
// for what is as hot as under an attack, and one malloc arena that gives back what is free save a fifth of its resident memory.
// The bound on the heap keeps garbage from piling up where the block table is full and read every few seconds; twice what was
// ever live then. In a cluster, where each node has an agent in a pod with a limit, and a client of the API server in it, memory
// is saved at the price of a slower start too; what is attached goes on meanwhile. Files, YAML, would be read half as fast.
function memoryFlags() {
  const flags = ['--max-semi-space-size=1', '--no-turbofan', '--invocation-count-for-maglev=20000'];
  if (argv.includes('--kubernetes')) flags.push('--optimize-for-size', '--no-sparkplug');
  if (/max[-_]old[-_]space[-_]size/.test(env.NODE_OPTIONS ?? '')) return flags;
  const at = argv.findIndex((arg) => /^--max-blocks(=|$)/.test(arg));
  const given = at === -1 ? env.PORTCULLIS_MAX_BLOCKS : (argv[at].split('=')[1] ?? argv[at + 1]);
  const maxBlocks = Number(given) || 65_536;
  return [...flags, `--max-old-space-size=${192 + Math.ceil(maxBlocks / 1024)}`];
}

const tuning = argv[2] === 'run' && {
  flags: memoryFlags(),
  env: { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' },
};
await launch({ program: 'portcullis-agent', bundle: 'agent.mjs', tuning });
