/** What an administrator reads who renders the chart with its defaults before he installs it: nothing stands there unexplained. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Manifest, podOf, render, runHelm, templateArgs } from './render.ts';

/** Fields that one has to know Kubernetes well to need no reason for. */
const needReason = [
  'aggregate-to-admin',
  'activeDeadlineSeconds',
  'appArmorProfile',
  'backoffLimit',
  'clusterIP',
  'dnsPolicy',
  'enableServiceLinks',
  'failurePolicy',
  'hostNetwork',
  'hostPath',
  'hostPort',
  'hook-delete-policy',
  'hook-output-log-policy',
  'hook-weight',
  'ipFamilyPolicy',
  'limits',
  'livenessProbe',
  'maxSurge',
  'mountPropagation: HostToContainer }',
  'priorityClassName',
  'publishNotReadyAddresses',
  'readinessProbe',
  'readOnlyRootFilesystem',
  'replicas',
  'seccompProfile',
  'seLinuxOptions',
  'serviceAccountName',
  'startupProbe',
  'terminationGracePeriodSeconds',
  'tolerations',
  'topologySpreadConstraints',
  'unhealthyPodEvictionPolicy',
];

const { stdout } = await runHelm(templateArgs());
const documents = stdout
  .split(/^---\n/m)
  .map((text) => text.split('\n').filter((line) => line !== '' && !line.startsWith('# Source: ')))
  .filter((lines) => lines.length > 0);
const titled = documents.map((lines) => {
  const field = (key: string) => lines.find((line) => line.trimStart().startsWith(`${key}:`))?.split(': ')[1];
  return { title: `${field('kind')} ${field('name')}`, lines };
});

it.each(titled)('$title says what it is for', ({ lines }) => {
  expect(lines[0]).toMatch(/^# [A-Z]/);
});

it('gives reasons where they are not plain', () => {
  const isComment = (line: string | undefined) => /^\s*#/.test(line ?? '');
  const indent = (line: string) => line.length - line.trimStart().length;
  /** Beside the field, or above what it is a part of; the title of the whole object does not count. */
  const hasReason = (lines: readonly string[], at: number): boolean => {
    if (isComment(lines[at - 1]) || isComment(lines[at + 1])) return true;
    let depth = indent(lines[at]!);
    for (let above = at - 1; depth > 0; above--) {
      const line = lines[above]!;
      if (isComment(line) || indent(line) >= depth) continue;
      depth = indent(line);
      if (depth > 0 && isComment(lines[above - 1])) return true;
    }
    return false;
  };
  const seen = new Set<string>();
  const missing = titled.flatMap(({ title, lines }) =>
    lines.flatMap((line, at) => {
      const field = needReason.find((each) => !isComment(line) && line.includes(each));
      if (field === undefined) return [];
      if (hasReason(lines, at)) seen.add(field);
      return [{ field, title, line: line.trim() }];
    }),
  );
  // Said once is enough: the same field means the same wherever it stands.
  expect(missing.filter(({ field }) => !seen.has(field))).toEqual([]);
  expect(new Set(missing.map(({ field }) => field))).toEqual(new Set(needReason));
});

it("has every privilege of the agent's pod in the table of docs/security.md", async () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');
  const table = /### On the node\n([\s\S]*?)\n\nIt has no other/.exec(text)![1]!;
  const { pod, container } = podOf((await render()).get('DaemonSet', 'portcullis-agent'));
  const { capabilities, runAsUser, seccompProfile, appArmorProfile, seLinuxOptions, ...rest } =
    container.securityContext;
  const hostPaths = pod.volumes.map(({ name, hostPath }: Manifest) =>
    name === 'state' ? 'agent.stateDir' : hostPath.path,
  );
  const privileges = [
    ...capabilities.add.map((capability: string) => `capability ${capability}`),
    ...hostPaths.map((path: string) => `\`${path}\` of the host`),
    `user ${runAsUser}`,
    `seccomp \`${seccompProfile.type}\``,
    `AppArmor \`${appArmorProfile.type}\``,
    `SELinux \`${seLinuxOptions.type}\``,
    pod.priorityClassName,
    ...Object.keys(pod).filter((key) => /^host/.test(key)),
  ];
  for (const privilege of privileges) expect(table).toContain(privilege);
  // Nothing else that widens what it may do.
  expect(rest).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
  expect(pod.securityContext).toBeUndefined();
});

it('leaves no line of blanks behind', () => {
  expect(stdout.split('\n').filter((line) => /^\s+$/.test(line))).toEqual([]);
});
