/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What users and the agent entered: source classes, blocklists, manual blocks, allow entries, own addresses. */
#ifndef PORTCULLIS_SETS_H
#define PORTCULLIS_SETS_H

#define SET_SLOTS 64	/* groups of interfaces with equal lists and allows */

#define TRIE(name, prefix, type_of_value)                        \
	struct name {                                            \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);             \
		__uint(map_flags, BPF_F_NO_PREALLOC);            \
		__uint(max_entries, 1);                          \
		__type(key, struct prefix);                      \
		__type(value, struct type_of_value);             \
	}
#define TRIES(name, inner)                                       \
	struct {                                                 \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);        \
		__uint(max_entries, SET_SLOTS);                  \
		__type(key, __u32);                              \
		__array(values, struct inner);                   \
	} name SEC(".maps")

TRIE(, prefix4, source_class_value) class4 SEC(".maps");
TRIE(, prefix6, source_class_value) class6 SEC(".maps");
TRIE(, prefix4, manual_value) manual4 SEC(".maps");
TRIE(, prefix6, manual_value) manual6 SEC(".maps");

/* By size: clang leaves the types behind a nested pointer out of BTF. */
#define INNER_TRIE(name, prefix, type_of_value)                  \
	struct name {                                            \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);             \
		__uint(map_flags, BPF_F_NO_PREALLOC);            \
		__uint(max_entries, 1);                          \
		__uint(key_size, sizeof(struct prefix));         \
		__uint(value_size, sizeof(struct type_of_value)); \
	}
INNER_TRIE(inner_list4, prefix4, list_value);
INNER_TRIE(inner_list6, prefix6, list_value);
INNER_TRIE(inner_allow4, prefix4, allow_value);
INNER_TRIE(inner_allow6, prefix6, allow_value);
/* Swapped whole, one slot at a time: a half-built table is never seen. */
TRIES(lists4, inner_list4);
TRIES(lists6, inner_list6);
TRIES(allows4, inner_allow4);
TRIES(allows6, inner_allow6);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u32);
} own SEC(".maps");

static __always_inline void key4(struct prefix4 *key, const struct packet *p)
{
	key->length = 32;
	*(__be32 *)key->address = bpf_htonl((__u32)p->source.lo);
}

static __always_inline void key6(struct prefix6 *key, const struct packet *p)
{
	__be64 halves[2] = { bpf_cpu_to_be64(p->source.hi), bpf_cpu_to_be64(p->source.lo) };

	key->length = 128;
	__builtin_memcpy(key->address, halves, 16);
}

static __always_inline void *find_source(void *table4, void *table6, const struct packet *p)
{
	if (p->is_v6) {
		struct prefix6 key;

		key6(&key, p);
		return bpf_map_lookup_elem(table6, &key);
	} else {
		struct prefix4 key;

		key4(&key, p);
		return bpf_map_lookup_elem(table4, &key);
	}
}

static __always_inline __u32 source_class(const struct packet *p)
{
	struct source_class_value *class = find_source(&class4, &class6, p);

	return class ? class->flags : 0;
}

static __always_inline struct list_value *find_list(const struct packet *p)
{
	__u32 slot = cfg.set_slot;

	if (p->is_v6) {
		void *table = bpf_map_lookup_elem(&lists6, &slot);
		struct prefix6 key;

		key6(&key, p);
		return table ? bpf_map_lookup_elem(table, &key) : NULL;
	} else {
		void *table = bpf_map_lookup_elem(&lists4, &slot);
		struct prefix4 key;

		key4(&key, p);
		return table ? bpf_map_lookup_elem(table, &key) : NULL;
	}
}

static __always_inline struct allow_value *find_allow(const struct packet *p)
{
	__u32 slot = cfg.set_slot;

	if (p->is_v6) {
		void *table = bpf_map_lookup_elem(&allows6, &slot);
		struct prefix6 key;

		key6(&key, p);
		return table ? bpf_map_lookup_elem(table, &key) : NULL;
	} else {
		void *table = bpf_map_lookup_elem(&allows4, &slot);
		struct prefix4 key;

		key4(&key, p);
		return table ? bpf_map_lookup_elem(table, &key) : NULL;
	}
}

static __always_inline bool is_own(const struct address *target)
{
	return bpf_map_lookup_elem(&own, target) != NULL;
}

static __always_inline bool is_group_address(const struct packet *p)
{
	__u32 v4 = p->target.lo;

	return p->is_v6 ? (p->target.hi >> 56) == 0xff : (v4 >> 28) == 14 || v4 == 0xffffffff;
}

/* Whom probes are counted for: this node, or by choice whatever lies behind it. */
static __always_inline bool counts_as_target(const struct packet *p)
{
	return (cfg.flags & INSTANCE_ALL_DESTINATIONS) ? !is_group_address(p) : is_own(&p->target);
}

/* Which source a vote and a block are about: one IPv4 address, or the prefix an IPv6 site is given. */
static __always_inline void identify(const struct packet *p, __u32 class, struct block_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->owner = cfg.policy;
	key->source = p->source;
	key->source_length = 32;
	if (!p->is_v6)
		return;
	key->source_length = 128;
	/* Neighbours on one link share its /64 and nothing else. */
	if ((class & CLASS_ON_LINK) || is_on_link_scope(p))
		return;
	key->source_length = cfg.v6_length;
	key->source.hi &= cfg.v6_mask.hi;
	key->source.lo &= cfg.v6_mask.lo;
}

#endif
