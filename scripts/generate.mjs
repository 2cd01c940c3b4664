// Writes anew everything that is generated and committed. Each generator is a file scripts/generate-*.ts that writes its
// own outputs when run; the tests beside the outputs prove them fresh.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const node = join(folder, '..', 'node_modules', '.bin', 'node');

for (const name of readdirSync(folder).sort()) {
  if (!/^generate-.*\.ts$/.test(name) || name.endsWith('.test.ts')) continue;
  process.stdout.write(`generate: ${name}\n`);
  execFileSync(node, [join(folder, name)], { stdio: 'inherit' });
}
