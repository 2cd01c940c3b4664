import { describe, expect, test } from 'vitest';
import { type BuildRequest, findBuilder, NoImageBuilder } from './builder.ts';

/** A machine on which these commands, by how they begin, end with 0. */
const machine =
  (...working: readonly string[]) =>
  (argv: readonly string[]) =>
    working.some((start) => argv.join(' ').startsWith(start));

const request: BuildRequest = {
  root: '/src',
  dockerfile: 'Dockerfile.agent',
  tag: 'docker.io/portcullis/agent:1',
  platform: 'linux/arm64',
  args: { VERSION: '1' },
  secrets: { ca: '/etc/ca.pem' },
};

describe('the program that builds images', () => {
  test('is docker where its daemon answers', () => {
    expect(findBuilder(undefined, machine('docker', 'podman', 'buildah')).name).toBe('docker');
  });

  test('is the next one where there is only the client of docker', () => {
    expect(findBuilder(undefined, machine('docker --version', 'buildah')).name).toBe('buildah');
  });

  test('is the one that is asked for, or none', () => {
    expect(findBuilder('podman', machine('docker', 'podman')).name).toBe('podman');
    expect(() => findBuilder('podman', machine('docker'))).toThrow(NoImageBuilder);
    expect(() => findBuilder('kaniko', machine('docker'))).toThrow(/kaniko is none of docker, podman, buildah/);
  });

  test('is missed with the reason for each', () => {
    expect(() => findBuilder(undefined, machine('docker --version'))).toThrow(
      /docker: no daemon of it answers; no podman; no buildah/,
    );
  });

  test('is asked for a base before it is told to build upon it', () => {
    for (const name of ['docker', 'podman', 'buildah']) {
      const builder = findBuilder(name, machine(name));
      expect(builder.isHere('example/node:1').at(-1)).toBe('example/node:1');
      expect(builder.pull('example/node:1')).toEqual([name, 'pull', '--quiet', 'example/node:1']);
    }
  });

  test('gets the file, the name, the platform, the arguments and the secrets', () => {
    for (const name of ['docker', 'podman', 'buildah']) {
      const argv = findBuilder(name, () => true)
        .build(request)
        .join(' ');
      expect(argv).toContain(
        '--file /src/Dockerfile.agent --tag docker.io/portcullis/agent:1 --platform linux/arm64 --build-arg VERSION=1 --secret id=ca,src=/etc/ca.pem /src',
      );
    }
  });
});
