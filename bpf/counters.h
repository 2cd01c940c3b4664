/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Per-CPU counters: packets by (owner, reason), and what the datapath lost. */
#ifndef PORTCULLIS_COUNTERS_H
#define PORTCULLIS_COUNTERS_H

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256 * REASON_COUNT);	/* max_owners * REASON_COUNT, set before load */
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

static __always_inline void count(owner_id owner, enum reason reason)
{
	__u32 index = owner * REASON_COUNT + reason;
	__u64 *packets = bpf_map_lookup_elem(&counters, &index);

	if (packets)
		*packets += 1;
}

static __always_inline void count_loss(enum loss loss)
{
	__u32 index = loss;
	__u64 *times = bpf_map_lookup_elem(&losses, &index);

	if (times)
		*times += 1;
}

static __always_inline int pass(enum reason reason)
{
	count(cfg.policy, reason);
	return XDP_PASS;
}

/* A stage returns an XDP action, or that the next one shall decide. */
enum stage { GO_ON = -1 };

#endif
