// `make bench-install`: what installing and replacing takes on two real nodes; prints the table of docs/install.md and writes
// build/bench-install.json. `node test/bench/install/run.ts [ROUNDS]`
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ReleaseWorld } from '../../e2e/release.ts';
import { type InstallRound, measureInstall, measureReplacement, type ReplacementRound } from './measure.ts';

const rounds = Number(process.argv[2] ?? 5);
if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) {
  process.stderr.write('bench-install: [ROUNDS], from 1 to 100\n');
  process.exit(2);
}
const root = join(import.meta.dirname, '..', '..', '..');
const say = (text: string) => process.stdout.write(`${text}\n`);

const installs: InstallRound[] = [];
const replacements: ReplacementRound[] = [];
{
  await using world = await ReleaseWorld.create();
  await world.plane.applyCrds(join(root, 'crds'));
  await world.plane.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'guard' },
    spec: { mode: 'Enforce' },
  });
  for (let round = 1; round <= rounds; round++) {
    const install = await measureInstall(world);
    say(`install ${round}: ${JSON.stringify(install)}`);
    installs.push(install);
    for (const node of world.nodes) {
      const replacement = await measureReplacement(world, node);
      say(`agent of ${node.name} replaced ${round}: ${JSON.stringify(replacement)}`);
      replacements.push(replacement);
    }
    const { code, stdout, stderr } = await world.uninstall('portcullis', ['--wait']);
    if (code !== 0) throw new Error(`helm uninstall: ended with ${code}\n${stderr}${stdout}`);
  }
}
const build = join(root, 'build');
mkdirSync(build, { recursive: true });
writeFileSync(
  join(build, 'bench-install.json'),
  `${JSON.stringify({ atMs: Date.now(), installs, replacements }, undefined, 2)}\n`,
);

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
function row<T>(name: string, goal: string, values: readonly T[], of: (value: T) => number): string {
  const sorted = values.map(of).toSorted((a, b) => a - b);
  return `| ${name} | ${goal} | ${seconds(sorted[sorted.length >> 1]!)} | ${seconds(sorted.at(-1)!)} |`;
}
say(`
| two nodes, images present, ${rounds} rounds | goal | median | worst |
|---|---|---|---|
${row('`helm install` until both nodes enforce the policy', '15 s', installs, (r) => r.enforcingMs)}
${row('until both have reported it', '', installs, (r) => r.reportedMs)}
${row('until `helm install --wait` returns', '', installs, (r) => r.helmMs)}
${row("an agent's pod is deleted until the next one enforces and has reported it", '3 s', replacements, (r) => r.reportedMs)}
${row('until its program is the one attached', '', replacements, (r) => r.enforcingMs)}
${row('until its pod is Ready', '', replacements, (r) => r.readyMs)}
`);
process.exit();
