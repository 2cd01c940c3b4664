/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a blocked source may still do: sockets and connection tracking tell its live flows from everything else. */
#ifndef PORTCULLIS_FLOWS_H
#define PORTCULLIS_FLOWS_H

/* Kernel structs by name only: CO-RE finds the members of the running kernel. */
struct tcp_sock {
	__u32 snd_nxt;
	__u32 snd_una;
	__u64 bytes_received;
} __attribute__((preserve_access_index));
struct tcp_request_sock {
	__u32 snt_isn;
} __attribute__((preserve_access_index));

/*
 * Asks the interface's own network namespace for the socket of a segment.
 * LISTEN and NEW_SYN_RECV are no flow: anybody can make one with a forged SYN.
 * What proves the source's address is a segment that acknowledges a number only
 * its owner was told. A bare RST does not: it carries the forger's own number.
 */
__noinline int find_tcp_socket(struct xdp_md *ctx, struct flow_query *q)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 state;
	int result = FLOW_NONE;

	if (!q)
		return FLOW_NONE;
	if (q->is_v6) {
		fill_tuple6(&tuple, q);
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		fill_tuple4(&tuple, q);
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return FLOW_NONE;
	state = socket->state;
	if (state == BPF_TCP_SYN_SENT) {
		/* Our own connection attempt: its answer, and an ICMP error about it. */
		if (answers_attempt(q))
			result = FLOW_LIVE;
	} else if (state == BPF_TCP_NEW_SYN_RECV) {
		struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(socket);

		if (request && (q->flags & TCP_ACK) && q->ack == request->snt_isn + 1)
			result = FLOW_PROVES_SOURCE;
	} else if (state != BPF_TCP_LISTEN && state != BPF_TCP_SYN_RECV && state != BPF_TCP_CLOSE) {
		struct tcp_sock *tcp = bpf_skc_to_tcp_sock(socket);

		result = FLOW_LIVE;
		/*
		 * Absent for TIME_WAIT. A connection that has carried data was
		 * somebody's before the scan: proof by it would turn a forger's
		 * SYNs against everybody who is connected. A scanner's has not.
		 */
		if (tcp && (q->flags & TCP_ACK) && !tcp->bytes_received) {
			__u32 oldest = tcp->snd_una, next = tcp->snd_nxt;

			/* By distance, so that numbers may wrap. */
			if (q->ack - oldest <= next - oldest)
				result |= FLOW_PROVES_SOURCE;
		}
	}
	bpf_sk_release(socket);
	return result;
}

/* A connected UDP socket is a flow: it takes packets of one remote end alone. An unconnected one takes everybody's. */
__noinline int find_udp_socket(struct xdp_md *ctx, struct flow_query *q)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	int result;

	if (!q)
		return FLOW_NONE;
	if (q->is_v6) {
		fill_tuple6(&tuple, q);
		socket = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		fill_tuple4(&tuple, q);
		socket = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return FLOW_NONE;
	result = socket->state == BPF_TCP_ESTABLISHED ? FLOW_LIVE : FLOW_NONE;
	bpf_sk_release(socket);
	return result;
}

/* Sockets first: only they prove a source. */
static __always_inline int find_flow(struct xdp_md *ctx, struct flow_query *q)
{
	int flow = q->protocol == PROTO_TCP ? find_tcp_socket(ctx, q) : find_udp_socket(ctx, q);

	return (flow & FLOW_LIVE) ? flow : flow | find_tracked_flow(ctx, q);
}

/* The packet an ICMP error quotes, seen from our side. False: neither TCP nor UDP, not ours, or cut short. */
static __always_inline bool parse_quoted(struct xdp_md *ctx, const struct packet *p, struct flow_query *q)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *type = data + within_packet(p->l4);
	void *inner = (void *)type + 8;
	__be16 *ports;

	if (p->fragment != FRAGMENT_NONE || inner > end)
		return false;
	if (!p->is_v6) {
		struct ipv4_header *ip = inner;

		if (p->protocol != PROTO_ICMP || (*type != 3 && *type != 11 && *type != 12))
			return false;
		if ((void *)(ip + 1) > end || (ip->version_length >> 4) != 4 || (bpf_ntohs(ip->fragment) & 0x1fff))
			return false;
		q->protocol = ip->protocol;
		q->local.hi = q->remote.hi = 0;
		q->local.lo = IPV4_MAPPED | bpf_ntohl(ip->source);
		q->remote.lo = IPV4_MAPPED | bpf_ntohl(ip->target);
		ports = inner + (ip->version_length & 15) * 4;
		if ((ip->version_length & 15) < 5)
			return false;
	} else {
		struct ipv6_header *ip = inner;

		if (p->protocol != PROTO_ICMPV6 || *type < 1 || *type > 4)
			return false;
		if ((void *)(ip + 1) > end || (*(__u8 *)ip >> 4) != 6)
			return false;
		q->protocol = ip->next_header;
		q->local.hi = bpf_be64_to_cpu(ip->source[0]);
		q->local.lo = bpf_be64_to_cpu(ip->source[1]);
		q->remote.hi = bpf_be64_to_cpu(ip->target[0]);
		q->remote.lo = bpf_be64_to_cpu(ip->target[1]);
		ports = (void *)(ip + 1);
	}
	if ((void *)(ports + 2) > end || (q->protocol != PROTO_TCP && q->protocol != PROTO_UDP))
		return false;
	if (q->local.hi != p->target.hi || q->local.lo != p->target.lo)
		return false;
	q->local_port = bpf_ntohs(ports[0]);
	q->remote_port = bpf_ntohs(ports[1]);
	q->is_v6 = p->is_v6;
	q->quoted = 1;
	return true;
}

