// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What every figure is a ratio to: the cheapest program there is, and the same after the source was changed. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "rotate.h"

SEC("xdp.frags")
int bare(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags")
int rotated_bare(struct xdp_md *ctx)
{
	rotate(ctx);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
