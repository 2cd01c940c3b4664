// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The guard as it is, for a frame whose source changes each time. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "rotate.h"

/* Inlined, since an entry point cannot be called; the program itself stays in the object beside. */
#define guard __attribute__((always_inline)) guard
#include "../../bpf/guard.bpf.c"
#undef guard

SEC("xdp.frags")
int rotated_guard(struct xdp_md *ctx)
{
	rotate(ctx);
	return guard(ctx);
}
