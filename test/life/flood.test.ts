/** A flood of forged sources at the full rate that this machine can send, while an agent watches. */
import { expect, it } from 'vitest';
import { Agent, portScanPolicy } from '../support/agent.ts';
import { type Namespace, TestNet, waitFor } from '../support/namespaces.ts';

const victim4 = '192.0.2.1';
const scanner4 = '192.0.2.2';
const threshold = 15;
/** A megabyte a second would be a leak; garbage that is not collected yet is not. */
const mayGrowBytes = 48 * 1024 * 1024;

async function scene(spec: object) {
  const net = await TestNet.create();
  const victim = await net.namespace('victim');
  const attacker = await net.namespace('attacker');
  await net.veth(
    { namespace: victim, name: 'in0', addresses: [`${victim4}/24`] },
    { namespace: attacker, name: 'out0', addresses: [`${scanner4}/24`] },
  );
  // Answers to forged sources must not fill the neighbour table with questions.
  await victim.ip('route add blackhole default');
  // The scanner's alone: the flood would fill any set.
  await victim.exec(['nft', '-f', '-'], {
    input: `table ip arrivals {
      set ports { type inet_service; }
      chain arrivals { type filter hook prerouting priority -450; ip saddr ${scanner4} add @ports { tcp dport }; }
    }`,
  });
  const agent = await Agent.start(net, victim, { policies: { guard: portScanPolicy(['in0'], spec) } });
  return { net, victim, attacker, agent };
}

/** Distinct ports of the scanner that reached the host, behind XDP. */
async function portsReached(victim: Namespace): Promise<number> {
  const { stdout } = await victim.exec(['nft', '-j', 'list', 'set', 'ip', 'arrivals', 'ports']);
  return JSON.parse(stdout).nftables[1].set.elem?.length ?? 0;
}

const flood = (from: Namespace, packets: number) =>
  from.exec(['hping3', '-q', '-n', '-S', '-p', '80', '--rand-source', '-i', 'u1', '-c', String(packets), victim4], {
    allowFailure: true,
    timeoutMs: 100_000,
  });

it('a million forged sources of one SYN cost the agent no memory, and a scanner among them is cut off at N', async () => {
  const { net, victim, attacker, agent } = await scene({
    detection: { distinctTargets: threshold },
    block: { unprovenDuration: '5m' },
  });
  await using _ = net;
  const before = (await agent.metric('process_resident_memory_bytes'))!;
  const flooding = flood(attacker, 1_000_000);
  await waitFor(
    async () => ((await agent.metric('portcullis_tracked_sources{stage="one-target"}')) ?? 0) > 1_000,
    60_000,
    {
      what: 'tracked sources',
    },
  );
  await attacker.exec(['nmap', '-n', '-Pn', '-sS', '--min-rate', '200', '--max-retries', '0', '-p1-200', victim4]);
  expect(await portsReached(victim)).toBe(threshold - 1);
  await flooding;
  const after = (await agent.metric('process_resident_memory_bytes'))!;
  const evicted = await agent.metric('portcullis_evictions_total{table="first-targets"}');
  console.log(
    `figure: a million forged sources: agent ${mib(before)} to ${mib(after)} MiB, ${evicted} fresh ones evicted`,
  );
  expect(after - before).toBeLessThan(mayGrowBytes);
  await agent.stop();
});

it('forged sources that each reach N fill the block table to its bound and no further, and the agent stays bounded too', async () => {
  const { net, attacker, agent } = await scene({
    detection: { distinctTargets: 1 },
    block: { unprovenDuration: '5m' },
  });
  await using _ = net;
  const before = (await agent.metric('process_resident_memory_bytes'))!;
  await flood(attacker, 300_000);
  const blocks = (await agent.metric('portcullis_table_entries{table="blocks"}'))!;
  const evicted = (await agent.metric('portcullis_evictions_total{table="blocks"}'))!;
  const after = (await agent.metric('process_resident_memory_bytes'))!;
  console.log(`figure: ${blocks} blocks, ${evicted} made room; agent ${mib(before)} to ${mib(after)} MiB`);
  expect(blocks).toBe(65_536);
  expect(evicted).toBeGreaterThan(100_000);
  // It reads the whole table every two seconds and remembers each scan to tell its end: its heap is bounded for that.
  expect(after).toBeLessThan(320 * 1024 * 1024);
  await agent.stop();
});

const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);
