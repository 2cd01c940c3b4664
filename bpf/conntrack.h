/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Flows that no socket of this host knows: those of pods, whose egress comes
 * back to the node's own address where it is masqueraded, and those that a
 * NodePort hands on. The kernel's connection tracking knows both, by the
 * addresses that are seen here, outside of any translation.
 */
#ifndef PORTCULLIS_CONNTRACK_H
#define PORTCULLIS_CONNTRACK_H

#if WITH_CONNTRACK

/* Kernel structs by name only: CO-RE finds the members of the running kernel. */
struct ip_ct_tcp {
	__u8 state;
} __attribute__((preserve_access_index));
union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
} __attribute__((preserve_access_index));
struct nf_conn {
	unsigned long status;
	union nf_conntrack_proto proto;
} __attribute__((preserve_access_index));

/* struct bpf_ct_opts as it was at first, which later kernels still take. */
struct conntrack_options {
	__s32 netns_id;
	__s32 error;
	__u8 protocol;
	__u8 direction;			/* of the packet that was asked for; set by the kernel */
	__u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct conntrack_options *options, __u32 options__sz) __ksym;
extern void bpf_ct_release(struct nf_conn *flow) __ksym;

/* include/uapi/linux/netfilter/nf_conntrack_tuple_common.h, nf_conntrack_common.h, nf_conntrack_tcp.h */
#define CONNTRACK_REPLY 1
#define CONNTRACK_ASSURED (1 << 2)
#define CONNTRACK_TCP_SYN_SENT 1
#define CONNTRACK_TCP_CLOSE 8

/*
 * Whether a packet belongs to a flow that lives: FLOW_LIVE or FLOW_NONE.
 *
 * Opened from inside, it comes in the reply direction, and nobody outside can
 * make such an entry: its first packet is the answer.
 * Opened from outside, anybody can make an entry, with one forged packet. It
 * must be assured: a TCP handshake that was completed, or UDP that has gone to
 * and fro for two seconds. An ACK out of nowhere, which conntrack takes for the
 * middle of a connection, is never assured: a reset answers it.
 */
__noinline int find_tracked_flow(struct xdp_md *ctx, struct flow_query *q)
{
	struct bpf_sock_tuple tuple = {};
	struct conntrack_options options = {};
	struct nf_conn *flow;
	__u8 tcp_state = 0;
	bool assured;

	if (!q)
		return FLOW_NONE;
	options.netns_id = BPF_F_CURRENT_NETNS;
	options.protocol = q->protocol;
	if (q->is_v6) {
		fill_tuple6(&tuple, q);
		flow = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv6), &options, sizeof(options));
	} else {
		fill_tuple4(&tuple, q);
		flow = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &options, sizeof(options));
	}
	if (!flow)
		return FLOW_NONE;
	assured = flow->status & CONNTRACK_ASSURED;
	if (q->protocol == PROTO_TCP)
		tcp_state = flow->proto.tcp.state;
	bpf_ct_release(flow);
	/* Reset: what still comes is no part of it. */
	if (tcp_state == CONNTRACK_TCP_CLOSE)
		return FLOW_NONE;
	if (options.direction != CONNTRACK_REPLY)
		return assured ? FLOW_LIVE : FLOW_NONE;
	return tcp_state != CONNTRACK_TCP_SYN_SENT || answers_attempt(q) ? FLOW_LIVE : FLOW_NONE;
}

#else

static __always_inline int find_tracked_flow(struct xdp_md *ctx, struct flow_query *q)
{
	return FLOW_NONE;
}

#endif

#endif
