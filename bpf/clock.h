/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The tick: jiffies, or for tests a number out of a map. */
#ifndef PORTCULLIS_CLOCK_H
#define PORTCULLIS_CLOCK_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} test_clock SEC(".maps");

static __always_inline __u64 now_ticks(void)
{
	/* A constant to the verifier: where it is not set, nothing of the branch is left in the program. */
	if (cfg.flags & INSTANCE_TEST_CLOCK) {
		__u32 zero = 0;
		__u64 *tick = bpf_map_lookup_elem(&test_clock, &zero);

		return tick ? *tick : 0;
	}
	return bpf_jiffies64();
}

#endif
