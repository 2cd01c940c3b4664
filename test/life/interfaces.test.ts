import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentScript } from '../support/agent.ts';
import { attachForeign } from '../support/foreign-program.ts';
import { type Namespace, TestNet, waitFor } from '../support/namespaces.ts';
import { AgentProcess, attackerAddress, distinctTargets, GuardedHost, portScanPolicy } from './guarded-host.ts';

const foreignNames = ['foreign0', 'foreign1'];

/** Who is in force on an interface, in the words of the kernel: `native`, `generic`, or undefined. */
const modeOf = async (host: GuardedHost, link: string, namespace?: Namespace) =>
  (await host.xdp(link, namespace))?.mode;

const attached = (host: GuardedHost, link: string, timeoutMs = 3_000) =>
  waitFor(() => host.xdp(link), timeoutMs, { what: `a program on ${link}` });

const interfaceIn = (host: GuardedHost, name: string) => host.status()?.interfaces.find((each) => each.name === name);

const finding = (host: GuardedHost, code: string, interfaceName: string) =>
  host.status()?.findings.items.find((each) => each.code === code && each.interfaceName === interfaceName);

describe('interfaces that come and go while the agent runs', () => {
  let host: GuardedHost;
  let agent: AgentProcess;

  beforeAll(async () => {
    host = await GuardedHost.create();
    const names = ['guard0', 'late0', 'tun0', 'lo', ...foreignNames];
    host.write('guard', portScanPolicy('guard', { interfaces: { names, patterns: ['lan*'] } }));
    agent = await host.start(['--log-level', 'debug']);
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it('is attached soon after it appears, whether it is up or not', async () => {
    await host.victim.ip('link add late0 type veth peer name far0');
    const startedAt = performance.now();
    await attached(host, 'late0');
    console.log(`figure: a new interface is guarded after ${Math.round(performance.now() - startedAt)} ms`);
    expect(await host.xdp('far0')).toBeUndefined();
    await waitFor(() => interfaceIn(host, 'late0')?.policy === 'guard', 30_000, { what: 'its status' });
  });

  it('keeps its program while it goes down and up', async () => {
    const before = await attached(host, 'late0');
    await host.victim.ip('link set far0 up', 'link set late0 up', 'link set late0 down', 'link set late0 up');
    const applied = agent.applied;
    await waitFor(() => agent.applied > applied, 2_000, { what: 'the change to be seen' }).catch(() => {});
    expect(await host.xdp('late0')).toEqual(before);
  });

  it('follows a new name that is selected as well, in status and commands, and keeps the program', async () => {
    const before = await attached(host, 'late0');
    await host.victim.ip('link set late0 down', 'link set late0 name lan7', 'link set lan7 up');
    await waitFor(() => interfaceIn(host, 'lan7')?.mode, 30_000, { what: 'the new name in the status file' });
    expect(interfaceIn(host, 'late0')).toBeUndefined();
    expect(await host.xdp('lan7')).toEqual(before);
    expect((await host.ask(['status'])).stdout).toMatch(/^ *lan7 +native/m);
  });

  it('is let go when its new name is not selected', async () => {
    await host.victim.ip('link set lan7 down', 'link set lan7 name other7');
    await waitFor(async () => (await host.xdp('other7')) === undefined, 30_000, { what: 'other7 to be let go' });
    await host.victim.ip('link set other7 name late0');
    await attached(host, 'late0');
  });

  it('is forgotten when it is deleted, and guarded again when one of its name comes back', async () => {
    await host.victim.ip('link del late0');
    await waitFor(() => host.status() && !interfaceIn(host, 'late0'), 30_000, { what: 'late0 to be forgotten' });
    await host.victim.ip('link add late0 type veth peer name far0');
    await attached(host, 'late0');
    await host.victim.ip('link del late0', 'link add late0 type veth peer name far0');
    await attached(host, 'late0');
    expect(agent.events('failed')).toEqual([]);
  });

  it('loses its program when it moves to another namespace', async () => {
    await attached(host, 'late0');
    await host.victim.ip(`link set late0 netns ${host.attacker.name}`);
    await waitFor(async () => (await modeOf(host, 'late0', host.attacker)) === undefined, 3_000, {
      what: 'late0 to be let go in its new namespace',
    });
    expect((await host.attacker.exec(['ip', 'link', 'show', 'dev', 'late0'])).code).toBe(0);
    await host.attacker.ip('link del late0');
  });

  it('attaches natively at an MTU of 9,000', async () => {
    await host.victim.ip('link add lan9 mtu 9000 type veth peer name far9 mtu 9000');
    expect((await attached(host, 'lan9')).mode).toBe('native');
    await host.victim.ip('link del lan9');
  });

  it.each([
    ['tun0', 'link-layer header', ['tuntap add tun0 mode tun', 'link set tun0 up']],
    ['lo', 'loopback', []],
  ])('says why %s, which is named, cannot be guarded', async (name, reason, commands) => {
    if (commands.length > 0) await host.victim.ip(...commands);
    const found = await waitFor(() => finding(host, 'InterfaceUnsupported', name), 30_000, { what: 'the finding' });
    expect(found).toMatchObject({ severity: 'warning', object: 'PortScanPolicy/guard' });
    expect(found.message).toContain(reason);
    expect(await host.xdp(name)).toBeUndefined();
  });

  it("falls back to generic where the driver has no native mode, and gives the driver's words", async () => {
    await host.victim.ip('link add lan1 type bridge', 'link set lan1 up');
    expect((await attached(host, 'lan1')).mode).toBe('generic');
    const found = await waitFor(() => finding(host, 'GenericFallback', 'lan1'), 30_000, { what: 'the finding' });
    expect(found.severity).toBe('warning');
    expect(found.message).toMatch(/native XDP was refused: .*native mode/);
    await host.victim.ip('link set lan1 down', 'link set lan1 name lan2', 'link set lan2 up');
    const renamed = await waitFor(() => finding(host, 'GenericFallback', 'lan2'), 30_000, { what: 'its new name' });
    expect(renamed.message).toBe(found.message.replace('lan1', 'lan2'));
    expect(finding(host, 'GenericFallback', 'lan1')).toBeUndefined();
    await agent.stop();
    agent = await host.start(['--log-level', 'debug']);
    // The driver is not asked again, since that would need a gap; that it is generic is told all the same.
    expect((await host.xdp('lan2'))?.mode).toBe('generic');
    expect(await agent.finding('GenericFallback')).toMatchObject({ interface: 'lan2' });
    await host.victim.ip('link del lan2');
    await waitFor(() => host.status() && !finding(host, 'GenericFallback', 'lan2'), 5_000, {
      what: 'the finding to go',
    });
  });
});

describe('several interfaces of one policy', () => {
  it('share what is known of a source: targets add up, and a block holds on all of them', async () => {
    await using host = await GuardedHost.create();
    await host.net.veth(
      { namespace: host.victim, name: 'lan0', addresses: ['198.51.100.1/24'] },
      { namespace: host.attacker, name: 'out1', addresses: ['198.51.100.2/24'] },
    );
    await host.victim.sysctl({ 'net.ipv4.conf.all.rp_filter': 0, 'net.ipv4.conf.lan0.rp_filter': 0 });
    host.write('guard', portScanPolicy('guard', { interfaces: { patterns: ['guard*', 'lan*'] } }));
    await host.start();
    const half = Math.floor(distinctTargets / 2);
    await host.scan(half, { first: 1000 });
    await host.scan(distinctTargets - half, { first: 1000, to: '198.51.100.1' });
    // The same ports of another own address are other targets.
    expect(await host.blocks()).toMatchObject([
      { source: attackerAddress, interface: 'lan0', probes: distinctTargets },
    ]);
    const reached = await host.reached();
    expect(reached).toBe(distinctTargets - 1);
    await host.scan(3, { first: 1000 });
    expect(await host.reached()).toBe(reached);
  });
});

describe('an interface that another XDP program holds', () => {
  it.each([
    ['generic', 'xdpgeneric'],
    ['native', 'xdpdrv'],
  ] as const)('is reported, left alone, and guarded once that program is gone: %s', async (mode, keyword) => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard', { interfaces: { names: ['guard0', 'foreign0'] } }));
    await host.victim.ip('link add foreign0 type veth peer name far0', 'link set foreign0 up', 'link set far0 up');
    await attachForeign(host.victim, 'foreign0', mode);
    const foreign = await host.xdp('foreign0');
    expect(foreign).toMatchObject({ mode });

    const agent = await host.start();
    const found = await waitFor(() => finding(host, 'ForeignXdpProgram', 'foreign0'), 30_000, { what: 'the finding' });
    expect(found.severity).toBe('error');
    expect(await host.xdp('foreign0')).toEqual(foreign);
    // The others are guarded all the same.
    expect(await modeOf(host, 'guard0')).toBe('native');
    expect(interfaceIn(host, 'foreign0')).toMatchObject({ mode: null });

    await host.victim.ip(`link set dev foreign0 ${keyword} off`);
    const startedAt = performance.now();
    const ours = await attached(host, 'foreign0', 35_000);
    console.log(`figure: guarded ${Math.round(performance.now() - startedAt)} ms after another program was gone`);
    expect(ours.id).not.toBe(foreign!.id);
    await waitFor(() => !finding(host, 'ForeignXdpProgram', 'foreign0'), 30_000, { what: 'the finding to go' });
    await agent.stop();
  });

  it('keeps its program when ours are detached, and so does an interface of another agent', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard', { interfaces: { names: ['guard0', 'foreign0'] } }));
    await host.victim.ip('link add foreign0 type veth peer name far0', 'link add lan0 type veth peer name far1');
    await attachForeign(host.victim, 'foreign0', 'generic');
    const foreign = await host.xdp('foreign0');
    const agent = await host.start();

    await using other = await OtherAgent.start(host, 'lan0');
    const others = await host.xdp('lan0');
    expect(others).toBeDefined();
    await agent.stop();
    expect(await host.ask(['detach'])).toMatchObject({ code: 0, stdout: 'detached from guard0\n' });
    expect(await host.xdp('guard0')).toBeUndefined();
    expect(await host.xdp('foreign0')).toEqual(foreign);
    expect(await host.xdp('lan0')).toEqual(others);
    expect(other.agent.command.isRunning).toBe(true);
    expect((await host.ask(['status'])).stderr).toContain('NothingPinned');
  });
});

