/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A flow that is asked for, as the remote end sends it, and what there is to know of it. */
#ifndef PORTCULLIS_FLOW_QUERY_H
#define PORTCULLIS_FLOW_QUERY_H

#include "protocols.h"

enum flow { FLOW_NONE = 0, FLOW_LIVE = 1, FLOW_PROVES_SOURCE = 2 };

struct flow_query {
	struct address remote;
	struct address local;
	__u32 ack;
	__u16 remote_port, local_port;	/* host order */
	__u8 is_v6;
	__u8 protocol;			/* TCP or UDP */
	__u8 flags;			/* of the segment; 0 for a quoted one, and for UDP */
	__u8 quoted;			/* by an ICMP error */
};

static __always_inline void fill_tuple4(struct bpf_sock_tuple *tuple, const struct flow_query *q)
{
	tuple->ipv4.saddr = bpf_htonl((__u32)q->remote.lo);
	tuple->ipv4.daddr = bpf_htonl((__u32)q->local.lo);
	tuple->ipv4.sport = bpf_htons(q->remote_port);
	tuple->ipv4.dport = bpf_htons(q->local_port);
}

static __always_inline void fill_tuple6(struct bpf_sock_tuple *tuple, const struct flow_query *q)
{
	__be64 halves[2] = { bpf_cpu_to_be64(q->remote.hi), bpf_cpu_to_be64(q->remote.lo) };

	__builtin_memcpy(tuple->ipv6.saddr, halves, 16);
	halves[0] = bpf_cpu_to_be64(q->local.hi);
	halves[1] = bpf_cpu_to_be64(q->local.lo);
	__builtin_memcpy(tuple->ipv6.daddr, halves, 16);
	tuple->ipv6.sport = bpf_htons(q->remote_port);
	tuple->ipv6.dport = bpf_htons(q->local_port);
}

/* The one packet that a connection attempt of ours waits for. */
static __always_inline bool answers_attempt(const struct flow_query *q)
{
	return q->quoted || (q->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == (TCP_SYN | TCP_ACK);
}

#endif
