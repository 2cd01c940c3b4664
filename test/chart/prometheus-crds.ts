import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findGo } from '../cluster/control-plane/go.ts';
import { cacheFolder } from '../cluster/control-plane/go-programs.ts';

const operator = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';

/** Files of the Prometheus operator's own CRDs, out of its Go module, which Go checks and keeps in its cache. */
export async function prometheusCrds(): Promise<readonly string[]> {
  const go = findGo(process.env, cacheFolder(process.env));
  // Outside of any module: it downloads that one, and nothing that it needs.
  const { stdout } = await promisify(execFile)(go.program, ['mod', 'download', '-json', operator], {
    cwd: '/',
    env: go.env,
    maxBuffer: 2 ** 20,
  });
  const { Dir } = JSON.parse(stdout) as { readonly Dir: string };
  return ['servicemonitors', 'prometheusrules'].map((kind) =>
    join(Dir, 'example/prometheus-operator-crd', `monitoring.coreos.com_${kind}.yaml`),
  );
}
