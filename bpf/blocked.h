/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Scan blocks: the table, what makes room in it, and what becomes of a blocked source's packets. */
#ifndef PORTCULLIS_BLOCKED_H
#define PORTCULLIS_BLOCKED_H

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct block_key);
	__type(value, struct block);
} blocks SEC(".maps");

/* Keys in order of blocking, twice max_blocks each: [0] unproven and records, [1] proven. */
enum ring { RING_UNPROVEN, RING_PROVEN, RING_COUNT };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING_COUNT * 131072);
	__type(key, __u32);
	__type(value, struct ring_entry);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING_COUNT);
	__type(key, __u32);
	__type(value, struct ring_head);
} ring_heads SEC(".maps");

#define BLOCK_RECORD_ONLY (BLOCK_MONITOR | BLOCK_SPARED)
#define EVICTION_TRIES 16	/* entries that have gone meanwhile cost a try each */

static __always_inline void push_ring(enum ring ring, const struct block_key *key, __u64 since)
{
	__u32 index = ring;
	struct ring_head *head = bpf_map_lookup_elem(&ring_heads, &index);
	struct ring_entry *entry;

	if (!head)
		return;
	index = ring * (cfg.ring_mask + 1) + (__sync_fetch_and_add(&head->head, 1) & cfg.ring_mask);
	entry = bpf_map_lookup_elem(&rings, &index);
	if (entry) {
		entry->key = *key;
		entry->since = since;
	}
}

/* Deletes the oldest block of a ring. True: there is room. */
static __always_inline bool evict_from(enum ring ring, __u64 now)
{
	__u32 index = ring;
	struct ring_head *head = bpf_map_lookup_elem(&ring_heads, &index);

	if (!head)
		return false;
	for (int i = 0; i < EVICTION_TRIES; i++) {
		struct ring_entry *entry;
		struct block_key key;
		struct block *block;
		bool unexpired;

		if ((__s32)(head->head - head->tail) <= 0)
			return false;
		index = ring * (cfg.ring_mask + 1) + (__sync_fetch_and_add(&head->tail, 1) & cfg.ring_mask);
		entry = bpf_map_lookup_elem(&rings, &index);
		if (!entry)
			return false;
		key = entry->key;
		block = bpf_map_lookup_elem(&blocks, &key);
		/* Lifted, expired and gone, or blocked anew since: that one has an entry of its own. */
		if (!block || block->since != entry->since)
			continue;
		unexpired = block->until > now;
		/* Proven meanwhile: it stands in the other ring too. */
		if (ring == RING_UNPROVEN && unexpired && (block->flags & BLOCK_PROVEN))
			continue;
		if (bpf_map_delete_elem(&blocks, &key))
			continue;
		if (unexpired)
			count_loss(LOSS_BLOCK_EVICTED);
		return true;
	}
	return false;
}

enum insertion { BLOCK_INSERTED, BLOCK_STOOD_ALREADY, BLOCK_NO_ROOM };

/* Global: one verification for every caller. */
__noinline int insert_block(struct block_key *key, struct block *block)
{
	long error;

	if (!key || !block)
		return BLOCK_NO_ROOM;
	error = bpf_map_update_elem(&blocks, key, block, BPF_NOEXIST);
	if (error == -17 /* EEXIST */) {
		struct block *standing = bpf_map_lookup_elem(&blocks, key);

		/* A record gives way to a block, and a block to the record of a source that may no longer be blocked. */
		if (standing && standing->until > block->since &&
		    !((standing->flags ^ block->flags) & BLOCK_RECORD_ONLY))
			return BLOCK_STOOD_ALREADY;
		error = bpf_map_update_elem(&blocks, key, block, BPF_ANY);
	}
	if (error == -7 /* E2BIG */ &&
	    (evict_from(RING_UNPROVEN, block->since) || evict_from(RING_PROVEN, block->since)))
		error = bpf_map_update_elem(&blocks, key, block, BPF_ANY);
	if (error) {
		count_loss(LOSS_BLOCK_TABLE_FULL);
		return BLOCK_NO_ROOM;
	}
	mark_blocked(key);
	push_ring(RING_UNPROVEN, key, block->since);
	return BLOCK_INSERTED;
}

/* A proven source is blocked for the policy's whole duration, counted from the beginning; never for less than it was. */
static __always_inline void prove(struct block_key *key, struct block *block)
{
	__u64 until = block->since + cfg.block_ticks;

	if (block->flags & BLOCK_PROVEN)
		return;
	block->flags |= BLOCK_PROVEN;
	if (until > block->until)
		block->until = until;
	push_ring(RING_PROVEN, key, block->since);
}

/*
 * A blocked source that goes on to N targets is blocked anew from then on: a
 * scan that outlasts its block would else find N - 1 more ports each time. What
 * it tries is looked at once a tick, so that a flood of it costs nothing more.
 */
static __always_inline void renew_block(struct xdp_md *ctx, const struct packet *p, const struct segment *s,
					const struct block_key *key, struct block *block, __u64 now)
{
	struct ballot ballot = {
		.source = key->source,
		.target = p->target,
		.now = now,
		.source_length = key->source_length,
		.owner = cfg.policy | WHILE_BLOCKED,
		.port = s->target_port,
		.is_v6 = p->is_v6,
	};
	__u64 until;

	if (!counts_as_target(p) || !checksum_allows_vote(ctx, p) || cast_vote(&ballot) != VOTE_NTH)
		return;
	until = now + ((block->flags & (BLOCK_PROVEN | BLOCK_MONITOR)) ? cfg.block_ticks : cfg.unproven_ticks);
	if (until > block->until)
		block->until = until;
}

static __always_inline int check_blocked(struct xdp_md *ctx, struct packet *p, struct block_key *key, __u64 now)
{
	struct block *block = bpf_map_lookup_elem(&blocks, key);
	__u32 reason = BLOCKED_DROP;
	struct segment s = { .kind = TCP_MALFORMED };

	if (!block || block->until <= now || (block->flags & BLOCK_SPARED))
		return GO_ON;
	if ((cfg.flags & INSTANCE_ENFORCE) && (block->flags & BLOCK_MONITOR))
		return GO_ON;
	if (p->protocol == PROTO_TCP && p->fragment == FRAGMENT_NONE)
		parse_tcp(ctx, p, &s);
	/* A plain SYN is dropped wherever it goes. Where all traffic is cut the test still tells whether the source is real. */
	if (s.kind != TCP_NEW_CONNECTION &&
	    (!(cfg.flags & INSTANCE_BLOCK_ALL_TRAFFIC) || !(block->flags & BLOCK_PROVEN))) {
		reason = new_connections_test(ctx, p);
		if (reason & BLOCKED_PROVEN)
			prove(key, block);
		reason &= BLOCKED_REASON_MASK;
		if (cfg.flags & INSTANCE_BLOCK_ALL_TRAFFIC)
			reason = BLOCKED_DROP;
	}
	if (reason != BLOCKED_DROP)
		return pass(reason);
	if (block->last != now && (s.kind == TCP_NEW_CONNECTION || s.kind == TCP_PROBE))
		renew_block(ctx, p, &s, key, block, now);
	__sync_fetch_and_add(&block->dropped, 1);
	block->last = now;
	if (!(cfg.flags & INSTANCE_ENFORCE))
		return pass(WOULD_DROP_SCAN_BLOCKED);
	count(cfg.policy, DROP_SCAN_BLOCKED);
	return XDP_DROP;
}

#endif
