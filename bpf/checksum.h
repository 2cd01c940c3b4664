/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Does a segment's checksum allow it to vote? A forger should at least have to compute one. */
#ifndef PORTCULLIS_CHECKSUM_H
#define PORTCULLIS_CHECKSUM_H

#define CHECKSUM_MAX_BYTES 2048	/* longer segments count as right: the sum is paid for each vote */

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum & 0xffff;
}

/* Written out: a call of the helper costs more than it saves for the few bytes of a SYN. */
#define ADD_WORDS(bytes)                                                            \
	if (left & (bytes)) {                                                       \
		__u32 *words = data + within_packet(offset);                        \
		if ((void *)words + (bytes) > end)                                  \
			return true;                                                \
		_Pragma("clang loop unroll(full)")                                  \
		for (int i = 0; i < (bytes) / 4; i++)                               \
			sum += words[i];                                            \
		offset += (bytes);                                                  \
	}
#define ADD_BYTES(bytes)                                                            \
	{                                                                           \
		void *chunk = data + within_packet(offset);                         \
		if (chunk + (bytes) > end)                                          \
			return true;                                                \
		sum += (__u32)bpf_csum_diff(NULL, 0, chunk, bytes, 0);              \
		offset += (bytes);                                                  \
	}
#define ADD_CHUNK(bytes)                                                            \
	if (left & (bytes))                                                         \
		ADD_BYTES(bytes)
#define SUM_MAX_BYTES 512	/* 6.1 and 6.12: bpf_csum_diff() refuses more at once */

/*
 * Global, so that it is verified once and not for each path to it. The sum is
 * kept in the order the bytes lie in memory: it folds to the same field on
 * either byte order (RFC 1071 2B).
 */
__noinline int checksum_allows_vote(struct xdp_md *ctx, const struct packet *p)
{
	void *data, *end;
	struct tcp_header *tcp;
	__u32 left, offset;
	__u64 sum, pseudo;

	if (!p)
		return true;
	if (p->fragment != FRAGMENT_NONE || p->l4_bytes > CHECKSUM_MAX_BYTES)
		return true;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	tcp = data + within_packet(p->l4);
	if ((void *)(tcp + 1) > end)
		return true;

	/* IPv4-mapped halves add 0xffff, which is 0 in ones' complement. */
	pseudo = (p->source.hi >> 32) + (__u32)p->source.hi + (p->source.lo >> 32) + (__u32)p->source.lo +
		 (p->target.hi >> 32) + (__u32)p->target.hi + (p->target.lo >> 32) + (__u32)p->target.lo +
		 PROTO_TCP + p->l4_bytes;
	pseudo = bpf_htons(fold(pseudo));
	/* A sender on this host leaves the sum to the device: the field then holds the pseudo-header's alone. */
	if (tcp->checksum == (__be16)pseudo)
		return true;

	left = p->l4_bytes;
	offset = p->l4;
	sum = pseudo;
	for (int i = 0; i < CHECKSUM_MAX_BYTES / SUM_MAX_BYTES && left >= SUM_MAX_BYTES; i++) {
		ADD_BYTES(SUM_MAX_BYTES)
		left -= SUM_MAX_BYTES;
	}
	ADD_CHUNK(256)
	ADD_CHUNK(128)
	ADD_CHUNK(64)
	ADD_WORDS(32)
	ADD_WORDS(16)
	ADD_WORDS(8)
	ADD_WORDS(4)
	if (left & 2) {
		__u16 *half = data + within_packet(offset);

		if ((void *)(half + 1) > end)
			return true;
		sum += *half;
		offset += 2;
	}
	if (left & 1) {
		__u8 *last = data + within_packet(offset);

		if ((void *)(last + 1) > end)
			return true;
		sum += bpf_htons((__u16)*last << 8);
	}
	return fold(sum) == 0xffff;
}

#endif
