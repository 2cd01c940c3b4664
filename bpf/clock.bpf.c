// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Tells user space the present tick: run by BPF_PROG_TEST_RUN, never attached. The tick replaces the frame's first 8 bytes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int clock(struct xdp_md *ctx)
{
	__u64 *tick = (void *)(long)ctx->data;

	if ((void *)(tick + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	*tick = bpf_jiffies64();
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
