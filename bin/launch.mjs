// Starts a bundled program, under the Node.js that came with the package where the machine's own is too old. This file and
// those that use it must run on an old Node.js.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import process, { argv, env, execPath, exit, stderr, versions } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

// Set for the second start, so that a wrong Node.js ends in a message and not in a loop.
const restarted = 'PORTCULLIS_RESTARTED';
const tuned = 'PORTCULLIS_TUNED';

/**
 * `program` names `bin/<program>.mjs`, `bundle` the file in dist/. `refusalCode` is how it ends when it cannot be started.
 * `tuning`, where there is one, gives flags of Node.js and variables with which the process begins anew, in place.
 */
export async function launch({ program, bundle, refusalCode = 1, tuning }) {
  const refuse = (message) => {
    stderr.write(`${program}: ${message}\n`);
    exit(refusalCode);
  };
  // kubectl finds a plugin by its name on the PATH, which is usually a link to here.
  const folder = dirname(realpathSync(fileURLToPath(import.meta.url)));
  const self = join(folder, `${program}.mjs`);
  const root = dirname(folder);
  const required = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const file = join(root, 'dist', bundle);
  const ownNode = join(root, 'node_modules', '.bin', 'node');
  if (!existsSync(file)) {
    refuse(`${file} is missing: run \`make build\` in ${root}`);
  } else if (isAtLeast(versions.node, required)) {
    // In place: the process keeps its id, and no parent stays behind.
    if (tuning && !env[tuned] && typeof process.execve === 'function') {
      const args = [execPath, ...tuning.flags, self, ...argv.slice(2)];
      process.execve(execPath, args, { ...env, ...tuning.env, [tuned]: '1' });
    }
    delete env[restarted];
    delete env[tuned];
    await import(pathToFileURL(file).href);
  } else if (!env[restarted] && existsSync(ownNode)) {
    restart(ownNode, self, refuse);
  } else {
    refuse(
      `Node.js ${versions.node} (${execPath}) is too old: install ${required} or newer, or run \`make setup\` in ${root}`,
    );
  }
}

function restart(ownNode, self, refuse) {
  const child = spawn(ownNode, [self, ...argv.slice(2)], { stdio: 'inherit', env: { ...env, [restarted]: '1' } });
  // A supervisor knows only this process: what it sends is meant for the program.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', (error) => refuse(`${ownNode}: ${error.message}`));
  child.on('exit', (code, signal) => exit(code ?? 128 + constants.signals[signal]));
}

function isAtLeast(version, minimum) {
  const [have, need] = [version, minimum].map((text) => text.split('.').map(Number));
  for (let part = 0; part < need.length; part++) {
    if ((have[part] ?? 0) !== need[part]) return (have[part] ?? 0) > need[part];
  }
  return true;
}
