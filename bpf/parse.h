/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * From frame to packet: Ethernet, up to two VLAN tags, IPv4 with options, IPv6
 * with extension headers, fragments. Each step checks its bounds and says
 * whether the packet is whole; a packet that is not is the host's to refuse.
 */
#ifndef PORTCULLIS_PARSE_H
#define PORTCULLIS_PARSE_H

#include "protocols.h"

#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd
#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_CUT_SHORT 0x10000	/* no EtherType: the frame ends before it */

#define ETH_HIDDEN 0x20000	/* more tags than are read, which the host would take off */

#define FRAME_HEADROOM 31	/* no L3 header starts later: 14 + 2 * 4 = 22 */

enum fragment { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

struct packet {
	struct address source;
	struct address target;
	__u32 l3;		/* offsets from the frame's start */
	__u32 l4;
	__u32 l4_bytes;		/* as the IP header says */
	__u32 linear_bytes;	/* of the frame, readable directly */
	__u8 is_v6;
	__u8 protocol;
	__u8 fragment;		/* enum fragment */
	__u8 next_header;	/* IPv6: of the fixed header */
};

struct eth_header { __u8 to[6]; __u8 from[6]; __be16 type; };
struct vlan_tag { __be16 control; __be16 type; };
struct ipv4_header {
	__u8 version_length, tos;
	__be16 total_bytes, id, fragment;
	__u8 ttl, protocol;
	__be16 checksum;
	__be32 source, target;
};
struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload_bytes;
	__u8 next_header, hop_limit;
	__be64 source[2], target[2];	/* at 8: may be unaligned, as every packet field */
} __attribute__((packed));
struct tcp_header {
	__be16 source_port, target_port;
	__be32 seq, ack;
	__u8 data_offset, flags;
	__be16 window, checksum, urgent;
};

static __always_inline bool is_mapped(const struct address *a)
{
	return !a->hi && (a->lo >> 32) == 0xffff;
}

static __always_inline bool is_on_link_scope(const struct packet *p)
{
	return p->is_v6 && (p->source.hi >> 54) == (0xfe80ull << 48 >> 54);
}

/* Whole frame's bytes; frames in several buffers exist from 5.18 on and only for programs that ask for them. */
static __always_inline __u64 frame_bytes(struct xdp_md *ctx, const struct packet *p)
{
	if (cfg.flags & INSTANCE_FRAGS)
		return bpf_xdp_get_buff_len(ctx);
	return p->linear_bytes;
}

/* Returns the EtherType behind up to two tags in host order and sets p->l3, or ETH_CUT_SHORT. */
static __always_inline __u32 parse_ethernet(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eth_header *eth = data;
	__u32 l3 = sizeof(*eth);
	__be16 type;

	p->linear_bytes = end - data;
	if ((void *)(eth + 1) > end)
		return ETH_CUT_SHORT;
	type = eth->type;
	if (type == bpf_htons(ETH_VLAN) || type == bpf_htons(ETH_QINQ)) {
		struct vlan_tag *tag = (void *)(eth + 1);

		if ((void *)(tag + 1) > end)
			return ETH_CUT_SHORT;
		type = tag->type;
		l3 += sizeof(*tag);
		if (type == bpf_htons(ETH_VLAN) || type == bpf_htons(ETH_QINQ)) {
			tag++;
			if ((void *)(tag + 1) > end)
				return ETH_CUT_SHORT;
			type = tag->type;
			l3 += sizeof(*tag);
			/* Linux takes any number of priority tags off; nobody else sends three tags with one among them. */
			if (type == bpf_htons(ETH_VLAN) || type == bpf_htons(ETH_QINQ)) {
				struct vlan_tag *third = tag + 1;

				if ((void *)(third + 1) > end)
					return ETH_CUT_SHORT;
				if (!((tag - 1)->control & bpf_htons(0xfff)) || !(tag->control & bpf_htons(0xfff)) ||
				    !(third->control & bpf_htons(0xfff)))
					return ETH_HIDDEN;
			}
		}
	}
	p->l3 = forget(l3, p->linear_bytes) & FRAME_HEADROOM;
	return bpf_ntohs(type);
}

