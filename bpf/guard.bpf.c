// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The order of verdicts, and nothing else. docs/datapath.md says the same in words, test/model/ in TypeScript. */
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
#include "detect.h"
#include "blocked.h"

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

static __always_inline int pass(enum reason reason)
{
	count(cfg.policy, reason);
	return XDP_PASS;
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

enum stage { GO_ON = -1 };

static __always_inline int check_lists(struct xdp_md *ctx, struct packet *p)
{
	struct list_value *list = find_list(p);
	__u32 reason = BLOCKED_DROP;

	if (!list || (list->flags & LIST_SPARED))
		return GO_ON;
	if (!(list->flags & LIST_ALL_TRAFFIC) && !opens_connection(ctx, p))
		reason = new_connections_test(ctx, p) & BLOCKED_REASON_MASK;
	if (!(list->flags & LIST_ENFORCE)) {
		if (reason == BLOCKED_DROP)
			count(list->owner, WOULD_DROP_LIST);
		return GO_ON;
	}
	if (reason != BLOCKED_DROP) {
		count(list->owner, reason);
		return XDP_PASS;
	}
	count(list->owner, DROP_LIST);
	return XDP_DROP;
}

static __always_inline int check_manual(const struct packet *p, __u64 now)
{
	struct manual_value *manual = find_source(&manual4, &manual6, p);

	if (!manual || manual->until <= now)
		return GO_ON;
	__sync_fetch_and_add(&manual->dropped, 1);
	count(0, DROP_MANUAL);
	return XDP_DROP;
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

/*
 * A blocked source that goes on to N targets is blocked anew from then on: a
 * scan that outlasts its block would else find N - 1 more ports each time. What
 * it tries is looked at once a tick, so that a flood of it costs nothing more.
 */
static __always_inline void renew_block(struct xdp_md *ctx, const struct packet *p, const struct segment *s,
					const struct block_key *key, struct block *block, __u64 now)
{
	struct ballot ballot = {
		.source = key->source,
		.target = p->target,
		.now = now,
		.source_length = key->source_length,
		.owner = cfg.policy | WHILE_BLOCKED,
		.port = s->target_port,
		.is_v6 = p->is_v6,
	};
	__u64 until;

	if (!counts_as_target(p) || !checksum_allows_vote(ctx, p) || cast_vote(&ballot) != VOTE_NTH)
		return;
	until = now + ((block->flags & (BLOCK_PROVEN | BLOCK_MONITOR)) ? cfg.block_ticks : cfg.unproven_ticks);
	if (until > block->until)
		block->until = until;
}

static __always_inline int check_blocked(struct xdp_md *ctx, struct packet *p, struct block_key *key, __u64 now)
{
	struct block *block = bpf_map_lookup_elem(&blocks, key);
	__u32 reason = BLOCKED_DROP;
	struct segment s = { .kind = TCP_MALFORMED };

	if (!block || block->until <= now || (block->flags & BLOCK_SPARED))
		return GO_ON;
	if ((cfg.flags & INSTANCE_ENFORCE) && (block->flags & BLOCK_MONITOR))
		return GO_ON;
	if (p->protocol == PROTO_TCP && p->fragment == FRAGMENT_NONE)
		parse_tcp(ctx, p, &s);
	/* A plain SYN is dropped wherever it goes. Where all traffic is cut the test still tells whether the source is real. */
	if (s.kind != TCP_NEW_CONNECTION &&
	    (!(cfg.flags & INSTANCE_BLOCK_ALL_TRAFFIC) || !(block->flags & BLOCK_PROVEN))) {
		reason = new_connections_test(ctx, p);
		if (reason & BLOCKED_PROVEN)
			prove(key, block);
		reason &= BLOCKED_REASON_MASK;
		if (cfg.flags & INSTANCE_BLOCK_ALL_TRAFFIC)
			reason = BLOCKED_DROP;
	}
	if (reason != BLOCKED_DROP)
		return pass(reason);
	if (block->last != now && (s.kind == TCP_NEW_CONNECTION || s.kind == TCP_PROBE))
		renew_block(ctx, p, &s, key, block, now);
	__sync_fetch_and_add(&block->dropped, 1);
	block->last = now;
	if (!(cfg.flags & INSTANCE_ENFORCE))
		return pass(WOULD_DROP_SCAN_BLOCKED);
	count(cfg.policy, DROP_SCAN_BLOCKED);
	return XDP_DROP;
}

/* The Nth target: write the block, tell about it, and say what happens to this packet. Global, for a stack of its own. */
__noinline int block_source(struct xdp_md *ctx, struct packet *p, struct block_key *key, __u32 spared, __u64 now)
{
	__u32 zero = 0;
	struct vote_result *result = bpf_map_lookup_elem(&vote_results, &zero);
	struct block block = {};
	int inserted;

	if (!result || !p || !key)
		return XDP_PASS;
	block.flags = spared ? BLOCK_SPARED : (cfg.flags & INSTANCE_ENFORCE) ? 0 : BLOCK_MONITOR;
	block.since = block.last = now;
	block.until = now + (block.flags ? cfg.block_ticks : cfg.unproven_ticks);
	block.dropped = 1;
	block.probes = result->count;
	block.ifindex = ctx->ingress_ifindex;
	block.port_count = result->port_count > BLOCK_PORTS ? BLOCK_PORTS : result->port_count;
	__builtin_memcpy(block.ports, result->ports, sizeof(block.ports));

	inserted = insert_block(key, &block);
	if (inserted == BLOCK_INSERTED && spend(BUDGET_BLOCK, cfg.block_events_per_second, now)) {
		struct block_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

		if (event) {
			event->kind = EVENT_BLOCK;
			event->owner = cfg.policy;
			event->tick = now;
			event->until = block.until;
			event->source = p->source;
			event->key = *key;
			event->target = p->target;
			event->ifindex = ctx->ingress_ifindex;
			event->flags = block.flags;
			event->probes = result->count;
			event->port_count = result->port_count;
			__builtin_memcpy(event->ports, result->ports, sizeof(event->ports));
			bpf_ringbuf_submit(event, 0);
		} else {
			count_loss(LOSS_RING_FULL);
		}
	}
	if (spared)
		return pass(SPARED_SCAN_DETECTED);
	if (!(cfg.flags & INSTANCE_ENFORCE))
		return pass(inserted == BLOCK_STOOD_ALREADY ? WOULD_DROP_SCAN_BLOCKED : WOULD_DROP_SCAN_DETECTED);
	count(cfg.policy, inserted == BLOCK_STOOD_ALREADY ? DROP_SCAN_BLOCKED : DROP_SCAN_DETECTED);
	return XDP_DROP;
}

static __always_inline int detect(struct xdp_md *ctx, struct packet *p, struct block_key *key, bool spared, __u64 now)
{
	enum reason nothing = spared ? PASS_NEVER_BLOCK : PASS_OTHER;
	struct segment s;
	struct ballot ballot = {};
	int vote;

	if (p->is_v6 && p->protocol != PROTO_TCP) {
		int chain = walk_ipv6_chain(ctx, p);

		if (chain == CHAIN_MALFORMED)
			return pass(PASS_MALFORMED);
		if (chain == CHAIN_TOO_LONG) {
			if (spared)
				return pass(PASS_NEVER_BLOCK);
			if (!(cfg.flags & INSTANCE_ENFORCE))
				return pass(WOULD_DROP_EXTENSION_HEADERS);
			count(cfg.policy, DROP_EXTENSION_HEADERS);
			return XDP_DROP;
		}
	}
	if (!(cfg.flags & INSTANCE_DETECT) || p->protocol != PROTO_TCP || p->fragment == FRAGMENT_LATER)
		return pass(nothing);
	parse_tcp(ctx, p, &s);
	if (s.kind == TCP_MALFORMED)
		return pass(PASS_MALFORMED);
	if (s.kind == TCP_ORDINARY)
		return pass(nothing);
	if (!counts_as_target(p))
		return pass(PASS_NOT_OWN_ADDRESS);
	if (!checksum_allows_vote(ctx, p))
		return pass(PASS_BAD_CHECKSUM);
	if (spared) {
		struct block *record = bpf_map_lookup_elem(&blocks, key);

		/* Reported already, and not forgotten yet. */
		if (record && record->until > now && (record->flags & BLOCK_SPARED)) {
			__sync_fetch_and_add(&record->dropped, 1);
			record->last = now;
			return pass(PASS_NEVER_BLOCK);
		}
	}
	ballot.source = key->source;
	ballot.source_length = key->source_length;
	ballot.target = p->target;
	ballot.now = now;
	ballot.owner = cfg.policy;
	ballot.port = s.target_port;
	ballot.is_v6 = p->is_v6;
	vote = cast_vote(&ballot);
	if (vote == VOTE_NTH)
		return block_source(ctx, p, key, spared, now);
	if (vote == VOTE_SETTLED) {
		if (spared)
			return pass(PASS_NEVER_BLOCK);
		if (!(cfg.flags & INSTANCE_ENFORCE))
			return pass(WOULD_DROP_SCAN_BLOCKED);
		count(cfg.policy, DROP_SCAN_BLOCKED);
		return XDP_DROP;
	}
	if (s.kind == TCP_PROBE)
		return pass(PASS_PROBE);
	if (cfg.flags & INSTANCE_LOG_CONNECTIONS)
		tell_connection(ctx, p, &s, now);
	return pass(PASS_NEW_CONNECTION);
}

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
