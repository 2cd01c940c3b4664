// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Sends a frame from another source each time: run with live frames, it puts them on an interface's wire. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "rotate.h"

/* 0: drop, to see what making the frames costs. */
const volatile __u32 egress = 0;

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, index;
	struct bench_cursor *cursor = bpf_map_lookup_elem(&bench_cursor, &zero);
	struct bench_key *key;

	if (!cursor || data + 34 > end)
		return XDP_ABORTED;
	index = cursor->next++ & cursor->mask;
	key = bpf_map_lookup_elem(&bench_keys, &index);
	if (!key)
		return XDP_ABORTED;
	*(__be32 *)(data + 26) = key->source;
	/* Here the IPv4 header's: some of the filters only see packets that the host has found whole. */
	*(__be16 *)(data + 24) = key->checksum;
	return egress ? bpf_redirect(egress, 0) : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