/* Fills everything but the target and the inside of L4. False: the header contradicts the frame. */
static __always_inline bool parse_ipv4(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4_header *ip = data + within_packet(p->l3);
	__u32 header_bytes, total_bytes, fragment;

	if ((void *)(ip + 1) > end)
		return false;
	header_bytes = (ip->version_length & 15) * 4;
	total_bytes = bpf_ntohs(ip->total_bytes);
	if ((ip->version_length >> 4) != 4 || header_bytes < sizeof(*ip) || total_bytes < header_bytes)
		return false;
	if (p->l3 + total_bytes > p->linear_bytes && p->l3 + total_bytes > frame_bytes(ctx, p))
		return false;
	if (p->l3 + header_bytes > p->linear_bytes)
		return false;
	p->source.hi = 0;
	p->source.lo = IPV4_MAPPED | bpf_ntohl(ip->source);
	p->l4 = p->l3 + header_bytes;
	p->l4_bytes = total_bytes - header_bytes;
	p->protocol = ip->protocol;
	p->is_v6 = 0;
	fragment = bpf_ntohs(ip->fragment);
	p->fragment = (fragment & 0x1fff) ? FRAGMENT_LATER : (fragment & 0x2000) ? FRAGMENT_FIRST : FRAGMENT_NONE;
	return true;
}

/* The fixed header only: verdicts about a source need no more. */
static __always_inline bool parse_ipv6(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6_header *ip = data + within_packet(p->l3);
	__u32 payload_bytes;

	if ((void *)(ip + 1) > end)
		return false;
	payload_bytes = bpf_ntohs(ip->payload_bytes);
	if ((*(__u8 *)ip >> 4) != 6)
		return false;
	/* Before hop-by-hop options Linux takes length 0 for the rest of the frame, whether or not they say that it is a jumbogram. */
	if (!payload_bytes && !ip->next_header)
		payload_bytes = frame_bytes(ctx, p) - p->l3 - sizeof(*ip);
	if (p->l3 + sizeof(*ip) + payload_bytes > p->linear_bytes &&
	    p->l3 + sizeof(*ip) + payload_bytes > frame_bytes(ctx, p))
		return false;
	p->source.hi = bpf_be64_to_cpu(ip->source[0]);
	p->source.lo = bpf_be64_to_cpu(ip->source[1]);
	/* Would pass for the IPv4 source in every table; Linux refuses such packets as well (RFC 4291 2.5.5.2). */
	if (is_mapped(&p->source) || (!ip->target[0] && (ip->target[1] & bpf_htonl(0xffffffff)) == bpf_htonl(0xffff)))
		return false;
	p->l4 = p->l3 + sizeof(*ip);
	p->l4_bytes = payload_bytes;
	p->protocol = p->next_header = ip->next_header;
	p->is_v6 = 1;
	p->fragment = FRAGMENT_NONE;
	return true;
}

/* The target: apart, since most packets are passed without it being looked at. */
static __always_inline bool load_target(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *l3 = data + within_packet(p->l3);

	if (p->is_v6) {
		struct ipv6_header *ip = l3;

		if ((void *)(ip + 1) > end)
			return false;
		p->target.hi = bpf_be64_to_cpu(ip->target[0]);
		p->target.lo = bpf_be64_to_cpu(ip->target[1]);
	} else {
		struct ipv4_header *ip = l3;

		if ((void *)(ip + 1) > end)
			return false;
		p->target.hi = 0;
		p->target.lo = IPV4_MAPPED | bpf_ntohl(ip->target);
	}
	return true;
}

/* Router and neighbour solicitation and advertisement, redirect: without them an on-link peer is lost (RFC 4861 asks for hop limit 255). */
static __always_inline bool is_neighbour_discovery(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6_header *ip = data + within_packet(p->l3);
	__u8 *type = (void *)(ip + 1);

	if (p->next_header != PROTO_ICMPV6 || (void *)(type + 1) > end)
		return false;
	return p->l4_bytes && ip->hop_limit == 255 && *type >= 133 && *type <= 137;
}

enum chain { CHAIN_WHOLE, CHAIN_TOO_LONG, CHAIN_MALFORMED };

static __always_inline bool is_extension_header(__u8 type)
{
	/* hop-by-hop, routing, fragment, AH, destination, mobility, HIP, shim6 (RFC 8200 4.1, IANA's list) */
	return type == 0 || type == 43 || type == 44 || type == 51 || type == 60 || type == 135 || type == 139 ||
	       type == 140;
}

/*
 * Walks to the upper-layer header; p->l4, p->l4_bytes, p->protocol, p->fragment
 * then stand there. Linux has no limit of its own: it answers a SYN behind 150
 * destination-options headers. Global, so that its loop is verified once.
 */
