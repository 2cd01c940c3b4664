#!/usr/bin/env node
// Starts the bundled kubectl plugin.
import { launch } from './launch.mjs';

await launch({ program: 'kubectl-portcullis', bundle: 'kubectl-portcullis.mjs', refusalCode: 3 });
