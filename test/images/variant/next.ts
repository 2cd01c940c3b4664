import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { nodePath } from '../../support/command.ts';

/** What the next build calls itself: newer than 0.1.0, by the order of Semantic Versioning. */
export const nextVersion = '0.1.1-next';
/** The layout of its tables: an agent of this tree finds pins of the next one that it cannot read, and the other way round. */
export const nextLayoutVersion = 2;

/** A change of one file: `find` must be there exactly once. */
export interface Patch {
  readonly file: string;
  readonly find: string | RegExp;
  readonly replace: string;
}

/** A tree that a patch does not fit any more: the sources moved on, and the patch has to follow. */
export class PatchDoesNotFit extends Error {
  override readonly name = 'PatchDoesNotFit';
}

/**
 * Each line is what a release would change: one more field in the value of a pinned table, and with it the version of the layout;
 * one more optional field in a policy's spec; one in the report, which the agent fills in, so that a CRD without it is written to.
 */
export const patches: readonly Patch[] = [
  { file: 'package.json', find: /"version": "[^"]+"/, replace: `"version": "${nextVersion}"` },
  { file: 'bpf/layout.h', find: /#define LAYOUT_VERSION \d+/, replace: `#define LAYOUT_VERSION ${nextLayoutVersion}` },
  {
    file: 'bpf/layout.h',
    find: '#define BLOCK_PORTS 16\nstruct block {\n',
    replace: '#define BLOCK_PORTS 16\nstruct block {\n\t__u64 note;\n',
  },
  {
    file: 'crds/portscanpolicies.yaml',
    find: '              required: [mode]\n              properties:\n',
    replace:
      '              required: [mode]\n              properties:\n                note:\n                  type: string\n                  description: For whoever reads it later.\n                  maxLength: 64\n',
  },
  {
    file: 'crds/nodereports.yaml',
    find: '                  required: [version, startedAt]\n                  properties:\n',
    replace:
      '                  required: [version, startedAt]\n                  properties:\n                    note:\n                      type: string\n                      description: For whoever reads it later.\n                      maxLength: 64\n',
  },
  {
    file: 'agent/report/node-report.ts',
    find: '      version: cut(input.version, 64),\n',
    replace: "      version: cut(input.version, 64),\n      note: 'next',\n",
  },
  { file: 'charts/portcullis/Chart.yaml', find: /^version: .*$/m, replace: `version: ${nextVersion}` },
  { file: 'charts/portcullis/Chart.yaml', find: /^appVersion: .*$/m, replace: `appVersion: ${nextVersion}` },
];

/** Of the repository: what images and chart are made from, and what generates the rest of it. */
const parts = [
  ...[
    'Dockerfile.agent',
    'Dockerfile.operator',
    '.dockerignore',
    '.gitignore',
    'LICENSE',
    'biome.json',
    'package.json',
    'package-lock.json',
  ],
  ...['agent', 'api', 'bin', 'bpf', 'charts', 'cli', 'crds', 'docs', 'kube', 'operator', 'scripts'],
];

/** @throws PatchDoesNotFit */
export function patched(text: string, { file, find, replace }: Patch): string {
  const found =
    typeof find === 'string'
      ? text.split(find).length - 1
      : [...text.matchAll(new RegExp(find, `g${find.flags}`))].length;
  if (found !== 1)
    throw new PatchDoesNotFit(`${file} has ${found} places like ${find}: test/images/variant/next.ts has to follow it`);
  return text.replace(find, () => replace);
}

/**
 * Copies the sources below `root` to the folder `tree`, which must not be there, and makes the next version of them.
 * @throws PatchDoesNotFit
 */
export function makeNextTree(root: string, tree: string): void {
  mkdirSync(tree, { recursive: true });
  for (const part of parts)
    if (existsSync(join(root, part))) cpSync(join(root, part), join(tree, part), { recursive: true });
  for (const patch of patches) {
    const file = join(tree, patch.file);
    writeFileSync(file, patched(readFileSync(file, 'utf8'), patch));
  }
  // What is generated out of them, by the tree's own generators.
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'));
  for (const name of ['generate-types', 'generate-layout'])
    execFileSync(nodePath, [join(tree, 'scripts', `${name}.ts`)], {
      cwd: tree,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  for (const name of readdirSync(join(tree, 'crds')))
    copyFileSync(join(tree, 'crds', name), join(tree, 'charts', 'portcullis', 'crds', name));
}
