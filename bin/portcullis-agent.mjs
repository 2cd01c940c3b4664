#!/usr/bin/env node
// Starts the bundled agent.
import { argv, env } from 'node:process';
import { launch } from './launch.mjs';

// The agent runs for months beside other work. A small young generation, no TurboFan (its compiler alone takes 5 MB), machine code
// only for what is hot under an attack (Maglev, later than by default, and no Sparkplug), and one malloc arena that gives back what
// is free save a quarter of its resident memory. The bound on the heap keeps garbage
// from piling up where the block table is full and read every few seconds; twice what was ever live then.
function memoryFlags() {
  const flags = [
    ...['--max-semi-space-size=1', '--optimize-for-size'],
    ...['--no-turbofan', '--no-sparkplug', '--invocation-count-for-maglev=20000'],
  ];
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
