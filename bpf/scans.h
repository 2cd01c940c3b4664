/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* From a packet that is no blocked source's to a vote, and from the Nth vote to a block. */
#ifndef PORTCULLIS_SCANS_H
#define PORTCULLIS_SCANS_H

/* The Nth target: write the block, tell about it, and say what happens to this packet. Global, for a stack of its own. */
__noinline int block_source(struct xdp_md *ctx, struct packet *p, struct block_key *key, __u32 spared, __u64 now)
{
	__u32 zero = 0;
	struct vote_result *result = bpf_map_lookup_elem(&vote_results, &zero);
	struct block block = {};
	struct block_key own_key;
	int inserted;

	if (!result || !p || !key)
		return XDP_PASS;
	own_key = *key;
	block.flags = spared ? BLOCK_SPARED : (cfg.flags & INSTANCE_ENFORCE) ? 0 : BLOCK_MONITOR;
	block.since = block.last = now;
	block.until = now + (block.flags ? cfg.block_ticks : cfg.unproven_ticks);
	block.dropped = 1;
	block.probes = result->count;
	block.ifindex = ctx->ingress_ifindex;
	block.port_count = result->port_count > BLOCK_PORTS ? BLOCK_PORTS : result->port_count;
	__builtin_memcpy(block.ports, result->ports, sizeof(block.ports));

	inserted = insert_block(&own_key, &block);
	if (inserted == BLOCK_INSERTED && spend(BUDGET_BLOCK, cfg.block_events_per_second, now)) {
		struct block_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

		if (event) {
			event->kind = EVENT_BLOCK;
			event->owner = cfg.policy;
			event->tick = now;
			event->until = block.until;
			event->source = p->source;
			event->key = own_key;
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

#endif
