/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Who is scanning: distinct (address, port) targets of each source within a
 * sliding window, exact, decided at the packet that proves the case.
 *
 * Two stages, so that a flood of forged sources cannot wash a scanner out. A
 * source's first target stands in `firsts`, where the oldest of 56 makes room;
 * from the second on the source stands in `sources` with its slots in
 * `probes`, where one with few targets makes room before one with many. One
 * lock guards both stages of a domain, so that a source seen by several CPUs at
 * once is still counted exactly. A domain is chosen by SipHash with a secret:
 * nobody can aim at a neighbour.
 */
#ifndef PORTCULLIS_DETECT_H
#define PORTCULLIS_DETECT_H

#include "tracking.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 15);	/* domains, set before load */
	__type(key, __u32);
	__type(value, struct domain);
} domains SEC(".maps");

/* One element a domain: SOURCES_PER_DOMAIN * cfg.slots of struct probe. Its size is set before load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 15);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, SOURCES_PER_DOMAIN * 15 * sizeof(struct probe));
} probes SEC(".maps");

/* Where a vote leaves the ports it found, for the block and its event; too large for the stack. */
struct vote_result {
	__u32 count;			/* distinct targets, this one included */
	__u32 port_count;
	__u16 ports[EVENT_PORTS * 2];	/* twice, so that a masked index always fits */
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vote_result);
} vote_results SEC(".maps");

enum vote {
	VOTE_BELOW,	/* not the Nth: pass */
	VOTE_NTH,	/* the Nth distinct target */
	VOTE_SETTLED,	/* another CPU has just made a block of this source */
};

struct ballot {
	struct address source;	/* masked to source_length */
	struct address target;
	__u64 now;
	__u32 source_length;
	owner_id owner;		/* the policy, or with WHILE_BLOCKED the count of what a blocked source goes on trying */
	__u16 port;
	__u8 is_v6;
};

/* A vote on another CPU may still be on its way into the block table: about two ticks, 2 to 20 ms. */
#define SETTLE_TICKS 2

#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define SIP_ROUND                                                                                  \
	do {                                                                                       \
		v0 += v1; v1 = ROTATE(v1, 13); v1 ^= v0; v0 = ROTATE(v0, 32);                      \
		v2 += v3; v3 = ROTATE(v3, 16); v3 ^= v2;                                           \
		v0 += v3; v3 = ROTATE(v3, 21); v3 ^= v0;                                           \
		v2 += v1; v1 = ROTATE(v1, 17); v1 ^= v2; v2 = ROTATE(v2, 32);                      \
	} while (0)

/* SipHash-1-3 (Aumasson, Bernstein: https://www.aumasson.jp/siphash/) of source and policy. */
static __always_inline __u64 hash_source(const struct address *source, __u64 third)
{
	__u64 v0 = cfg.secret[0] ^ 0x736f6d6570736575ull, v1 = cfg.secret[1] ^ 0x646f72616e646f6dull;
	__u64 v2 = cfg.secret[0] ^ 0x6c7967656e657261ull, v3 = cfg.secret[1] ^ 0x7465646279746573ull;

	v3 ^= source->hi; SIP_ROUND; v0 ^= source->hi;
	v3 ^= source->lo; SIP_ROUND; v0 ^= source->lo;
	v3 ^= third; SIP_ROUND; v0 ^= third;
	v2 ^= 0xff;
	SIP_ROUND; SIP_ROUND; SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

#define FIRST_TICK_BITS 34	/* at 1,000 ticks a second it repeats after 198 days; a window is an hour at most */
#define FIRST_TICK_MASK ((1ull << FIRST_TICK_BITS) - 1)
#define FIRST_ID_MASK ((1ull << 30) - 1)

static __always_inline bool first_is_fresh(__u64 stamp, __u64 now)
{
	return ((now - (stamp >> 30)) & FIRST_TICK_MASK) < cfg.window_ticks;
}

/* Lanes of four 16-bit tags that may equal the pattern's: its lowest set bit is always a true one (Mycroft's test). */
static __always_inline __u64 lanes_equal(__u64 tags, __u64 pattern)
{
	__u64 x = tags ^ pattern;

	return (x - 0x0001000100010001ull) & ~x & 0x8000800080008000ull;
}

/* The way of `sources` that holds this source, or SOURCES_PER_DOMAIN. Under the lock. */
static __always_inline __u32 find_tracked(struct domain *d, const struct ballot *b, __u64 pattern)
{
	__u32 way = SOURCES_PER_DOMAIN;

	if (!lanes_equal(*(__u64 *)d->source_tags, pattern))
		return way;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < SOURCES_PER_DOMAIN; i++) {
		__u64 differs = (d->sources[i].address.hi ^ b->source.hi) | (d->sources[i].address.lo ^ b->source.lo) |
				(d->sources[i].owner ^ b->owner) | (d->source_tags[i] ^ (pattern & 0xffff));

		way = pick(is_set(differs), way, i);
	}
	return way;
}

