// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The guard where connection tracking cannot be asked: only sockets tell a live
 * flow. An object of its own, since a call that is never reached still keeps a
 * program from loading before 5.16, without the JIT, and with a libbpf that may
 * not look through the BTF of modules.
 */
#define WITH_CONNTRACK 0
#include "guard.h"
