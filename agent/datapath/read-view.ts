import { XdpLink } from '../libbpf/link.ts';
import { readCounters, readLosses } from './counters.ts';
import { firstsPerDomain, interfaceStateStruct, reason, sourcesPerDomain } from './layout.ts';
import type { DatapathOptions } from './options.ts';
import type { Owners } from './owners.ts';
import type { Pins } from './pins.ts';
import type { NodeTables } from './tables.ts';
import type { AttachedInterface, DatapathView, TableFill } from './view.ts';

export interface AttachedLink {
  readonly ifindex: number;
  readonly mode: 'native' | 'generic';
  readonly programId: number;
}

export interface ViewParts {
  readonly tables: NodeTables;
  readonly owners: Owners;
  readonly links: readonly AttachedLink[];
  readonly setFill: { readonly lists: number; readonly allow: number };
  /** The bounds of inner tables, which only an agent knows: without one, what they hold is all they can. */
  readonly sizes?: Pick<DatapathOptions['sizes'], 'maxListEntries' | 'maxAllowEntries'>;
  readonly tracked: { readonly firsts: number; readonly sources: number };
  readonly interfaceName: (ifindex: number) => string | undefined;
}

const countKeys = (tables: NodeTables, name: string): number => {
  let count = 0;
  for (const _ of tables.map(name).entries()) count++;
  return count;
};

const trieFill = (tables: NodeTables, table: string, maps: readonly string[]): TableFill => {
  // Each family has a table of its own: the fuller one is what matters.
  const fills = maps.map((name) => ({
    entries: tables.map(name).keys().length,
    capacity: tables.map(name).shape.maxEntries,
  }));
  const fullest = fills.reduce((a, b) => (b.entries > a.entries ? b : a));
  return { table, ...fullest };
};

export const readTables = (parts: ViewParts): TableFill[] => {
  const { tables, owners, setFill, sizes, tracked } = parts;
  const domains = tables.map('domains').shape.maxEntries;
  return [
    trieFill(tables, 'never-block', ['class4', 'class6']),
    { table: 'own-addresses', entries: countKeys(tables, 'own'), capacity: tables.map('own').shape.maxEntries },
    { table: 'blocks', entries: countKeys(tables, 'blocks'), capacity: tables.map('blocks').shape.maxEntries },
    trieFill(tables, 'manual-blocks', ['manual4', 'manual6']),
    { table: 'list-entries', entries: setFill.lists, capacity: sizes?.maxListEntries ?? setFill.lists },
    { table: 'allow-entries', entries: setFill.allow, capacity: sizes?.maxAllowEntries ?? setFill.allow },
    { table: 'first-targets', entries: tracked.firsts, capacity: domains * firstsPerDomain },
    { table: 'sources', entries: tracked.sources, capacity: domains * sourcesPerDomain },
    {
      table: 'owners',
      entries: owners.all.filter(({ retiredAtMs }) => retiredAtMs === 0).length,
      capacity: tables.map('counters').shape.maxEntries / reason.REASON_COUNT - 1,
    },
  ];
};

/** Everything that is read of a datapath, with or without an agent. */
export const readView = (parts: ViewParts): DatapathView => ({
  interfaces: parts.links.map((link) => describeInterface(link, parts)),
  counters: readCounters(parts.tables, parts.owners),
  losses: readLosses(parts.tables),
  tables: readTables(parts),
});

const describeInterface = (link: AttachedLink, { tables, owners, interfaceName }: ViewParts): AttachedInterface => {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(link.ifindex);
  const state = tables.map('interfaces').lookup(key);
  const owner = state?.readUInt32LE(interfaceStateStruct.policy) ?? 0;
  const end = state?.indexOf(0, interfaceStateStruct.name) ?? 0;
  const policy = owners.byId(owner)?.name;
  return {
    ...link,
    name: interfaceName(link.ifindex) ?? state?.toString('utf8', interfaceStateStruct.name, end) ?? `#${link.ifindex}`,
    verifiedInstructions: state?.readUInt32LE(interfaceStateStruct.verifiedInstructions) ?? 0,
    ...(policy !== undefined && { policy }),
  };
};

/** Links as they are pinned, for commands that run without an agent. */
export const pinnedLinks = (pins: Pins): AttachedLink[] =>
  pins.names('links').flatMap((name) => {
    const [index, mode] = name.split('-');
    using link = XdpLink.openPinned(pins.at('links', name));
    const { programId, ifindex } = link.info();
    return ifindex === Number(index) && (mode === 'native' || mode === 'generic') ? [{ ifindex, mode, programId }] : [];
  });
