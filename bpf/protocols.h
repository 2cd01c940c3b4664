/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PORTCULLIS_PROTOCOLS_H
#define PORTCULLIS_PROTOCOLS_H

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58

/* IPv4 a.b.c.d as the low half of a struct address. */
#define IPV4_MAPPED 0x0000ffff00000000ull

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

#endif
