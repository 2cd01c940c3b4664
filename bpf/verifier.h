/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Ways to keep the verifier's work small and the compiler from undoing them. */
#ifndef PORTCULLIS_VERIFIER_H
#define PORTCULLIS_VERIFIER_H

/*
 * Makes the verifier forget which constant x is: xor twice with a value that
 * it does not know. Without this every header length and table index found by
 * a loop is followed through the rest of the program as a path of its own.
 */
#define forget(x, unknown)                                                     \
	({                                                                     \
		__u64 _x = (x), _u = (unknown);                                \
		asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(_x) : "r"(_u));     \
		_x;                                                            \
	})

/*
 * Bounds an offset into the packet where the compiler cannot move or drop it:
 * the verifier takes packet pointers of up to 0xffff only.
 */
#define within_packet(x)                                                       \
	({                                                                     \
		__u64 _b = (x);                                                \
		asm volatile("%0 &= 0x7fff" : "+r"(_b));                       \
		_b;                                                            \
	})

/* The sign bit as 0 or 1, written out: the compiler would turn a C shift of it back into a branch. */
static __always_inline __u64 sign_bit(__u64 x)
{
	asm volatile("%0 >>= 63" : "+r"(x));
	return x;
}

/* 1 when x is not 0, without a branch. */
static __always_inline __u64 is_set(__u64 x)
{
	return sign_bit(x | (0 - x));
}

/* 1 when a < b, without a branch; both below 2^63. */
static __always_inline __u64 is_below(__u64 a, __u64 b)
{
	return sign_bit(a - b);
}

/*
 * a when choose is 1, b when it is 0, without a branch. A product, not a mask:
 * from 6.18 on the verifier splits a value of 0 or -1 into two paths at an AND.
 */
static __always_inline __u64 pick(__u64 choose, __u64 a, __u64 b)
{
	__u64 change = a ^ b;

	asm volatile("%0 *= %1" : "+r"(change) : "r"(choose));
	return b ^ change;
}

/*
 * A product that stays within bounds: on 6.1 the verifier knows those only
 * where the right-hand side is a constant to it, and the compiler, for which
 * read-only data is none, would put the two in either order.
 */
static __always_inline __u64 times(__u64 x, __u64 constant)
{
	asm volatile("%0 *= %1" : "+r"(x) : "r"(constant));
	return x;
}

#endif
