import { spawn } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../support/command.ts';
import { type Namespace, nodePath, TestNet, waitFor } from '../support/namespaces.ts';

async function pair(net: TestNet, options?: Parameters<TestNet['veth']>[2]): Promise<[Namespace, Namespace]> {
  const a = await net.namespace('a');
  const b = await net.namespace('b');
  await net.veth(
    { namespace: a, name: 'eth0', addresses: ['192.0.2.1/24', '2001:db8::1/64'] },
    { namespace: b, name: 'eth0', addresses: ['192.0.2.2/24', '2001:db8::2/64'] },
    options,
  );
  return [a, b];
}

describe('a net of namespaces', () => {
  it('carries IPv4 and IPv6 between two namespaces as soon as it is made', async () => {
    await using net = await TestNet.create();
    const [a, b] = await pair(net);
    const server = b.spawnNode([
      '-e',
      'require("net").createServer((s) => s.end("hello")).listen(8080, () => console.log("up"))',
    ]);
    await waitFor(() => server.stdout.includes('up'), 30_000);
    for (const host of ['192.0.2.2', '2001:db8::2']) {
      const client = await a.exec([nodePath, '-e', `require("net").connect(8080, "${host}").pipe(process.stdout)`]);
      expect(client.stdout).toBe('hello');
    }
  });

  it('gives a pair the MTU and the offloads that were asked for', async () => {
    await using net = await TestNet.create();
    const [, jumbo] = await pair(net, { mtu: 9_000 });
    const [, offloaded] = await pair(net, { offloads: true });
    const checksum = async (namespace: Namespace) =>
      /tx-checksumming: (\w+)/.exec((await namespace.exec(['ethtool', '-k', 'eth0'])).stdout)?.[1];
    expect((await jumbo.exec(['ip', '-o', 'link', 'show', 'eth0'])).stdout).toContain('mtu 9000');
    expect(await checksum(jumbo)).toBe('off');
    expect(await checksum(offloaded)).toBe('on');
  });

  it('says which command failed, and what it wrote', async () => {
    await using net = await TestNet.create();
    const a = await net.namespace('a');
    await expect(a.exec(['sh', '-c', 'echo no such thing >&2; exit 3'])).rejects.toThrow(/ended with 3\nno such thing/);
    await expect(a.exec(['sleep', '60'], { timeoutMs: 100 })).rejects.toThrow(/SIGKILL, at most 100 ms/);
    await expect(a.exec(['no-such-command'])).rejects.toThrow(/no-such-command/);
  });

  it('sees the same bpffs inside of a namespace and outside', async () => {
    await using net = await TestNet.create();
    const a = await net.namespace('a');
    const pins = net.pinPath();
    await a.exec(['mkdir', join(pins, 'made-inside')]);
    expect(readdirSync(pins)).toEqual(['made-inside']);
  });
});

describe('what is left after a net', () => {
  it('is nothing: commands, namespaces, pins and folders are gone', async () => {
    const net = await TestNet.create();
    const [a] = await pair(net);
    const folders = [net.pinPath(), net.folder()];
    writeFileSync(join(folders[1]!, 'file'), 'x');
    // The grandchild is what a killed parent would leave behind.
    const sleeper = a.spawn(['sh', '-c', 'sleep 300 & echo $!; wait']);
    const grandchild = await waitFor(() => sleeper.stdout.trim(), 30_000);
    await net[Symbol.asyncDispose]();
    expect(existsSync(a.path)).toBe(false);
    expect(folders.filter(existsSync)).toEqual([]);
    await waitFor(() => !existsSync(`/proc/${grandchild}`), 30_000, { what: 'the grandchild to end' });
  });

  it('is nothing when the process exits in the middle', async () => {
    const script = `
      const { TestNet } = await import(${JSON.stringify(join(import.meta.dirname, '../support/namespaces.ts'))});
      const net = await TestNet.create();
      console.log((await net.namespace('x')).path, net.pinPath());
      process.exit(1);`;
    const { stdout } = await run([nodePath, '--input-type=module', '-e', script], { allowFailure: true });
    const paths = stdout.trim().split(' ');
    expect(paths).toHaveLength(2);
    expect(paths.filter(existsSync)).toEqual([]);
  });

  it('goes when the next net is made, if the process was killed', async () => {
    const script = `
      const { TestNet } = await import(${JSON.stringify(join(import.meta.dirname, '../support/namespaces.ts'))});
      const net = await TestNet.create();
      const namespace = await net.namespace('x');
      namespace.spawn(['sleep', '300']);
      console.log(namespace.path, net.pinPath());
      setInterval(() => {}, 1000);`;
    const child = spawn(nodePath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const paths = (await waitFor(() => stdout.includes('\n') && stdout.trim(), 10_000)).split(' ');
    child.kill('SIGKILL');
    await waitFor(() => !existsSync(`/proc/${child.pid}`), 30_000, { what: 'the killed process to go' });
    expect(paths.filter(existsSync)).toEqual(paths);
    await using _next = await TestNet.create();
    expect(paths.filter(existsSync)).toEqual([]);
  });
});

describe('waiting for something', () => {
  it('ends with its value, or in an error that names it', async () => {
    let calls = 0;
    expect(await waitFor(() => ++calls === 3 && 'there', 1_000, { intervalMs: 1 })).toBe('there');
    const never = waitFor(() => Promise.reject(new Error('not yet')), 50, { what: 'the server', intervalMs: 1 });
    await expect(never).rejects.toMatchObject({
      message: 'the server: not within 50 ms',
      cause: { message: 'not yet' },
    });
  });
});