/* The index of `firsts` that holds this source, or FIRSTS_PER_DOMAIN. Under the lock. */
static __always_inline __u32 find_first(struct domain *d, __u64 key, __u64 id, __u64 pattern)
{
	for (__u32 word = 0; word < FIRSTS_PER_DOMAIN / 4; word++) {
		__u64 tags = *((__u64 *)d->first_tags + word);

		if (!lanes_equal(tags, pattern))
			continue;
#pragma clang loop unroll(full)
		for (__u32 lane = 0; lane < 4; lane++) {
			struct first *f = &d->firsts[word * 4 + lane];

			if ((__u16)(tags >> (lane * 16)) == (__u16)pattern && f->key == key &&
			    (f->stamp & FIRST_ID_MASK & ~0xffffull) == id)
				return word * 4 + lane;
		}
	}
	return FIRSTS_PER_DOMAIN;
}

/* Takes the oldest place. Returns 1 when that loses a source whose target is still fresh. */
static __always_inline __u32 put_first(struct domain *d, const struct ballot *b, __u64 key, __u64 id, __u16 tag)
{
	__u32 at = d->cursor;
	__u32 evicts;

	if (at >= FIRSTS_PER_DOMAIN)
		at = 0;
	evicts = d->first_tags[at] && first_is_fresh(d->firsts[at].stamp, b->now);
	d->first_tags[at] = tag;
	d->firsts[at].key = key;
	d->firsts[at].stamp = (b->now & FIRST_TICK_MASK) << 30 | id | b->port;
	d->firsts[at].target = b->target;
	d->cursor = at + 1;
	return evicts;
}

