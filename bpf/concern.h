/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The prefilter: which tables may know a source. Two reads of an array answer
 * for the many packets that concern nobody; a table is asked only when its bit
 * is set. See struct control and enum concern in layout.h for the rules that
 * keep it free of false negatives.
 */
#ifndef PORTCULLIS_CONCERN_H
#define PORTCULLIS_CONCERN_H

/*
 * One element: struct control, then the words of two halves. One look-up gives
 * the address of all of it, where an element a word would cost one each.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct control) + 2 * (CONCERN_WIDE_CELLS + 65536) / 2);	/* set before load */
} concern SEC(".maps");

static __always_inline struct control *get_control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&concern, &zero);
}

/*
 * One multiplication and a shift, on 32 bits so that user space computes the
 * same with Math.imul: this is paid for every packet. Who finds sources that
 * share a cell gains a table look-up for each of them and no verdict.
 */
static __always_inline __u32 spread(__u32 x)
{
	x *= 0x9e3779b1;
	return x ^ x >> 15;
}

static __always_inline __u32 cell_of_v4(__u32 address)
{
	return CONCERN_WIDE_CELLS + (spread((address >> 8) ^ (__u32)cfg.secret[0]) & cfg.cell_mask);
}

static __always_inline __u32 cell_of_v6(__u64 prefix, __u32 level)
{
	__u32 high = prefix >> 32, low = prefix;

	return CONCERN_WIDE_CELLS +
	       (spread(high ^ spread(low ^ level ^ (__u32)(cfg.secret[0] >> 32))) & cfg.cell_mask);
}

/* Always inside of the element: cell is below CONCERN_WIDE_CELLS + cell_mask + 1 and half is 0 or 1. */
static __always_inline __u64 *concern_word(struct control *c, __u32 half, __u32 cell)
{
	__u64 *words = (void *)(c + 1);

	return words + (half & 1) * ((CONCERN_WIDE_CELLS + cfg.cell_mask + 1) / 16) + cell / 16;
}

static __always_inline __u32 concern_at(struct control *c, __u32 half, __u32 cell)
{
	return *concern_word(c, half, cell) >> ((cell & 15) * 4);
}

#define V6_PREFIX_48(hi) ((hi) & ~0xffffull)
#define V6_PREFIX_32(hi) ((hi) & ~0xffffffffull)

static __always_inline __u32 concern_about(const struct packet *p)
{
	struct control *c = get_control();
	__u32 found, half;

	/* Cannot happen; a filter that cannot be read must not hide a table. */
	if (!c)
		return 15;
	half = c->concern_half;
	if (!p->is_v6) {
		__u32 address = p->source.lo;

		return (concern_at(c, half, address >> 16) | concern_at(c, half, cell_of_v4(address))) & 15;
	}
	found = concern_at(c, half, 65536 + (p->source.hi >> 48));
	if (c->v6_levels & V6_LEVEL_64)
		found |= concern_at(c, half, cell_of_v6(p->source.hi, V6_LEVEL_64));
	if (c->v6_levels & V6_LEVEL_48)
		found |= concern_at(c, half, cell_of_v6(V6_PREFIX_48(p->source.hi), V6_LEVEL_48));
	if (c->v6_levels & V6_LEVEL_32)
		found |= concern_at(c, half, cell_of_v6(V6_PREFIX_32(p->source.hi), V6_LEVEL_32));
	return found & 15;
}

static __always_inline void mark_cell(struct control *c, __u32 cell, __u64 bits)
{
	__sync_fetch_and_or(concern_word(c, 0, cell), bits << ((cell & 15) * 4));
	__sync_fetch_and_or(concern_word(c, 1, cell), bits << ((cell & 15) * 4));
}

/* After a block stands in its table: from here on its packets are looked up. */
static __always_inline void mark_blocked(const struct block_key *key)
{
	struct control *c = get_control();

	if (!c)
		return;
	if (is_mapped(&key->source)) {
		mark_cell(c, cell_of_v4(key->source.lo), CONCERN_BLOCK);
	} else if (key->source_length >= 64) {
		mark_cell(c, cell_of_v6(key->source.hi, V6_LEVEL_64), CONCERN_BLOCK);
		if (!(c->v6_levels & V6_LEVEL_64))
			__sync_fetch_and_or(&c->v6_levels, V6_LEVEL_64);
	} else {
		mark_cell(c, cell_of_v6(V6_PREFIX_48(key->source.hi), V6_LEVEL_48), CONCERN_BLOCK);
		if (!(c->v6_levels & V6_LEVEL_48))
			__sync_fetch_and_or(&c->v6_levels, V6_LEVEL_48);
	}
}

#endif
