import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { helmBinary } from '../cluster/real-nodes/build.ts';

/** An object of a manifest: as deep as tests look. */
// biome-ignore lint/suspicious/noExplicitAny: what a template makes has any shape, and the tests say which.
export type Manifest = any;

export interface HelmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let helm: Promise<string> | undefined;

/** Runs helm, built once, without a cluster, with `values` beside those of the chart. */
export async function runHelm(args: readonly string[], values: object = {}): Promise<HelmResult> {
  helm ??= helmBinary();
  // A kubeconfig of whoever runs the tests is none of theirs.
  const env = { ...process.env, KUBECONFIG: '/nonexistent' };
  const child = spawn(await helm, [...args, '--values', '-'], { env });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  child.stdin.end(JSON.stringify(values));
  const [code] = await once(child, 'close');
  const [stdout, stderr] = await output;
  return { code, stdout, stderr };
}

export const release = { name: 'guard', namespace: 'portcullis-system', kubeVersion: '1.36.0' };

/** The arguments of `helm template` for the release of the tests. */
export const templateArgs = (options: Partial<typeof release> = {}): readonly string[] => {
  const { name, namespace, kubeVersion } = { ...release, ...options };
  return ['template', name, chartFolder, '--namespace', namespace, '--kube-version', kubeVersion];
};

/** What the chart makes of `values`, hooks included. Throws with Helm's words when it refuses them. */
export async function render(values: object = {}, options: Partial<typeof release> = {}): Promise<Rendered> {
  const { code, stdout, stderr } = await runHelm(templateArgs(options), values);
  if (code !== 0) throw new Error(stderr);
  const documents = parseAllDocuments(stdout);
  for (const document of documents) if ('errors' in document && document.errors.length > 0) throw document.errors[0];
  return new Rendered(documents.map((document) => document.toJS()).filter((object) => object !== null));
}

export class Rendered {
  readonly objects: readonly Manifest[];

  constructor(objects: readonly Manifest[]) {
    this.objects = objects;
  }

  /** All of a kind. */
  all(kind: string): readonly Manifest[] {
    return this.objects.filter((object) => object.kind === kind);
  }

  /** Throws when there is none. */
  get(kind: string, name: string): Manifest {
    const found = this.find(kind, name);
    if (found === undefined) throw new Error(`no ${kind} ${name} among ${this.names().join(', ')}`);
    return found;
  }

  find(kind: string, name: string): Manifest | undefined {
    return this.objects.find((object) => object.kind === kind && object.metadata.name === name);
  }

  names(): readonly string[] {
    return this.objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  }
}

/** The pod and its one container. */
export function podOf(workload: Manifest): { readonly pod: Manifest; readonly container: Manifest } {
  const pod = workload.spec.template.spec;
  return { pod, container: pod.containers[0] };
}
