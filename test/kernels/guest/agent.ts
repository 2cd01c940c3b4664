import { connectAll, connects, Flow, serve } from '../../life/tcp.ts';
import { Agent, portScanPolicy } from '../../support/agent.ts';
import { TestNet, waitFor } from '../../support/namespaces.ts';
import type { Checks } from './report.ts';

const guardAddress = '192.0.2.1';
const attackerAddress = '192.0.2.2';
const guardedLink = 'guard0';
const openPort = 8080;
const distinctTargets = 5;

/** The agent as users have it, on a veth pair. Everything takes long here: an emulated CPU starts node in a second or two. */
export async function run(checks: Checks): Promise<void> {
  await using net = await TestNet.create();
  const guard = await net.namespace('guard');
  const attacker = await net.namespace('attacker');
  await net.veth(
    { namespace: guard, name: guardedLink, addresses: [`${guardAddress}/24`, '2001:db8::1/64'] },
    { namespace: attacker, name: 'attack0', addresses: [`${attackerAddress}/24`, '2001:db8::2/64'] },
  );
  await serve(guard, 'echo', [openPort]);
  const flow = await Flow.open(attacker, guardAddress, openPort);

  const startedAt = performance.now();
  const agent = await Agent.start(net, guard, {
    policies: { guard: portScanPolicy([guardedLink], { detection: { distinctTargets } }) },
    // Without KVM, on a machine that does other things too.
    startTimeoutMs: 120_000,
  });
  checks.figure(`agent enforces after ${Math.round(performance.now() - startedAt)} ms on an emulated CPU`);

  const status = async () => {
    const { code, stdout, stderr } = await agent.ask('status', '-o', 'json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as {
      readonly interfaces: readonly { readonly name: string; readonly mode: string | null }[];
      readonly findings?: readonly { readonly code: string; readonly message: string }[];
    };
  };
  await checks.check('attaches natively, and says so', async () => {
    const { interfaces } = await status();
    const told = interfaces.find(({ name }) => name === guardedLink)?.mode;
    if (told !== 'native') throw new Error(`status says ${JSON.stringify(interfaces)}`);
    const { stdout } = await guard.exec(['ip', '-d', 'link', 'show', guardedLink]);
    // `xdpgeneric` would be the other mode.
    if (!/\bprog\/xdp id /.test(stdout) || /xdpgeneric/.test(stdout)) throw new Error(`the kernel says ${stdout}`);
  });
  await checks.check('says nothing of errors or warnings', async () => {
    const bad = agent.log.filter(({ level }) => level === 'warn' || level === 'error' || level === 'fatal');
    if (bad.length > 0) throw new Error(JSON.stringify(bad));
  });
  await checks.check(`a scan is cut off at its target number ${distinctTargets}`, async () => {
    const ports = Array.from({ length: 20 }, (_, index) => 1000 + index);
    // One at a time, so that what is refused before the block is exactly what came before the Nth.
    const result = await connectAll(attacker, { hosts: [guardAddress], ports, concurrency: 1, timeoutMs: 500 });
    const wanted = { connected: 0, refused: distinctTargets - 1, timedOut: ports.length - distinctTargets + 1 };
    for (const [name, count] of Object.entries(wanted))
      if (result[name as keyof typeof wanted] !== count)
        throw new Error(`${JSON.stringify(result)}, not ${JSON.stringify(wanted)}`);
  });
  await checks.check('the block is told, with its source and its policy', async () => {
    const blocks = await waitFor(
      async () => (await agent.blocks()).filter(({ source }) => source === attackerAddress),
      120_000,
    );
    const [block, ...more] = blocks;
    if (block?.policy !== 'guard' || block.probes !== distinctTargets || more.length > 0)
      throw new Error(JSON.stringify(blocks));
  });
  await checks.check('the blocked source gets no new connection', async () => {
    if (await connects(attacker, guardAddress, openPort, 1_500)) throw new Error('it is connected');
  });
  await checks.check('a connection that was open before goes on', async () => await flow.transfers(20, 20_000));
  await checks.check('unblock lets it in again', async () => {
    const { code, stderr } = await agent.ask('unblock', attackerAddress);
    if (code !== 0) throw new Error(stderr);
    if (!(await connects(attacker, guardAddress, openPort, 3_000))) throw new Error('it is still blocked');
  });
  await checks.check('over IPv6 a scan is cut off too', async () => {
    const ports = Array.from({ length: 10 }, (_, index) => 2000 + index);
    const result = await connectAll(attacker, { hosts: ['2001:db8::1'], ports, concurrency: 1, timeoutMs: 500 });
    if (result.refused !== distinctTargets - 1) throw new Error(JSON.stringify(result));
  });
  await checks.check('enforces without the agent', async () => {
    await flow.close();
    const { code } = await agent.stop();
    if (code !== 0) throw new Error(`the agent ended with ${code}: ${agent.command.stderr}`);
    const ports = Array.from({ length: 10 }, (_, index) => 3000 + index);
    const result = await connectAll(attacker, { hosts: [guardAddress], ports, concurrency: 1, timeoutMs: 500 });
    // The open port was its first target since the unblock.
    if (result.refused !== distinctTargets - 2) throw new Error(JSON.stringify(result));
  });
  await checks.check('detach takes everything away', async () => {
    const { code, stderr } = await agent.ask('detach');
    if (code !== 0) throw new Error(stderr);
    const { stdout } = await guard.exec(['ip', '-d', 'link', 'show', guardedLink]);
    if (/xdp/.test(stdout)) throw new Error(`the kernel says ${stdout}`);
    if (!(await connects(attacker, guardAddress, openPort, 3_000))) throw new Error('it is still blocked');
  });
}
