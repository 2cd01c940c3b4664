/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The order of verdicts, and nothing else. docs/datapath.md says the same in words, test/model/ in TypeScript. */
#ifndef PORTCULLIS_GUARD_H
#define PORTCULLIS_GUARD_H
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

/* Written before load and frozen: the verifier removes what this interface's policy does not use. */
const volatile struct config cfg = {
	.threshold = 15,
	.slots = 15,
	.max_extension_headers = 8,
};

#include "verifier.h"
#include "clock.h"
#include "counters.h"
#include "parse.h"
#include "checksum.h"
#include "concern.h"
#include "sets.h"
#include "events.h"
#include "flow-query.h"
#include "conntrack.h"
#include "flows.h"
#include "listed.h"
#include "detect.h"
#include "blocked.h"
#include "scans.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct layout);
} layout SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct interface_state);
} interfaces SEC(".maps");

/* Everything about a packet that some table may know, or that may vote. */
static __always_inline int judge(struct xdp_md *ctx, struct packet *p, __u32 concern)
{
	struct block_key key;
	__u32 class = 0;
	bool spared = false;
	__u64 now = now_ticks();
	int verdict;

	if (concern & CONCERN_CLASS) {
		class = source_class(p);
		spared = class & CLASS_NEVER_BLOCK;
	}
	if (!spared) {
		if (concern & CONCERN_LIST) {
			struct control *c = get_control();

			verdict = check_lists(ctx, p);
			if (verdict != GO_ON)
				return verdict;
			if (c && c->manual_entries) {
				verdict = check_manual(p, now);
				if (verdict != GO_ON)
					return verdict;
			}
		}
		if (concern & CONCERN_ALLOW) {
			struct allow_value *allow = find_allow(p);

			if (allow && allow->until > now)
				return pass(PASS_ALLOWED);
		}
	}
	identify(p, class, &key);
	if ((concern & CONCERN_BLOCK) && !spared && (cfg.flags & INSTANCE_DETECT)) {
		verdict = check_blocked(ctx, p, &key, now);
		if (verdict != GO_ON)
			return verdict;
	}
	return detect(ctx, p, &key, spared, now);
}

SEC("xdp.frags")
int guard(struct xdp_md *ctx)
{
	/* Nothing takes its address here: on the way of most packets it stays in registers. */
	struct packet p;
	__u32 ether_type, concern;

	ether_type = parse_ethernet(ctx, &p);
	/* Whose packet it is cannot be told, but that somebody hides it can. */
	if (ether_type == ETH_HIDDEN) {
		if ((cfg.flags & INSTANCE_DETECT) && !(cfg.flags & INSTANCE_ENFORCE))
			return pass(WOULD_DROP_VLAN_TAGS);
		count(cfg.policy, DROP_VLAN_TAGS);
		return XDP_DROP;
	}
	/* No owner: whose packet it would be cannot be told. */
	if (ether_type == ETH_IPV4 ? !parse_ipv4(ctx, &p) : ether_type == ETH_IPV6 ? !parse_ipv6(ctx, &p) : true) {
		bool ip = ether_type == ETH_CUT_SHORT || ether_type == ETH_IPV4 || ether_type == ETH_IPV6;

		count(0, ip ? PASS_MALFORMED : PASS_NOT_IP);
		return XDP_PASS;
	}
	if (p.is_v6 && is_neighbour_discovery(ctx, &p))
		return pass(PASS_NEIGHBOUR_DISCOVERY);

	concern = concern_about(&p);
	/* Most packets: no table knows the source, and it opens nothing. */
	if (!concern && !(p.is_v6 && is_extension_header(p.protocol))) {
		struct segment s;

		if (!(cfg.flags & INSTANCE_DETECT) || p.protocol != PROTO_TCP || p.fragment == FRAGMENT_LATER)
			return pass(PASS_OTHER);
		parse_tcp(ctx, &p, &s);
		if (s.kind == TCP_ORDINARY)
			return pass(PASS_OTHER);
	}
	{
		struct packet copy = p;

		if (!load_target(ctx, &copy))
			return pass(PASS_MALFORMED);
		return judge(ctx, &copy, concern);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
