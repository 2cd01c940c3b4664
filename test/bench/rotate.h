/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Makes a frame that is run again and again come from another source each time: Ethernet, IPv4 without options, then
 * TCP or UDP. Keys are read in order, so that what is measured is the cache misses of the program, not those of the keys.
 */
#ifndef PORTCULLIS_BENCH_ROTATE_H
#define PORTCULLIS_BENCH_ROTATE_H

struct bench_key {
	__be32 source;
	__be16 target_port;
	__be16 checksum;	/* of TCP, for this source and port */
};

#define BENCH_KEYS (1 << 20)
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BENCH_KEYS);
	__type(key, __u32);
	__type(value, struct bench_key);
} bench_keys SEC(".maps");

/* One entry: the next key, and the last one (a power of two - 1) after which it starts again. */
struct bench_cursor {
	__u32 next;
	__u32 mask;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_cursor);
} bench_cursor SEC(".maps");

static __always_inline void rotate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, index;
	struct bench_cursor *cursor = bpf_map_lookup_elem(&bench_cursor, &zero);
	struct bench_key *key;

	if (!cursor || data + 54 > end)
		return;
	index = cursor->next++ & cursor->mask;
	key = bpf_map_lookup_elem(&bench_keys, &index);
	if (!key)
		return;
	*(__be32 *)(data + 26) = key->source;
	*(__be16 *)(data + 36) = key->target_port;
	*(__be16 *)(data + 50) = key->checksum;
}

#endif