/* A plain SYN: dropped wherever it goes, so that no table needs to be asked for the commonest packet of a scanner. */
static __always_inline bool opens_connection(struct xdp_md *ctx, const struct packet *p)
{
	struct segment s;

	if (p->protocol != PROTO_TCP || p->fragment != FRAGMENT_NONE)
		return false;
	parse_tcp(ctx, p, &s);
	return s.kind == TCP_NEW_CONNECTION;
}

/* What new_connections_test() returns: a reason to pass, or BLOCKED_DROP; and whether the packet proved its source. */
#define BLOCKED_DROP REASON_COUNT
#define BLOCKED_REASON_MASK 0xff
#define BLOCKED_PROVEN 0x100

/* Ports of a whole UDP packet. False: cut short. */
static __always_inline bool parse_udp(struct xdp_md *ctx, const struct packet *p, struct flow_query *q)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__be16 *ports = data + within_packet(p->l4);

	if (p->l4_bytes < 8 || (void *)(ports + 4) > end)
		return false;
	q->remote_port = bpf_ntohs(ports[0]);
	q->local_port = bpf_ntohs(ports[1]);
	return true;
}

/*
 * What a NewConnections block lets through. To this node: only what a socket or
 * connection tracking proves to be part of a live flow. To others: all but what
 * opens a connection or can be part of none. That conntrack knows nothing of a
 * packet proves nothing there: who forwards it may not use conntrack, or a zone
 * of its own. Moves p on to its upper-layer header.
 */
static __always_inline int test_new_connections(struct xdp_md *ctx, struct packet *p)
{
	struct flow_query query = {};
	/* On 6.1 a table takes no key that lies in what a global function was given. */
	struct address target = p->target;
	struct segment s;
	int chain = CHAIN_WHOLE, flow;
	bool to_us;

	to_us = is_own(&target);
	if (p->is_v6)
		chain = walk_ipv6_chain(ctx, p);
	if (chain != CHAIN_WHOLE || p->fragment == FRAGMENT_LATER)
		return to_us ? BLOCKED_DROP : PASS_FORWARDED;
	if (p->protocol != PROTO_TCP && !to_us)
		return PASS_FORWARDED;
	query.remote = p->source;
	query.local = p->target;
	query.protocol = p->protocol;
	query.is_v6 = p->is_v6;
	if (p->protocol == PROTO_UDP) {
		if (p->fragment != FRAGMENT_NONE || !parse_udp(ctx, p, &query))
			return BLOCKED_DROP;
		return (find_flow(ctx, &query) & FLOW_LIVE) ? PASS_LIVE_FLOW : BLOCKED_DROP;
	}
	if (p->protocol != PROTO_TCP) {
		if (!parse_quoted(ctx, p, &query))
			return BLOCKED_DROP;
		return (find_flow(ctx, &query) & FLOW_LIVE) ? PASS_ICMP_ERROR : BLOCKED_DROP;
	}
	parse_tcp(ctx, p, &s);
	/* Probes too: no connection has such flags, and those that a fragment cuts off could be a SYN's. */
	if (!to_us)
		return s.kind == TCP_NEW_CONNECTION || s.kind == TCP_PROBE ? BLOCKED_DROP : PASS_FORWARDED;
	if (s.kind != TCP_ORDINARY || p->fragment != FRAGMENT_NONE)
		return BLOCKED_DROP;
	query.remote_port = s.source_port;
	query.local_port = s.target_port;
	query.ack = s.ack;
	query.flags = s.flags;
	flow = find_flow(ctx, &query);
	return ((flow & FLOW_LIVE) ? PASS_LIVE_FLOW : BLOCKED_DROP) | ((flow & FLOW_PROVES_SOURCE) ? BLOCKED_PROVEN : 0);
}

/* Global, because it is called for lists and for scan blocks; leaves p as it was. */
__noinline int new_connections_test(struct xdp_md *ctx, struct packet *p)
{
	__u32 l4, l4_bytes;
	__u8 protocol;
	int result;

	if (!p)
		return BLOCKED_DROP;
	l4 = p->l4;
	l4_bytes = p->l4_bytes;
	protocol = p->protocol;
	result = test_new_connections(ctx, p);
	if (p->is_v6) {
		p->l4 = l4;
		p->l4_bytes = l4_bytes;
		p->protocol = protocol;
		p->fragment = FRAGMENT_NONE;
	}
	return result;
}

#endif
