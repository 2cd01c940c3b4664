import { type Prefix, parsePrefixOrAddress } from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';
import { humaneTime } from '../../cli/format-text.ts';
import { blockRecords, liftBlocks } from '../datapath/blocks.ts';
import { formatSource } from '../datapath/codec.ts';
import { Datapath } from '../datapath/datapath.ts';
import { PinnedDatapath } from '../datapath/inspect.ts';
import { concern } from '../datapath/layout.ts';
import { defaultSizes } from '../datapath/options.ts';
import { Pins } from '../datapath/pins.ts';
import { pinnedLinks, readView } from '../datapath/read-view.ts';
import { pinnedSetFill } from '../datapath/sets.ts';
import { TrackedSources } from '../datapath/tracked-sources.ts';
import { readHost } from '../host/watch.ts';
import { tryLockDirectory } from '../libbpf/directory-lock.ts';
import { StateStore } from '../state/state-store.ts';
import { TableFindings } from '../telemetry/table-findings.ts';
import { formatBlocked } from './format-blocked.ts';
import { formatStatus } from './format-status.ts';

/** What the commands below need of the outside. */
export interface CommandIo {
  stdout(text: string): void;
}

const interfaceNames = async (): Promise<(ifindex: number) => string | undefined> => {
  const { snapshot } = await readHost();
  const names = new Map(snapshot.links.map(({ ifindex, name }) => [ifindex, name]));
  return (ifindex) => names.get(ifindex);
};

const sourceOf = (text: string): Prefix => {
  const prefix = parsePrefixOrAddress(text);
  if (!prefix)
    throw new PortcullisError('NotAnAddress', `${JSON.stringify(text)} is not an address or prefix`, { value: text });
  return prefix;
};

export const blocked = async (
  command: { pinPath: string; output: 'table' | 'wide' | 'json' },
  io: CommandIo,
): Promise<number> => {
  using pinned = await PinnedDatapath.open(command.pinPath);
  const records = blockRecords(pinned.tables, pinned.owners, pinned.clock, await interfaceNames());
  io.stdout(formatBlocked(records, { nowMs: Date.now(), output: command.output }));
  return 0;
};

export const status = async (command: { pinPath: string; output: 'text' | 'json' }, io: CommandIo): Promise<number> => {
  using pinned = await PinnedDatapath.open(command.pinPath);
  const tracked = new TrackedSources(pinned.tables);
  // An hour is the longest window there is: an upper bound, without knowing the policies.
  const windowTicks = BigInt(pinned.tables.layout.ticksPerSecond) * 3600n;
  const now = pinned.clock.now();
  while (!tracked.step(now, windowTicks));
  const view = readView({
    tables: pinned.tables,
    owners: pinned.owners,
    links: pinnedLinks(pinned.pins),
    setFill: pinnedSetFill(pinned.pins),
    sizes: defaultSizes,
    tracked: tracked.counts,
    interfaceName: await interfaceNames(),
  });
  const findings = new TableFindings();
  const lock = tryLockDirectory(pinned.pins.path);
  lock?.release();
  const report = {
    pinPath: command.pinPath,
    agentRunning: lock === undefined,
    view,
    findings: findings.update(view, Date.now()),
  };
  io.stdout(formatStatus(report, command.output));
  return 0;
};

export const block = async (
  command: { pinPath: string; source: string; durationMs: number; reason: string },
  io: CommandIo,
): Promise<number> => {
  using pinned = await PinnedDatapath.open(command.pinPath);
  const source = sourceOf(command.source);
  const nowMs = Date.now();
  const until = pinned.clock.toTick(nowMs + command.durationMs);
  await pinned.pins.withTables(() => {
    pinned.manual.add(source, until, pinned.clock.now(), command.reason);
    pinned.concern.manualEntries = pinned.manual.all().length;
    pinned.concern.add(source, concern.CONCERN_LIST);
  });
  io.stdout(`blocked ${formatSource(source)}, ends ${humaneTime(nowMs + command.durationMs, nowMs)}\n`);
  return 0;
};

export const unblock = async (
  command: { pinPath: string; source: string; stateDir: string | undefined },
  io: CommandIo,
): Promise<number> => {
  using pinned = await PinnedDatapath.open(command.pinPath);
  const source = sourceOf(command.source);
  const byHand = await pinned.pins.withTables(() => pinned.manual.remove(source));
  const scans = liftBlocks(pinned.tables, source);
  const lifted = [
    ...(byHand ? ['manual'] : []),
    ...scans.map(({ key }) => pinned.owners.byId(key.owner)?.name ?? `#${key.owner}`),
  ];
  const sources = new Set([formatSource(source), ...scans.map(({ key }) => formatSource(key.source))]);
  if (command.stateDir !== undefined)
    await new StateStore(command.stateDir).forgetBlocks((saved) => sources.has(saved.source));
  if (lifted.length === 0)
    throw new PortcullisError('NotBlocked', `${formatSource(source)} is not blocked`, { value: command.source });
  io.stdout(`unblocked ${[...sources].join(', ')} (${lifted.join(', ')})\n`);
  return 0;
};

export const detach = async (command: { pinPath: string }, io: CommandIo): Promise<number> => {
  const pins = new Pins(command.pinPath);
  if (!pins.exists())
    throw new PortcullisError('NothingPinned', `nothing is pinned at ${command.pinPath}`, {
      field: '--pin-path',
      value: command.pinPath,
    });
  const names = await interfaceNames();
  const interfaces = pinnedLinks(pins).map(({ ifindex }) => names(ifindex) ?? `#${ifindex}`);
  await Datapath.detachPinned(pins);
  io.stdout(
    interfaces.length === 0 ? 'nothing was attached; pins removed\n' : `detached from ${interfaces.join(', ')}\n`,
  );
  return 0;
};
