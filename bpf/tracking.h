/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How a source is written in a tracking domain; struct domain is in layout.h. */
#ifndef PORTCULLIS_TRACKING_H
#define PORTCULLIS_TRACKING_H

/* Votes on what a blocked source goes on trying: a source whose block ends starts again at no target. Owner ids are smaller. */
#define WHILE_BLOCKED 0x800

/* struct first: what its key is, and where its stamp holds that and the owner. */
#define KIND_V4 0ull
#define KIND_V6_PREFIX 1ull	/* up to /64: the key is the prefix itself */
#define KIND_V6_HASHED 2ull	/* longer: a keyed hash of 64 bits stands for it */
#define FIRST_KIND_SHIFT 28
#define FIRST_OWNER_SHIFT 16

#endif