/* Global, so that the verifier sees it once. Returns enum vote; what it lost is counted inside. */
__noinline int cast_vote(struct ballot *b)
{
	struct domain *d;
	struct probe *slots;
	struct vote_result *result;
	__u64 hash, kind, key, id, pattern1, pattern2;
	__u64 way, at;	/* of 64 bits: older verifiers do not carry a bound over from the lower half */
	__u32 index, zero = 0, evicted_first = 0, evicted_source = 0;
	int vote = VOTE_BELOW;

	if (!b)
		return VOTE_BELOW;
	result = bpf_map_lookup_elem(&vote_results, &zero);
	if (!result)
		return VOTE_BELOW;
	result->count = 1;
	result->port_count = 1;
	result->ports[0] = b->port;
	if (cfg.threshold <= 1)
		return VOTE_NTH;

	hash = hash_source(&b->source, (__u64)b->source_length << 32 | b->owner);
	kind = !b->is_v6 ? KIND_V4 : b->source_length <= 64 ? KIND_V6_PREFIX : KIND_V6_HASHED;
	key = kind == KIND_V4 ? (__u32)b->source.lo : kind == KIND_V6_PREFIX ? b->source.hi : hash;
	id = kind << FIRST_KIND_SHIFT | (__u64)(b->owner & 0xfff) << FIRST_OWNER_SHIFT;
	/* Tag 0 means empty. */
	pattern1 = ((hash >> 32) & 0xffff ?: 1) * 0x0001000100010001ull;
	pattern2 = ((hash >> 48) ?: 1) * 0x0001000100010001ull;

	index = hash & cfg.domain_mask;
	d = bpf_map_lookup_elem(&domains, &index);
	slots = bpf_map_lookup_elem(&probes, &index);
	if (!d || !slots)
		return VOTE_BELOW;

	bpf_spin_lock(&d->lock);
	way = find_tracked(d, b, pattern2);
	if (way < SOURCES_PER_DOMAIN) {
		struct source *source = &d->sources[way];
		struct probe *mine = slots + times(way, cfg.slots);
		__u64 fresh_count = 0, match = cfg.slots, empty = 0;
		__u32 ports = 1;

		if (source->settled) {
			if (b->now < source->fresh_until) {
				vote = VOTE_SETTLED;
				goto unlock;
			}
			/* Its block has ended or was lifted: it starts again at no target. */
			source->settled = 0;
			for (__u32 i = 0; i < cfg.slots; i++)
				mine[i].stamp = 0;
		}
		/* Branch-free: a branch for each slot would be more paths than the verifier follows. */
		for (__u32 i = 0; i < cfg.slots; i++) {
			__u64 stamp = mine[i].stamp;
			__u64 fresh = is_below(b->now - (stamp >> 16), cfg.window_ticks) & is_set(stamp);
			__u64 differs = (mine[i].target.hi ^ b->target.hi) | (mine[i].target.lo ^ b->target.lo) |
					((__u16)stamp ^ b->port);

			match = pick(fresh & (is_set(differs) ^ 1), i, match);
			empty = pick(fresh, empty, i);
			fresh_count += fresh;
			result->ports[ports & (EVENT_PORTS - 1)] = stamp;
			ports += fresh;
		}
		if (match < cfg.slots) {
			mine[match].stamp = b->now << 16 | b->port;
		} else if (fresh_count + 1 >= cfg.threshold) {
			vote = VOTE_NTH;
			result->count = fresh_count + 1;
			result->port_count = ports > EVENT_PORTS ? EVENT_PORTS : ports;
			source->settled = 1;
			source->count = 0;
			source->fresh_until = b->now + SETTLE_TICKS;
			goto unlock;
		} else if (empty < cfg.slots) {
			mine[empty].target = b->target;
			mine[empty].stamp = b->now << 16 | b->port;
			source->count = fresh_count + 1;
		}
		source->fresh_until = b->now + cfg.window_ticks;
		goto unlock;
	}

	at = forget(find_first(d, key, id, pattern1), hash);
	if (at >= FIRSTS_PER_DOMAIN) {
		evicted_first = put_first(d, b, key, id, pattern1);
		goto unlock;
	}
	struct first *first = &d->firsts[at];
	if (!first_is_fresh(first->stamp, b->now)) {
		d->first_tags[at] = 0;
		evicted_first = put_first(d, b, key, id, pattern1);
		goto unlock;
	}
	if ((__u16)first->stamp == b->port && first->target.hi == b->target.hi && first->target.lo == b->target.lo) {
		/* Seen again: it must become the newest, or a flood since its first showing would count twice. */
		/* Not at + 1: 6.12 forgets the bound of at once it has compared a sum with it. */
		if (at == (__u32)(d->cursor - 1)) {
			first->stamp = (b->now & FIRST_TICK_MASK) << 30 | id | b->port;
		} else {
			d->first_tags[at] = 0;
			evicted_first = put_first(d, b, key, id, pattern1);
		}
		goto unlock;
	}

	/* A second target: into stage 2, at the place that is worth least. */
	{
		__u64 least = ~0ull, first_tick = b->now - ((b->now - (first->stamp >> 30)) & FIRST_TICK_MASK);
		__u16 first_port = first->stamp;
		struct source *source;
		struct probe *mine;

		way = 0;
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < SOURCES_PER_DOMAIN; i++) {
			__u64 alive = is_below(b->now, d->sources[i].fresh_until) & is_set(d->source_tags[i]);
			__u64 worth = ((__u64)d->sources[i].count << 48 | (d->sources[i].fresh_until & 0xffffffffffffull)) *
				      alive;
			__u64 less = is_below(worth, least & ~(1ull << 63));

			way = pick(less, i, way);
			least = pick(less, worth, least);
		}
		way = forget(way, hash);
		if (way >= SOURCES_PER_DOMAIN)
			goto unlock;
		evicted_source = least != 0;
		source = &d->sources[way];
		mine = slots + times(way, cfg.slots);
		source->address = b->source;
		source->owner = b->owner;
		source->count = 2;
		source->settled = 0;
		source->fresh_until = b->now + cfg.window_ticks;
		d->source_tags[way] = pattern2;
		for (__u32 i = 0; i < cfg.slots; i++)
			mine[i].stamp = 0;
		if (cfg.threshold == 2) {
			vote = VOTE_NTH;
			result->count = 2;
			result->port_count = 2;
			result->ports[1] = first_port;
			source->settled = 1;
			source->count = 0;
			source->fresh_until = b->now + SETTLE_TICKS;
		} else if (cfg.slots >= 2) {
			mine[0].target = first->target;
			mine[0].stamp = first_tick << 16 | first_port;
			mine[1].target = b->target;
			mine[1].stamp = b->now << 16 | b->port;
		}
		d->first_tags[at] = 0;
	}
unlock:
	bpf_spin_unlock(&d->lock);
	if (evicted_first)
		count_loss(LOSS_FIRST_TARGET_EVICTED);
	if (evicted_source)
		count_loss(LOSS_SOURCE_EVICTED);
	return vote;
}

#endif
