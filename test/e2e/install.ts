import { beforeAll, describe, expect, test } from 'vitest';
import { scan } from '../../scripts/demo/scan.ts';
import { untilProgrammed } from '../cluster/faults/objects.ts';
import type { GuardedNode } from './guarded-node.ts';
import { daemonSet, namespace, type ReleaseWorld } from './release.ts';

/** Of a PortScanPolicy that does not say. */
const distinctTargets = 15;
/** Of the stranger's own interface, from which nmap scans by itself. */
const scannerAddress = '100.66.6.6';
/** CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF, by their numbers. */
const agentCapabilities = (1n << 12n) | (1n << 38n) | (1n << 39n);

export function installTests(here: () => ReleaseWorld): void {
  let written = '';
  beforeAll(async () => {
    if (here() === undefined) return;
    const startedMs = performance.now();
    written = await here().install('portcullis');
    console.log(`figure: helm install --wait on 2 nodes took ${Math.round(performance.now() - startedMs)} ms`);
  }, 240_000);

  test('brings an agent to each node and two operators, ready, and blocks nobody', async () => {
    const world = here();
    const pods = await world.agentPods();
    expect([...pods.keys()].sort()).toEqual(world.nodes.map(({ name }) => name));
    const operators = await world.plane.list('pods', [
      '-n',
      namespace,
      '-l',
      'app.kubernetes.io/name=portcullis-operator',
    ]);
    expect(operators.map(({ status }) => status.containerStatuses[0].ready)).toEqual([true, true]);
    // Spread, so that one node's end leaves one of them.
    expect(new Set(operators.map(({ spec }) => spec.nodeName)).size).toBe(2);
    for (const node of world.nodes) {
      await world.untilReported(node, 0);
      expect(await node.xdp()).toBeUndefined();
    }
  });

  test('what NOTES.txt says to type works, and does what it says', async () => {
    const world = here();
    const blocks = commandsOf(written);
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks) await world.shell(block);
    const described = await world.until('the policy to be in force', async () => {
      const { status } = (await world.plane.get('portscanpolicy', 'every-node'))!;
      return status?.summary === '2/2' && (await world.shell('kubectl describe portscanpolicy every-node'));
    });
    expect(described).toContain('Monitor');
    for (const node of world.nodes) expect(await node.xdp(), node.name).toBeDefined();

    const [, breakGlass] = /in the way: (kubectl .*)$/m.exec(written) ?? [];
    await world.shell(breakGlass!);
    for (const node of world.nodes)
      await world.until(`${node.name} to be detached`, async () => (await node.xdp()) === undefined);
    await world.shell(breakGlass!.replace('=detach', '-'));
    for (const node of world.nodes) await world.until(`${node.name} to be guarded`, () => node.xdp());
    await world.shell('kubectl delete portscanpolicy every-node');
  });

  test("an agent's container may do what the chart says and no more", async () => {
    for (const node of here().nodes) {
      const pid = await node.agentPid();
      const process = await statusOf(node, pid);
      for (const set of ['CapEff', 'CapPrm', 'CapBnd'])
        expect(BigInt(`0x${process[set]}`), set).toBe(agentCapabilities);
      for (const set of ['CapInh', 'CapAmb']) expect(BigInt(`0x${process[set]}`), set).toBe(0n);
      console.log(`figure: an agent in a pod has ${process.VmRSS} resident`);
      // 2: a filter.
      expect(process).toMatchObject({ NoNewPrivs: '1', Seccomp: '2', Uid: '0 0 0 0' });
      const mounts = await mountsOf(node, pid);
      expect(mounts.get('/')?.split(',')).toContain('ro');
      const fromHost = ['/sys/fs/bpf', '/var/lib/portcullis', '/run/portcullis'];
      for (const path of fromHost) expect(mounts.has(path), path).toBe(true);
      expect(mounts.get('/run/portcullis')?.split(',')).toContain('ro');
      const own =
        /^\/(proc|sys|dev)(\/|$)|^\/etc\/(hosts|hostname|resolv\.conf)$|^\/run\/secrets\/|^\/var\/run\/secrets\//;
      expect([...mounts.keys()].filter((path) => path !== '/' && !fromHost.includes(path) && !own.test(path))).toEqual(
        [],
      );
      const write = await node.real.exec(['touch', `/proc/${pid}/root/written`], { allowFailure: true });
      expect(write.stderr).toContain('Read-only file system');
      const shells = ['bin/sh', 'bin/bash', 'usr/bin/sh', 'bin/busybox'].map((path) => `/proc/${pid}/root/${path}`);
      expect((await node.real.exec(['ls', ...shells], { allowFailure: true })).stdout).toBe('');
    }
    const shell = await here().plane.kubectl(['exec', '-n', namespace, daemonSet, '--', 'sh', '-c', 'true']);
    expect(shell.code).not.toBe(0);
  });

  test("the operator's container may do nothing but talk", async () => {
    const world = here();
    let seen = 0;
    for (const node of world.nodes) {
      const { stdout } = await node.real.exec(['pgrep', '-f', 'portcullis-operator.mjs run'], { allowFailure: true });
      for (const pid of stdout.split('\n').filter(Boolean).map(Number)) {
        seen++;
        const process = await statusOf(node, pid);
        for (const set of ['CapEff', 'CapPrm', 'CapBnd', 'CapInh', 'CapAmb'])
          expect(BigInt(`0x${process[set]}`), set).toBe(0n);
        expect(process).toMatchObject({ NoNewPrivs: '1', Seccomp: '2', Uid: '65532 65532 65532 65532' });
        expect((await mountsOf(node, pid)).get('/')?.split(',')).toContain('ro');
      }
    }
    expect(seen).toBe(2);
    const budget = await world.plane.get('poddisruptionbudget', 'portcullis-operator', namespace);
    expect(budget?.status).toMatchObject({ expectedPods: 2, disruptionsAllowed: 1 });
    const networkPolicy = await world.plane.get('networkpolicy', 'portcullis-operator', namespace);
    expect(networkPolicy?.spec.policyTypes).toEqual(['Ingress']);
  });

  describe('with a policy', () => {
    beforeAll(async () => {
      if (here() === undefined) return;
      await here().plane.apply({
        apiVersion: 'portcullis.dev/v1alpha1',
        kind: 'PortScanPolicy',
        metadata: { name: 'web-node' },
        spec: { mode: 'Enforce', block: { duration: '10m', unprovenDuration: '10m' } },
      });
      await untilProgrammed(here(), 'web-node', { nodes: 2 });
    }, 90_000);

    test('agents attach in the network namespace of their node, and nowhere else', async () => {
      const ids = new Set<number>();
      for (const node of here().nodes) {
        const { id } = (await node.xdp())!;
        ids.add(id);
        const { stdout } = await node.real.exec(['bpftool', 'net', 'show'], { allowFailure: true });
        expect(stdout).toMatch(/^eth0\(\d+\) (driver|generic)/m);
        expect(stdout.match(/ id \d+$/gm)).toHaveLength(1);
      }
      expect(ids.size).toBe(2);
    });

    test('a scan of 1,000 ports gets 14 answers, and the policy says who it was, where, and which ports', async () => {
      const world = here();
      const [scanned] = world.nodes;
      const result = await scan(world.attacker, scanned.address);
      console.log(`figure: a scan of ${result.probed} ports got ${result.answered} answers`);
      expect(result).toMatchObject({ probed: 1000, answered: distinctTargets - 1 });
      const described = await world.until('the block to be told', async () => {
        const text = await world.shell('kubectl describe portscanpolicy web-node');
        return text.includes(scannerAddress) && text;
      });
      console.log(described.slice(described.indexOf('Status:')));
      const { status } = (await world.plane.get('portscanpolicy', 'web-node'))!;
      const [block] = status.blocks;
      expect(status.blocks).toHaveLength(1);
      expect(block).toMatchObject({ source: scannerAddress, nodes: [scanned.name], probes: distinctTargets });
      expect(block.ports.length).toBeGreaterThan(0);
      for (const text of [scannerAddress, scanned.name, ...block.ports.map(String)]) expect(described).toContain(text);
      const printed = await world.shell('kubectl portcullis blocked');
      expect(printed).toMatch(
        new RegExp(`^${scannerAddress}\\s+web-node\\s+${scanned.name}\\s+${distinctTargets}\\s`, 'm'),
      );
    });

    test('metrics are served where the chart says: agents to the node alone, operators to the cluster', async () => {
      const world = here();
      const [a, b] = world.nodes;
      const { stdout } = await a.real.exec(['curl', '-sSf', '-m5', 'http://127.0.0.1:9469/metrics']);
      expect(stdout).toMatch(/^portcullis_blocks_total\{policy="web-node",state="blocked"\} 1$/m);
      expect(stdout).not.toContain(scannerAddress);
      const outside = ['curl', '-sS', '-m2', `http://${a.address}:9469/metrics`];
      expect((await b.real.exec(outside, { allowFailure: true })).code).not.toBe(0);
      const operators = await world.plane.list('pods', [
        ...['-n', namespace, '-l', 'app.kubernetes.io/name=portcullis-operator'],
      ]);
      for (const { status } of operators) {
        const served = await a.real.exec(['curl', '-sSf', '-m5', `http://${status.podIP}:9470/metrics`]);
        expect(served.stdout).toMatch(/^portcullis_operator_\w+/m);
      }
    });

    test('goes with the policy', async () => {
      const world = here();
      await world.shell('kubectl delete portscanpolicy web-node');
      for (const node of world.nodes)
        await world.until(`${node.name} to be free`, async () => (await node.xdp()) === undefined);
    });
  });
}

/** Commands in NOTES.txt: what is set in by five columns, a blank line between one and the next. */
function commandsOf(notes: string): readonly string[] {
  const blocks: string[] = [];
  let isOpen = false;
  for (const line of notes.split('\n')) {
    const [, command] = /^ {5}(\S.*)$/.exec(line) ?? [];
    if (command !== undefined) blocks.push(isOpen ? `${blocks.pop()}\n${command}` : command);
    isOpen = command !== undefined;
  }
  return blocks;
}

async function statusOf(node: GuardedNode, pid: number): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await node.real.exec(['cat', `/proc/${pid}/status`]);
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, value = '']) => [name, value.trim().replaceAll('\t', ' ')]),
  );
}

/** Options of each mount of a process, by its place. */
async function mountsOf(node: GuardedNode, pid: number): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await node.real.exec(['cat', `/proc/${pid}/mountinfo`]);
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map((fields) => [fields[4]!, fields[5]!]),
  );
}
