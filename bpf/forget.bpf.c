// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Forgets what tracking holds of the sources in one prefix, in one domain, under
 * that domain's lock: user space cannot change a part of a value that has one.
 * Run by user space on a request in place of a frame, and never attached.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "protocols.h"
#include "tracking.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 15);
	__type(key, __u32);
	__type(value, struct domain);
} domains SEC(".maps");

/* agent/datapath/tracking.ts writes the same. */
struct request {
	struct address prefix;	/* host bits are 0 */
	struct address mask;
	__u32 domain;
	owner_id policy;	/* 0: of all policies */
};

static __always_inline bool matches(const struct request *wanted, __u64 hi, __u64 lo, owner_id owner)
{
	/* One test, not four: each would be a path of its own in every turn of the loops. */
	return !(((hi & wanted->mask.hi) ^ wanted->prefix.hi) | ((lo & wanted->mask.lo) ^ wanted->prefix.lo) |
		 (wanted->policy ? (owner & ~WHILE_BLOCKED) ^ wanted->policy : 0));
}

/* Returns how many sources it forgot. */
SEC("xdp")
int forget(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct request wanted;
	struct domain *d;
	int forgotten = 0;

	if (data + sizeof(wanted) > end)
		return 0;
	__builtin_memcpy(&wanted, data, sizeof(wanted));
	d = bpf_map_lookup_elem(&domains, &wanted.domain);
	if (!d)
		return 0;
	bpf_spin_lock(&d->lock);
	for (int i = 0; i < SOURCES_PER_DOMAIN; i++) {
		struct source *source = &d->sources[i];

		if (d->source_tags[i] && matches(&wanted, source->address.hi, source->address.lo, source->owner)) {
			d->source_tags[i] = 0;
			forgotten++;
		}
	}
	for (int i = 0; i < FIRSTS_PER_DOMAIN; i++) {
		struct first *first = &d->firsts[i];
		__u64 kind = (first->stamp >> FIRST_KIND_SHIFT) & 3;
		owner_id owner = (first->stamp >> FIRST_OWNER_SHIFT) & 0xfff;
		__u64 hi = kind == KIND_V4 ? 0 : first->key, lo = kind == KIND_V4 ? IPV4_MAPPED | first->key : 0;

		/* Behind a hash no prefix can be seen: a first target of an IPv6 host on link stays. */
		if (d->first_tags[i] && kind != KIND_V6_HASHED && matches(&wanted, hi, lo, owner)) {
			d->first_tags[i] = 0;
			forgotten++;
		}
	}
	bpf_spin_unlock(&d->lock);
	return forgotten;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
