import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describedValues } from './generate-chart-docs.ts';

const root = join(import.meta.dirname, '..');
const pages = ['*.md', 'charts/**/*.md', 'docs/**/*.md', 'test/**/*.md'].flatMap((pattern) =>
  globSync(pattern, { cwd: root }),
);

/** What a heading's anchor is called on the usual hosts. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(path: string): readonly string[] {
  return [...readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading!));
}

function brokenLinks(page: string): readonly string[] {
  const links = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path, fragment] = link.split('#') as [string, string | undefined];
    const target = path === '' ? join(root, page) : join(root, dirname(page), path);
    if (!existsSync(target)) return true;
    return fragment !== undefined && !anchorsOf(target).includes(fragment);
  });
}

describe('the documentation', () => {
  it.each(pages)('%s links to nothing that is not there', (page) => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it('names in the architecture page only files that are there', () => {
    const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    const paths = [
      ...text.matchAll(
        /`((?:agent|api|bin|bpf|charts|cli|crds|deploy|docs|examples|kube|operator|plugin|scripts|test)\/[\w./*-]+)`/g,
      ),
    ].map(([, path]) => path!);
    expect(paths.length).toBeGreaterThan(20);
    expect(paths.filter((path) => globSync(path, { cwd: root }).length === 0)).toEqual([]);
  });

  it('names only values that the chart has', () => {
    const known = describedValues(readFileSync(join(root, 'charts/portcullis/values.yaml'), 'utf8')).map(
      ({ path }) => path,
    );
    const named = [...pages, 'charts/portcullis/templates/NOTES.txt'].flatMap((page) =>
      [
        ...readFileSync(join(root, page), 'utf8').matchAll(
          /`((?:agent|operator|crds|uninstall|roles|starterPolicies|metrics|networkPolicy)\.[a-zA-Z.]+)(?:[:=][^`]*)?`/g,
        ),
      ].map(([, path]) => path!),
    );
    expect(named.length).toBeGreaterThan(30);
    const isKnown = (path: string) => known.some((value) => value === path || value.startsWith(`${path}.`));
    expect(named.filter((path) => !isKnown(path) && !/\.(ts|mjs|yaml|md|tar|env)$/.test(path))).toEqual([]);
  });

  it('has every page of docs/ in its index', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8');
    const listed = globSync('docs/*.md', { cwd: root }).map((page) => relative('docs', page));
    expect(listed.filter((page) => page !== 'README.md' && !index.includes(`](${page})`))).toEqual([]);
  });

  it('has every decision in the list of decisions', () => {
    const index = readFileSync(join(root, 'docs/decisions/README.md'), 'utf8');
    const decisions = globSync('docs/decisions/2*.md', { cwd: root }).map((page) => relative('docs/decisions', page));
    expect(decisions.filter((page) => !index.includes(`](${page})`))).toEqual([]);
  });
});
