#!/usr/bin/env node
// Starts the bundled operator, under the Node.js that came with the package where the machine's own is too old.
// This file alone must run on an old Node.js.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import process, { argv, env, execPath, exit, stderr, versions } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const self = fileURLToPath(import.meta.url);
const root = dirname(dirname(self));
const required = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
const bundle = join(root, 'dist', 'operator.mjs');
const ownNode = join(root, 'node_modules', '.bin', 'node');
// Set for the second start, so that a wrong `ownNode` ends in a message and not in a loop.
const restarted = 'PORTCULLIS_RESTARTED';
const tuned = 'PORTCULLIS_TUNED';

// Live data of a cluster of 5,000 nodes are some 100 MB; a small young generation and one malloc arena keep what is garbage
// from doubling that.
const memoryFlags = ['--max-semi-space-size=4'];
const memoryEnvironment = { MALLOC_ARENA_MAX: '1' };

if (!existsSync(bundle)) {
  refuse(`${bundle} is missing: run \`make build\` in ${root}`);
} else if (isAtLeast(versions.node, required)) {
  // In place: the process keeps its id, and no parent stays behind.
  if (argv[2] === 'run' && !env[tuned] && typeof process.execve === 'function') {
    const args = [execPath, ...memoryFlags, self, ...argv.slice(2)];
    process.execve(execPath, args, { ...env, ...memoryEnvironment, [tuned]: '1' });
  }
  delete env[restarted];
  delete env[tuned];
  await import(pathToFileURL(bundle).href);
} else if (!env[restarted] && existsSync(ownNode)) {
  restart();
} else {
  refuse(
    `Node.js ${versions.node} (${execPath}) is too old: install ${required} or newer, or run \`make setup\` in ${root}`,
  );
}

function refuse(message) {
  stderr.write(`portcullis-operator: ${message}\n`);
  exit(1);
}

function isAtLeast(version, minimum) {
  const [have, need] = [version, minimum].map((text) => text.split('.').map(Number));
  for (let part = 0; part < need.length; part++) {
    if ((have[part] ?? 0) !== need[part]) return (have[part] ?? 0) > need[part];
  }
  return true;
}

function restart() {
  const child = spawn(ownNode, [self, ...argv.slice(2)], { stdio: 'inherit', env: { ...env, [restarted]: '1' } });
  // A supervisor knows only this process: what it sends is meant for the operator.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', (error) => refuse(`${ownNode}: ${error.message}`));
  child.on('exit', (code, signal) => exit(code ?? 128 + constants.signals[signal]));
}
