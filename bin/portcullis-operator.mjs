#!/usr/bin/env node
// Starts the bundled operator.
import { argv } from 'node:process';
import { launch } from './launch.mjs';

// What it keeps of 5,000 nodes is 70 MB; a small young generation and one malloc arena keep garbage from doubling that.
const tuning = argv[2] === 'run' && { flags: ['--max-semi-space-size=4'], env: { MALLOC_ARENA_MAX: '1' } };
await launch({ program: 'portcullis-operator', bundle: 'operator.mjs', tuning });
