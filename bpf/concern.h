/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The prefilter: which tables may know a source. Two reads of an array answer
 * for the many packets that concern nobody; a table is asked only when its bit
 * is set. See struct control and enum concern in layout.h for the rules that
 * keep it free of false negatives.
 */
#ifndef PORTCULLIS_CONCERN_H
#define PORTCULLIS_CONCERN_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* 2 halves, set before load */
	__type(key, __u32);
	__type(value, __u64);
} concern SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/* 32-bit, so that user space computes the same with Math.imul. Constants: Wellons' low-bias mixer. */
static __always_inline __u32 mix32(__u32 x)
{
	x ^= x >> 16;
	x *= 0x7feb352d;
	x ^= x >> 15;
	x *= 0x846ca68b;
	return x ^ x >> 16;
}

static __always_inline __u32 cell_of_v4(__u32 address)
{
	return CONCERN_WIDE_CELLS + (mix32((address >> 8) ^ (__u32)cfg.secret[0]) & cfg.cell_mask);
}

static __always_inline __u32 cell_of_v6(__u64 prefix, __u32 level)
{
	__u32 high = prefix >> 32, low = prefix;

	return CONCERN_WIDE_CELLS +
	       (mix32(high ^ mix32(low + level * 0x9e3779b1 + (__u32)(cfg.secret[0] >> 32))) & cfg.cell_mask);
}

static __always_inline __u64 *concern_word(__u32 half, __u32 cell)
{
	__u32 index = half * ((CONCERN_WIDE_CELLS + cfg.cell_mask + 1) / 16) + cell / 16;

	return bpf_map_lookup_elem(&concern, &index);
}

static __always_inline __u32 concern_at(__u32 half, __u32 cell)
{
	__u64 *word = concern_word(half, cell);

	/* A cell that cannot be read must not hide a table. */
	return word ? (*word >> ((cell & 15) * 4)) & 15 : 15;
}

#define V6_PREFIX_48(hi) ((hi) & ~0xffffull)
#define V6_PREFIX_32(hi) ((hi) & ~0xffffffffull)

static __always_inline __u32 concern_about(const struct packet *p)
{
	__u32 zero = 0, found, half;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	if (!c)
		return 15;
	half = c->concern_half;
	if (!p->is_v6) {
		__u32 address = p->source.lo;

		return concern_at(half, address >> 16) | concern_at(half, cell_of_v4(address));
	}
	found = concern_at(half, 65536 + (p->source.hi >> 48));
	if (c->v6_levels & V6_LEVEL_64)
		found |= concern_at(half, cell_of_v6(p->source.hi, V6_LEVEL_64));
	if (c->v6_levels & V6_LEVEL_48)
		found |= concern_at(half, cell_of_v6(V6_PREFIX_48(p->source.hi), V6_LEVEL_48));
	if (c->v6_levels & V6_LEVEL_32)
		found |= concern_at(half, cell_of_v6(V6_PREFIX_32(p->source.hi), V6_LEVEL_32));
	return found;
}

static __always_inline void mark_cell(__u32 cell, __u64 bits)
{
	__u64 *word = concern_word(0, cell);

	if (word)
		__sync_fetch_and_or(word, bits << ((cell & 15) * 4));
	word = concern_word(1, cell);
	if (word)
		__sync_fetch_and_or(word, bits << ((cell & 15) * 4));
}

/* After a block stands in its table: from here on its packets are looked up. */
static __always_inline void mark_blocked(const struct block_key *key)
{
	__u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	if (!key->source.hi && (key->source.lo >> 32) == 0xffff) {
		mark_cell(cell_of_v4(key->source.lo), CONCERN_BLOCK);
		return;
	}
	if (key->source_length >= 64) {
		mark_cell(cell_of_v6(key->source.hi, V6_LEVEL_64), CONCERN_BLOCK);
		if (c && !(c->v6_levels & V6_LEVEL_64))
			__sync_fetch_and_or(&c->v6_levels, V6_LEVEL_64);
	} else {
		mark_cell(cell_of_v6(V6_PREFIX_48(key->source.hi), V6_LEVEL_48), CONCERN_BLOCK);
		if (c && !(c->v6_levels & V6_LEVEL_48))
			__sync_fetch_and_or(&c->v6_levels, V6_LEVEL_48);
	}
}

#endif
