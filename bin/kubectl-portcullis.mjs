#!/usr/bin/env node
// Starts the bundled kubectl plugin, under the Node.js that came with the package where the machine's own is too old.
// This file alone must run on an old Node.js.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import process, { argv, env, execPath, exit, stderr, versions } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

// kubectl finds a plugin by its name on the PATH, which is usually a link to here.
const self = realpathSync(fileURLToPath(import.meta.url));
const root = dirname(dirname(self));
const required = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
const bundle = join(root, 'dist', 'kubectl-portcullis.mjs');
const ownNode = join(root, 'node_modules', '.bin', 'node');
// Set for the second start, so that a wrong `ownNode` ends in a message and not in a loop.
const restarted = 'PORTCULLIS_RESTARTED';

if (!existsSync(bundle)) {
  refuse(`${bundle} is missing: run \`make build\` in ${root}`);
} else if (isAtLeast(versions.node, required)) {
  delete env[restarted];
  await import(pathToFileURL(bundle).href);
} else if (!env[restarted] && existsSync(ownNode)) {
  const child = spawn(ownNode, [self, ...argv.slice(2)], { stdio: 'inherit', env: { ...env, [restarted]: '1' } });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => refuse(`${ownNode}: ${error.message}`));
  child.on('exit', (code, signal) => exit(code ?? 128 + constants.signals[signal]));
} else {
  refuse(
    `Node.js ${versions.node} (${execPath}) is too old: install ${required} or newer, or run \`make setup\` in ${root}`,
  );
}

function refuse(message) {
  stderr.write(`kubectl-portcullis: ${message}\n`);
  exit(3);
}

function isAtLeast(version, minimum) {
  const [have, need] = [version, minimum].map((text) => text.split('.').map(Number));
  for (let part = 0; part < need.length; part++) {
    if ((have[part] ?? 0) !== need[part]) return (have[part] ?? 0) > need[part];
  }
  return true;
}
