import { formatPath } from '../../api/field-path.ts';
import type { Problem } from '../../api/problem.ts';
import { isMapping } from '../../api/rules.ts';
import type { BlocklistEntry, IpBlocklistSpec, IpBlocklistStatus } from '../../api/types/ip-blocklist.ts';
import type { PortScanPolicyStatus } from '../../api/types/port-scan-policy.ts';
import { API_VERSION, type NodeSelector, type PortScanPolicySpec } from '../../api/types.ts';
import { validateObject } from '../../api/validate.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { managedByLabel } from '../controllers/source-exception/reconcile.ts';

export type StoredMeta = Pick<KubeMeta, 'name' | 'creationTimestamp' | 'labels' | 'deletionTimestamp'> & {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
};

/** Why an object is not accepted; it may have been stored under an older, looser schema. */
export interface Refusal {
  readonly reason: 'Invalid' | 'UnknownField';
  /** Of the first problem, such as `spec.detection.window`. */
  readonly field: string;
  /** One or two sentences: what is wrong, and what to do. */
  readonly message: string;
}

/** What is kept of a policy or a list. */
export interface Stored<Spec, Status> extends KubeObject {
  readonly metadata: StoredMeta;
  /** Which nodes; undefined: all. Kept of refused objects too where it can be read, else 'unreadable'. */
  readonly nodeSelector: NodeSelector | undefined | 'unreadable';
  /** With its defaults; absent when it is refused. */
  readonly spec?: Spec;
  readonly refusal?: Refusal;
  /** As it is stored, checked to have the form of a status as far as it is read. */
  readonly status: Status;
}

/** What is kept of the 10,000 entries that a list may have: no reasons, which are for people. */
export type StoredListSpec = Omit<IpBlocklistSpec, 'entries' | 'except'> & {
  readonly entries: readonly Pick<BlocklistEntry, 'cidr' | 'expiresAt'>[];
};

export type StoredPolicy = Stored<PortScanPolicySpec, PortScanPolicyStatus>;
export type StoredList = Stored<StoredListSpec, IpBlocklistStatus>;

interface RawObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** What the generation of an object says; that of a list with 10,000 entries takes a while to check. */
interface Content<Spec> {
  readonly uid: string;
  readonly generation: number;
  readonly parts: Pick<Stored<Spec, unknown>, 'nodeSelector' | 'spec' | 'refusal'>;
}

/** What a reflector keeps of policies. Each generation is checked once, however often its status is written. */
export function policyStore(): (object: KubeObject) => StoredPolicy {
  return store<PortScanPolicySpec, PortScanPolicyStatus>('PortScanPolicy', (spec) => spec as PortScanPolicySpec);
}

/** The same of lists. */
export function listStore(): (object: KubeObject) => StoredList {
  return store<StoredListSpec, IpBlocklistStatus>('IpBlocklist', (spec) => {
    const { except: _, ...rest } = spec as IpBlocklistSpec;
    const entries = rest.entries.map(({ cidr, expiresAt }) =>
      expiresAt === undefined ? { cidr } : { cidr, expiresAt },
    );
    return { ...rest, entries };
  });
}

function store<Spec, Status>(
  kind: 'PortScanPolicy' | 'IpBlocklist',
  shorten: (spec: unknown) => Spec,
): (object: KubeObject) => Stored<Spec, Status> {
  const contents = new Map<string, Content<Spec>>();
  return (object) => {
    const { spec, status } = object as RawObject;
    const metadata = storedMeta(object);
    const { name, uid, generation } = metadata;
    let content = contents.get(name);
    if (content === undefined || content.uid !== uid || content.generation !== generation) {
      content = { uid, generation, parts: partsOf<Spec>(kind, name, spec, shorten) };
      if (contents.size >= maxContents) contents.clear();
      contents.set(name, content);
    }
    return { metadata, ...content.parts, status: (isMapping(status) ? status : {}) as Status };
  };
}

/** Of objects that may be gone; the API has no bound on their number, and a hundred are many. */
const maxContents = 1000;

/** Of the labels, which may be 1.5 MB, the one that is asked for. */
function storedMeta({ metadata }: KubeObject): StoredMeta {
  const {
    name,
    uid = '',
    resourceVersion = '',
    generation = 0,
    creationTimestamp,
    labels,
    deletionTimestamp,
  } = metadata;
  return {
    name,
    uid,
    resourceVersion,
    generation,
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(labels?.[managedByLabel] === undefined ? {} : { labels: { [managedByLabel]: labels[managedByLabel] } }),
  };
}

function partsOf<Spec>(
  kind: 'PortScanPolicy' | 'IpBlocklist',
  name: string,
  spec: unknown,
  shorten: (spec: unknown) => Spec,
): Content<Spec>['parts'] {
  // The rest of the metadata is the API server's, and has fields that no file has.
  const { object, problems } = validateObject({ apiVersion: API_VERSION, kind, metadata: { name }, spec });
  if (object !== undefined) {
    const { nodeSelector } = object.spec as PortScanPolicySpec | IpBlocklistSpec;
    return { nodeSelector, spec: shorten(object.spec) };
  }
  return { nodeSelector: readableSelector(spec), refusal: refusalOf(problems) };
}

/** A field that is not known was written for a newer version, unless something else is wrong as well. */
function refusalOf(problems: readonly Problem[]): Refusal {
  const worse = problems.find(({ code }) => code !== 'UnknownField');
  const first = worse ?? problems[0]!;
  const field = formatPath(first.path);
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return {
    reason: worse === undefined ? 'UnknownField' : 'Invalid',
    field,
    message: `${field === '' ? '' : `${field}: `}${first.message}${more}. ${first.remedy}`,
  };
}

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

function readableSelector(spec: unknown): NodeSelector | undefined | 'unreadable' {
  if (!isMapping(spec)) return 'unreadable';
  const selector = spec.nodeSelector ?? undefined;
  if (selector === undefined) return undefined;
  if (!isMapping(selector)) return 'unreadable';
  const { matchLabels = {}, matchExpressions = [], ...others } = selector;
  const areLabels = isMapping(matchLabels) && Object.values(matchLabels).every((value) => typeof value === 'string');
  const areExpressions =
    Array.isArray(matchExpressions) &&
    matchExpressions.every(
      (entry) =>
        isMapping(entry) &&
        typeof entry.key === 'string' &&
        operators.includes(entry.operator as string) &&
        (entry.values === undefined || Array.isArray(entry.values)),
    );
  return areLabels && areExpressions && Object.keys(others).length === 0 ? (selector as NodeSelector) : 'unreadable';
}
