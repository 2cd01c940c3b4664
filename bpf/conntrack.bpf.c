// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Loads where a program may ask connection tracking, and only there: user space tries it to choose the guard. Never attached. */
#define WITH_CONNTRACK 1
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "flow-query.h"
#include "conntrack.h"

SEC("xdp")
int conntrack(struct xdp_md *ctx)
{
	struct flow_query query = { .protocol = PROTO_UDP };

	return find_tracked_flow(ctx, &query) == FLOW_LIVE ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
