// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The guard with another way to count targets, to compare with: one LRU_HASH of sources, each with its last N - 1
 * targets, exact as the guard's own. Everything before and after the vote is the guard's.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "rotate.h"
#include "../../bpf/layout.h"

extern const volatile struct config cfg;

#include "../../bpf/verifier.h"
#include "../../bpf/clock.h"
#include "../../bpf/counters.h"
#include "../../bpf/parse.h"
#include "../../bpf/checksum.h"
#include "../../bpf/concern.h"
#include "../../bpf/sets.h"
#include "../../bpf/events.h"
#include "../../bpf/detect.h"

#define LRU_TARGETS 14	/* N - 1 of 24 bytes each */

struct lru_key {
	struct address source;
	__u32 owner;
	__u32 length;
};
struct lru_source {
	struct probe targets[LRU_TARGETS];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 20);
	__type(key, struct lru_key);
	__type(value, struct lru_source);
} lru_sources SEC(".maps");

/* Too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lru_source);
} lru_new SEC(".maps");

/* Not locked, since an LRU_HASH takes no bpf_spin_lock: on several CPUs it would also miscount. */
__noinline int lru_vote(struct ballot *b)
{
	struct lru_key key = {};
	struct lru_source *source;
	__u64 fresh_count = 0, match = LRU_TARGETS, empty = LRU_TARGETS;

	if (!b)
		return VOTE_BELOW;
	key.source = b->source;
	key.owner = cfg.policy;
	key.length = b->source_length;
	source = bpf_map_lookup_elem(&lru_sources, &key);
	if (!source) {
		__u32 zero = 0;
		struct lru_source *new = bpf_map_lookup_elem(&lru_new, &zero);

		if (!new)
			return VOTE_BELOW;
		new->targets[0].target = b->target;
		new->targets[0].stamp = b->now << 16 | b->port;
		bpf_map_update_elem(&lru_sources, &key, new, BPF_ANY);
		return VOTE_BELOW;
	}
	for (__u32 i = 0; i < LRU_TARGETS; i++) {
		__u64 stamp = source->targets[i].stamp;
		__u64 fresh = is_below(b->now - (stamp >> 16), cfg.window_ticks) & is_set(stamp);
		__u64 differs = (source->targets[i].target.hi ^ b->target.hi) |
				(source->targets[i].target.lo ^ b->target.lo) | ((__u16)stamp ^ b->port);

		match = pick(fresh & (is_set(differs) ^ 1), i, match);
		empty = pick(fresh, empty, i);
		fresh_count += fresh;
	}
	if (match >= LRU_TARGETS) {
		if (fresh_count + 1 >= cfg.threshold)
			return VOTE_NTH;
		match = empty;
	}
	if (match >= LRU_TARGETS)
		return VOTE_BELOW;
	source->targets[match].target = b->target;
	source->targets[match].stamp = b->now << 16 | b->port;
	return VOTE_BELOW;
}

#define cast_vote lru_vote
#define guard __attribute__((always_inline)) guard
#include "../../bpf/guard.bpf.c"
#undef guard

SEC("xdp.frags")
int rotated_lru(struct xdp_md *ctx)
{
	rotate(ctx);
	return guard(ctx);
}
