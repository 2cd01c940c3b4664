import { conditionOf } from '../../../api/conditions.ts';
import type { IpBlocklistStatus } from '../../../api/types/ip-blocklist.ts';
import { API_VERSION } from '../../../api/types.ts';
import { resources } from '../../../kube/resources.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import type { ReportFeed } from '../../reports/feed.ts';
import { StatusController, type StatusKind, type StatusMetrics } from '../../status/status-controller.ts';
import type { StoredList } from '../../stored/policy-object.ts';
import { type Facts, factsConcerns } from '../facts-concern.ts';
import { refusedHappening } from '../refused-happening.ts';
import type { PrefixSetResult, PrefixSets } from './prefix-set.ts';
import { inlineEntries, listStatus, newsOfList, wantedPrefixSet } from './status.ts';

/** Writes the status of IpBlocklists. */
export class IpBlocklistController implements Controller {
  readonly name = 'ip-blocklist';
  readonly #facts: Facts;
  readonly #prefixSets: PrefixSets;
  readonly #statuses: StatusController<StoredList, IpBlocklistStatus>;

  constructor(
    context: ControllerContext,
    feed: ReportFeed,
    facts: Facts,
    prefixSets: PrefixSets,
    metrics: StatusMetrics,
  ) {
    this.#facts = facts;
    this.#prefixSets = prefixSets;
    const { settings, shared, clock } = context;
    const resultOf = ({ metadata, spec }: StoredList): PrefixSetResult | undefined =>
      (spec?.configMapRefs ?? []).length === 0 ? undefined : prefixSets.resultOf(metadata);
    const kind: StatusKind<StoredList, IpBlocklistStatus> = {
      name: this.name,
      kind: 'IpBlocklist',
      resource: resources.ipBlocklists,
      watched: shared.lists,
      target: (list) => {
        const { name, uid, generation } = list.metadata;
        const digest = wantedPrefixSet(list, resultOf(list))?.digest;
        const prefixSet = digest === undefined ? {} : { prefixSet: digest };
        return { kind: 'IpBlocklist', name, uid, generation, nodeSelector: list.nodeSelector, ...prefixSet };
      },
      build: (list, view, before) => {
        const wallMs = clock.wallMs();
        const prefixSet = resultOf(list);
        const inline = inlineEntries(list, prefixSet, wallMs);
        const concerns = factsConcerns(facts.factsState(), settings.neverBlock);
        const status = listStatus({ list, view, before, inline, prefixSet, concerns, wallMs });
        if (inline.nextEndMs === undefined) return { status };
        return { status, againAtMs: clock.nowMs() + inline.nextEndMs - wallMs };
      },
      news: newsOfList,
      written: (list, before, after) => tell(context, list, before, after),
    };
    this.#statuses = new StatusController(kind, context, feed, metrics);
  }

  async run(signal: AbortSignal): Promise<void> {
    const unsubscribe = [
      this.#facts.subscribe(() => this.#statuses.touchAll()),
      this.#prefixSets.subscribe((name) => this.#statuses.touch(name)),
    ];
    try {
      await this.#statuses.run(signal);
    } finally {
      for (const end of unsubscribe) end();
    }
  }
}

function tell(
  { happened }: ControllerContext,
  { metadata: { name, uid } }: StoredList,
  before: IpBlocklistStatus,
  after: IpBlocklistStatus,
): void {
  const accepted = conditionOf(after.conditions, 'Accepted');
  const earlier = conditionOf(before.conditions, 'Accepted');
  const regarding = { apiVersion: API_VERSION, kind: 'IpBlocklist', name, uid };
  const happening = accepted && refusedHappening(accepted, earlier, regarding);
  if (happening !== undefined) happened(happening);
}
