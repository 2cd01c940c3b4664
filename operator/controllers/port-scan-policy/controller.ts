import { conditionOf } from '../../../api/conditions.ts';
import type { PortScanPolicyStatus } from '../../../api/types/port-scan-policy.ts';
import { API_VERSION } from '../../../api/types.ts';
import { resources } from '../../../kube/resources.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import type { ReportFeed } from '../../reports/feed.ts';
import { StatusController, type StatusKind, type StatusMetrics } from '../../status/status-controller.ts';
import type { StoredPolicy } from '../../stored/policy-object.ts';
import { type Facts, factsConcerns } from '../facts-concern.ts';
import { refusedHappening } from '../refused-happening.ts';
import { newBlocks, newsOfPolicy, policyStatus } from './status.ts';

/** Writes the status of PortScanPolicies. */
export class PortScanPolicyController implements Controller {
  readonly name = 'port-scan-policy';
  readonly #facts: Facts;
  readonly #statuses: StatusController<StoredPolicy, PortScanPolicyStatus>;

  constructor(context: ControllerContext, feed: ReportFeed, facts: Facts, metrics: StatusMetrics) {
    this.#facts = facts;
    const { settings, shared, clock } = context;
    const kind: StatusKind<StoredPolicy, PortScanPolicyStatus> = {
      name: this.name,
      kind: 'PortScanPolicy',
      resource: resources.portScanPolicies,
      watched: shared.policies,
      target: ({ metadata: { name, uid, generation }, nodeSelector }) => ({
        kind: 'PortScanPolicy',
        name,
        uid,
        generation,
        nodeSelector,
      }),
      build: (policy, view, before) => {
        const concerns = factsConcerns(facts.factsState(), settings.neverBlock);
        const status = policyStatus(policy, view, before, concerns, clock.wallMs());
        return { status, ...(view.nextEndMs === undefined ? {} : { againAtMs: view.nextEndMs }) };
      },
      news: newsOfPolicy,
      written: (policy, before, after) => tell(context, policy, before, after),
    };
    this.#statuses = new StatusController(kind, context, feed, metrics);
  }

  async run(signal: AbortSignal): Promise<void> {
    const unsubscribe = this.#facts.subscribe(() => this.#statuses.touchAll());
    try {
      await this.#statuses.run(signal);
    } finally {
      unsubscribe();
    }
  }
}

/** Of very many new blocks, the first are enough for an Event: the status has the newest 100. */
const maxTold = 20;

function tell(
  { happened, settings }: ControllerContext,
  { metadata: { name, uid } }: StoredPolicy,
  before: PortScanPolicyStatus,
  after: PortScanPolicyStatus,
): void {
  const regarding = { apiVersion: API_VERSION, kind: 'PortScanPolicy', name, uid };
  const blocked = newBlocks(before, after).filter(({ state }) => state === 'Blocked');
  const isNamed = settings.eventSources === 'shown';
  for (const { source, nodes, probes, ports = [] } of blocked.slice(0, maxTold)) {
    const targets = probes === undefined ? '' : ` after ${probes} targets`;
    const at = ports.length === 0 ? '' : `, ports ${ports.join(', ')}`;
    happened({
      type: 'Warning',
      reason: 'ScanBlocked',
      action: 'Block',
      note: `${isNamed ? source : 'a source'} was blocked on ${nodes[0]}${targets}${at}`,
      regarding,
    });
  }
  const accepted = conditionOf(after.conditions, 'Accepted');
  const happening = accepted && refusedHappening(accepted, conditionOf(before.conditions, 'Accepted'), regarding);
  if (happening !== undefined) happened(happening);
}
