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

static __always_inline struct ring_entry *ring_entry_at(enum ring ring, __u32 position)
{
	__u32 index = ring * (cfg.ring_mask + 1) + (position & cfg.ring_mask);

	return bpf_map_lookup_elem(&rings, &index);
}

/* Entries in the ring; those that newer ones have overwritten are skipped first. */
static __always_inline __u32 ring_length(struct ring_head *head)
{
	__u32 tail = head->tail, length = head->head - tail;

	if (length <= cfg.ring_mask + 1)
		return length;
	__sync_val_compare_and_swap(&head->tail, tail, head->head - (cfg.ring_mask + 1));
	return cfg.ring_mask + 1;
}

/* The block an entry is about. None: lifted, expired and gone, blocked anew since, or proven meanwhile and in the other ring. */
static __always_inline struct block *block_of_entry(enum ring ring, struct ring_entry *entry, __u64 now)
{
	struct block_key key = entry->key;
	struct block *block = bpf_map_lookup_elem(&blocks, &key);

	if (!block || block->since != entry->since)
		return NULL;
	if (ring == RING_UNPROVEN && block->until > now && (block->flags & BLOCK_PROVEN))
		return NULL;
	return block;
}

/* Each push takes up to two entries away that are about nothing any more, so that they never pile up before a live one. */
#define SWEPT_A_PUSH 2

static __always_inline void push_ring(enum ring ring, const struct block_key *key, __u64 since)
{
	__u32 index = ring;
	struct ring_head *head = bpf_map_lookup_elem(&ring_heads, &index);
	struct ring_entry *entry;

	if (!head)
		return;
	entry = ring_entry_at(ring, __sync_fetch_and_add(&head->head, 1));
	if (entry) {
		entry->key = *key;
		entry->since = since;
	}
	for (int i = 0; i < SWEPT_A_PUSH && ring_length(head) > 1; i++) {
		__u32 tail = head->tail;

		entry = ring_entry_at(ring, tail);
		if (!entry || block_of_entry(ring, entry, since))
			return;
		__sync_val_compare_and_swap(&head->tail, tail, tail + 1);
	}
}

/* NOT_YET: the tries went on entries whose blocks have gone; the next insertion goes on from there. */
enum eviction { EVICTED_ONE, EVICTED_NONE_LEFT, EVICTED_NOT_YET };

/* Deletes the oldest block of a ring. EVICTED_NONE_LEFT: the ring holds none. */
static __always_inline enum eviction evict_from(enum ring ring, __u64 now)
{
	__u32 index = ring;
	struct ring_head *head = bpf_map_lookup_elem(&ring_heads, &index);

	if (!head)
		return EVICTED_NOT_YET;
	for (int i = 0; i < EVICTION_TRIES; i++) {
		struct ring_entry *entry;
		struct block_key key;
		struct block *block;
		bool unexpired;
		__u32 tail;

		if (!ring_length(head))
			return EVICTED_NONE_LEFT;
		tail = head->tail;
		entry = ring_entry_at(ring, tail);
		/* Another CPU has taken it: the next one is ours. */
		if (!entry || __sync_val_compare_and_swap(&head->tail, tail, tail + 1) != tail)
			continue;
		block = block_of_entry(ring, entry, now);
		if (!block)
			continue;
		unexpired = block->until > now;
		key = entry->key;
		if (bpf_map_delete_elem(&blocks, &key))
			continue;
		if (unexpired)
			count_loss(LOSS_BLOCK_EVICTED);
		return EVICTED_ONE;
	}
	return EVICTED_NOT_YET;
}

enum insertion { BLOCK_INSERTED, BLOCK_STOOD_ALREADY, BLOCK_NO_ROOM };

/* Both on the caller's stack: on 6.1 a table takes neither out of what a global function was given. */
static __always_inline int insert_block(struct block_key *key, struct block *block)
{
	/* Not long, as it is declared: on 6.1 the upper half of what it returns is not set. */
	int error = bpf_map_update_elem(&blocks, key, block, BPF_NOEXIST);

	if (error == -17 /* EEXIST */) {
		struct block *standing = bpf_map_lookup_elem(&blocks, key);

		/* A record gives way to a block, and a block to the record of a source that may no longer be blocked. */
		if (standing && standing->until > block->since &&
		    !((standing->flags ^ block->flags) & BLOCK_RECORD_ONLY))
			return BLOCK_STOOD_ALREADY;
		error = bpf_map_update_elem(&blocks, key, block, BPF_ANY);
	}
	if (error == -7 /* E2BIG */) {
		enum eviction evicted = evict_from(RING_UNPROVEN, block->since);

		/* A proven block goes when there is no other, not when another was not found. */
		if (evicted == EVICTED_NONE_LEFT)
			evicted = evict_from(RING_PROVEN, block->since);
		if (evicted == EVICTED_ONE)
			error = bpf_map_update_elem(&blocks, key, block, BPF_ANY);
	}
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
	/*
	 * A plain SYN is dropped wherever it goes. Where all traffic is cut the test
	 * still tells whether the source is real, which UDP never does.
	 */
	if (s.kind != TCP_NEW_CONNECTION && (!(cfg.flags & INSTANCE_BLOCK_ALL_TRAFFIC) ||
					     (!(block->flags & BLOCK_PROVEN) && p->protocol != PROTO_UDP))) {
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