/** Another agent on the same host, with a pin path and policies of its own. */
class OtherAgent implements AsyncDisposable {
  readonly agent: AgentProcess;
  readonly #net: TestNet;

  private constructor(agent: AgentProcess, net: TestNet) {
    this.agent = agent;
    this.#net = net;
  }

  static async start(host: GuardedHost, link: string): Promise<OtherAgent> {
    const net = await TestNet.create();
    const policies = net.folder();
    const file = join(policies, 'other.yaml');
    const policy = JSON.stringify(portScanPolicy('other', { interfaces: { names: [link] } }));
    await host.victim.exec(['tee', file], { input: policy });
    const args = ['run', '--policies', policies, '--pin-path', net.pinPath(), '--metrics-address', 'off'];
    const agent = new AgentProcess(host.victim.spawnNode([agentScript, ...args]));
    await agent.enforcing();
    return new OtherAgent(agent, net);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop();
    await this.#net[Symbol.asyncDispose]();
  }
}

describe('--xdp-mode', () => {
  it('native refuses an interface whose driver has none, with the reason, and guards the others', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard', { interfaces: { names: ['guard0', 'lan1'] } }));
    await host.victim.ip('link add lan1 type bridge', 'link set lan1 up');
    await host.start(['--xdp-mode', 'native']);
    const found = await waitFor(() => finding(host, 'AttachFailed', 'lan1'), 30_000, { what: 'the finding' });
    expect(found).toMatchObject({ severity: 'error' });
    expect(found.message).toMatch(/native mode/);
    expect(await host.xdp('lan1')).toBeUndefined();
    expect(await modeOf(host, 'guard0')).toBe('native');
  });

  it('generic is used without a finding where it is asked for', async () => {
    await using host = await GuardedHost.create();
    host.write('guard', portScanPolicy('guard'));
    const agent = await host.start(['--xdp-mode', 'generic']);
    expect(await modeOf(host, 'guard0')).toBe('generic');
    expect(agent.findings('GenericFallback')).toEqual([]);
  });
});
