// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The guard of a kernel that lets programs ask its connection tracking. guard.h has the order of verdicts. */
#define WITH_CONNTRACK 1
#include "guard.h"