__noinline int walk_ipv6_chain(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 offset, left;
	__u8 type;
	enum chain result = CHAIN_WHOLE;

	if (!p)
		return CHAIN_MALFORMED;
	offset = p->l4;
	left = p->l4_bytes;
	type = p->protocol;
	for (__u32 i = 0; i < cfg.max_extension_headers + 1; i++) {
		__u8 *header;
		__u32 bytes;

		if (!is_extension_header(type))
			break;
		if (i == cfg.max_extension_headers) {
			result = CHAIN_TOO_LONG;
			break;
		}
		header = data + within_packet(offset);
		/* Unreadable here, but not to the host: the rest lies in a later buffer, or fragment (RFC 7112). */
		if ((void *)(header + 8) > end || left < 8) {
			result = left >= 8 || p->fragment == FRAGMENT_FIRST ? CHAIN_TOO_LONG : CHAIN_MALFORMED;
			break;
		}
		if (type == 44) {
			__u32 fragment = (__u32)header[2] << 8 | header[3];

			bytes = 8;
			if (fragment & 0xfff8)
				p->fragment = FRAGMENT_LATER;
			else if (fragment & 1)
				p->fragment = FRAGMENT_FIRST;
		} else {
			/* AH counts 4-byte words less 2, the others 8-byte units less 1. */
			bytes = type == 51 ? ((__u32)header[1] + 2) * 4 : ((__u32)header[1] + 1) * 8;
		}
		if (bytes > left) {
			result = p->fragment == FRAGMENT_FIRST ? CHAIN_TOO_LONG : CHAIN_MALFORMED;
			break;
		}
		type = header[0];
		left -= bytes;
		offset += bytes;
		offset = forget(offset, left);
		if (p->fragment == FRAGMENT_LATER)
			break;	/* what follows is payload, whatever it looks like */
	}
	if (result == CHAIN_WHOLE && type == PROTO_TCP && p->fragment != FRAGMENT_LATER && left >= sizeof(struct tcp_header) &&
	    data + within_packet(offset) + sizeof(struct tcp_header) > end)
		result = CHAIN_TOO_LONG;
	p->l4 = forget(offset, left);
	p->l4_bytes = left;
	p->protocol = type;
	return result;
}

enum tcp_kind { TCP_ORDINARY, TCP_NEW_CONNECTION, TCP_PROBE, TCP_MALFORMED };

struct segment {
	__u16 source_port, target_port;	/* host order */
	__u32 ack;			/* host order */
	__u8 flags;
	__u8 kind;			/* enum tcp_kind */
};

static __always_inline enum tcp_kind kind_of_flags(__u8 flags)
{
	if (flags & TCP_SYN)
		return (flags & (TCP_FIN | TCP_RST)) ? TCP_PROBE : (flags & TCP_ACK) ? TCP_ORDINARY : TCP_NEW_CONNECTION;
	/* NULL, FIN, XMAS: every segment of a connection but its first SYN and a bare RST carries ACK (RFC 9293 3.10.7). */
	return (flags & (TCP_RST | TCP_ACK)) ? TCP_ORDINARY : TCP_PROBE;
}

/* For protocol TCP, not a later fragment. */
static __always_inline void parse_tcp(struct xdp_md *ctx, const struct packet *p, struct segment *s)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp_header *tcp = data + within_packet(p->l4);
	__u32 header_bytes;

	s->source_port = s->target_port = s->ack = s->flags = 0;
	s->kind = TCP_MALFORMED;
	if (p->fragment == FRAGMENT_FIRST && p->l4_bytes < sizeof(*tcp)) {
		/* A first fragment that hides its flags (RFC 1858): nobody sends one by accident. */
		s->kind = TCP_PROBE;
		if (p->l4_bytes >= 4 && (void *)tcp + 4 <= end) {
			s->source_port = bpf_ntohs(tcp->source_port);
			s->target_port = bpf_ntohs(tcp->target_port);
		}
		return;
	}
	if (p->l4_bytes < sizeof(*tcp) || (void *)(tcp + 1) > end)
		return;
	header_bytes = (tcp->data_offset >> 4) * 4;
	if (header_bytes < sizeof(*tcp) || (p->fragment == FRAGMENT_NONE && header_bytes > p->l4_bytes))
		return;
	s->source_port = bpf_ntohs(tcp->source_port);
	s->target_port = bpf_ntohs(tcp->target_port);
	s->ack = bpf_ntohl(tcp->ack);
	s->flags = tcp->flags;
	s->kind = kind_of_flags(tcp->flags);
}

#endif
