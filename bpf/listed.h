/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What users entered decides: blocklists and blocks by hand. */
#ifndef PORTCULLIS_LISTED_H
#define PORTCULLIS_LISTED_H

static __always_inline int check_lists(struct xdp_md *ctx, struct packet *p)
{
	struct list_value *list = find_list(p);
	__u32 reason = BLOCKED_DROP;

	if (!list || (list->flags & LIST_SPARED))
		return GO_ON;
	if (!(list->flags & LIST_ALL_TRAFFIC) && !opens_connection(ctx, p))
		reason = new_connections_test(ctx, p) & BLOCKED_REASON_MASK;
	if (!(list->flags & LIST_ENFORCE)) {
		if (reason == BLOCKED_DROP)
			count(list->owner, WOULD_DROP_LIST);
		return GO_ON;
	}
	if (reason != BLOCKED_DROP) {
		count(list->owner, reason);
		return XDP_PASS;
	}
	count(list->owner, DROP_LIST);
	return XDP_DROP;
}

static __always_inline int check_manual(const struct packet *p, __u64 now)
{
	struct manual_value *manual = find_source(&manual4, &manual6, p);

	if (!manual || manual->until <= now)
		return GO_ON;
	__sync_fetch_and_add(&manual->dropped, 1);
	count(0, DROP_MANUAL);
	return XDP_DROP;
}

#endif
