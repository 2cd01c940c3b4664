import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commandHelp, commandNames, overviewHelp } from './help.ts';

const page = readFileSync(new URL('../docs/kubectl-plugin.md', import.meta.url), 'utf8');

test.each(commandNames)('docs/kubectl-plugin.md has the help of %s, word by word', (name) => {
  expect(page).toContain(`## ${name}\n\n\`\`\`\n${commandHelp(name).trimEnd()}\n\`\`\`\n`);
});

test('the overview names every command', () => {
  for (const name of commandNames) expect(overviewHelp()).toMatch(new RegExp(`^  ${name} `, 'm'));
});
