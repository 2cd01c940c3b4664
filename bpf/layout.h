/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Everything that user space reads or writes: map keys and values, events, the
 * read-only configuration of an instance, and every reason a packet is counted
 * under. `npm run generate` turns the object's BTF of these types into
 * agent/datapath/layout.ts; a test compares the two.
 *
 * LAYOUT_VERSION rises whenever a pinned map's key, value or meaning changes.
 */
#ifndef PORTCULLIS_LAYOUT_H
#define PORTCULLIS_LAYOUT_H

#define LAYOUT_VERSION 1

/*
 * Time in every value is a "tick": one jiffy as bpf_jiffies64() tells it, 1 to
 * 10 ms. It costs a memory read where bpf_ktime_get_ns() costs 30 ns.
 */

/* An address: IPv6 in network byte order as two host-order halves; IPv4 a.b.c.d is ::ffff:a.b.c.d. */
struct address {
	__u64 hi;
	__u64 lo;
};

/* Which policy or list something belongs to: an index into `owners`, below 2048. 0 is the node itself. */
typedef __u32 owner_id;

enum verdict {
	VERDICT_PASS = 0,
	VERDICT_DROP = 1,
	VERDICT_WOULD_DROP = 2,	/* Monitor: passed, would have been dropped */
};

/*
 * Why a packet was counted: append-only, a retired number stays listed. The
 * verdict of each stands beside it, and `reasonVerdict` in reasons.ts repeats
 * none of it: the generator reads these names.
 */
enum reason {
	PASS_OTHER = 0,			/* nothing concerns this packet */
	PASS_NOT_IP = 1,		/* ARP, LLDP, MPLS, more than two VLAN tags */
	PASS_MALFORMED = 2,		/* a header that is cut short or contradicts itself: the host's to refuse */
	PASS_NEIGHBOUR_DISCOVERY = 3,	/* ICMPv6 133-137 with hop limit 255 */
	PASS_NEVER_BLOCK = 4,		/* source in the never-block set, no vote cast */
	PASS_ALLOWED = 5,		/* source in an allow entry */
	PASS_NEW_CONNECTION = 6,	/* SYN without ACK that was not the Nth target */
	PASS_PROBE = 7,			/* FIN, NULL, XMAS, SYN+FIN, SYN+RST, short first fragment, before the Nth */
	PASS_BAD_CHECKSUM = 8,		/* would have voted, but its TCP checksum is wrong */
	PASS_NOT_OWN_ADDRESS = 9,	/* a new connection to somebody else: forwarded, no vote */
	PASS_LIVE_FLOW = 10,		/* blocked source, but the packet belongs to a live flow */
	PASS_FORWARDED = 11,		/* blocked source, not a new connection, not to this node */
	PASS_ICMP_ERROR = 12,		/* blocked source, an ICMP error that quotes a live flow */
	DROP_LIST = 13,			/* source on a blocklist */
	DROP_MANUAL = 14,		/* source blocked by hand */
	DROP_SCAN_BLOCKED = 15,		/* source blocked earlier for scanning */
	DROP_SCAN_DETECTED = 16,	/* this packet was the Nth target */
	DROP_EXTENSION_HEADERS = 17,	/* IPv6 chain longer than the limit */
	WOULD_DROP_LIST = 18,
	WOULD_DROP_SCAN_BLOCKED = 19,
	WOULD_DROP_SCAN_DETECTED = 20,
	WOULD_DROP_EXTENSION_HEADERS = 21,
	SPARED_SCAN_DETECTED = 22,	/* a never-block source reached N targets: passed and reported */
	DROP_VLAN_TAGS = 23,		/* a third tag, one of them for priority only: the host would take them off and read on */
	WOULD_DROP_VLAN_TAGS = 24,
	REASON_COUNT = 25,
};

/* What the datapath itself lost or gave up; each is a Prometheus counter of its own. Append-only. */
enum loss {
	LOSS_CONNECTION_EVENT_BUDGET = 0,	/* over the rate for connection events */
	LOSS_BLOCK_EVENT_BUDGET = 1,		/* over the rate for block events */
	LOSS_RING_FULL = 2,			/* the reader was too slow */
	LOSS_FIRST_TARGET_EVICTED = 3,		/* stage 1: a source's fresh first target made room */
	LOSS_SOURCE_EVICTED = 4,		/* stage 2: a source with fresh targets made room */
	LOSS_BLOCK_EVICTED = 5,			/* block table full: an unexpired block made room */
	LOSS_BLOCK_TABLE_FULL = 6,		/* block table full and nothing could make room: not blocked */
	LOSS_COUNT = 7,
};

/* ---- instance configuration: .rodata, written before load ---- */

enum instance_flag {
	INSTANCE_ENFORCE = 1,		/* mode Enforce; else Monitor */
	INSTANCE_DETECT = 2,		/* a policy governs this interface */
	INSTANCE_ALL_DESTINATIONS = 4,	/* detection.destinations: All */
	INSTANCE_BLOCK_ALL_TRAFFIC = 8,	/* block.traffic: All */
	INSTANCE_LOG_CONNECTIONS = 16,	/* connectionLog: All */
	INSTANCE_TEST_CLOCK = 32,	/* ticks come from the test_clock map; no setting reaches this */
	INSTANCE_FRAGS = 64,		/* loaded as xdp.frags: a frame may be longer than its linear part */
};

struct config {
	__u32 flags;			/* enum instance_flag */
	owner_id policy;		/* owner of the governing policy, 0 = none */
	__u32 threshold;		/* N: distinct targets, 1..64 */
	__u32 slots;			/* stage 2 slots a source, >= threshold - 1 */
	__u64 window_ticks;
	__u64 block_ticks;
	__u64 unproven_ticks;
	struct address v6_mask;		/* detection.ipv6PrefixLength as a mask, and as the number */
	__u32 v6_length;
	__u32 set_slot;			/* which inner tables of list and allow sets this interface uses */
	__u32 max_extension_headers;
	__u32 domain_mask;		/* number of tracking domains - 1 */
	__u32 cell_mask;		/* number of hashed concern cells of a half - 1 */
	__u32 ring_mask;		/* size of each eviction ring - 1 */
	__u32 connection_events_per_second;	/* each CPU */
	__u32 block_events_per_second;		/* each CPU */
	__u32 ticks_per_second;
	__u64 secret[2];		/* drawn at first start; keys every hash */
};

/* ---- node-wide pinned maps ---- */

/* `layout`, one entry: what the other pins mean. Never changed after creation but for `generation`. */
struct layout {
	__u32 magic;			/* "PCLS" */
	__u32 version;			/* LAYOUT_VERSION */
	__u64 secret[2];
	__u32 slots;			/* shape of `probes` */
	__u32 domains;
	__u32 cells;
	__u32 max_blocks;
	__u32 max_owners;
	__u32 ticks_per_second;
};
#define LAYOUT_MAGIC 0x534c4350

/* `owners`: names behind owner ids, so that tools can tell without an agent. */
enum owner_kind { OWNER_NONE = 0, OWNER_NODE = 1, OWNER_PORT_SCAN_POLICY = 2, OWNER_IP_BLOCKLIST = 3 };
struct owner {
	__u32 kind;
	__u32 name_bytes;
	__u64 retired_at_ms;		/* wall clock; 0 = in use. A retired id is not given out for an hour */
	char name[256];
};

/* `interfaces`: by ifindex, what the agent attached there, so that tools can tell without it. */
struct interface_state {
	owner_id policy;
	__u32 verified_instructions;
	char name[16];
};

/*
 * `concern`: what may know a source, asked before any table. A cell is 4 bits,
 * 16 to a u64. It may say yes wrongly, never no: bits are set after the entry
 * they announce and taken back only by building the other half afresh and
 * flipping concern_half. The kernel always sets bits in both halves. The map is
 * one element: struct control, then both halves.
 * Cells of a half: [0, 65536) IPv4 by /16; [65536, 131072) IPv6 by /16; then cell_mask + 1 hashed ones.
 */
enum concern {
	CONCERN_CLASS = 1,		/* never-block or on-link */
	CONCERN_LIST = 2,		/* blocklist or manual block */
	CONCERN_BLOCK = 4,		/* scan block */
	CONCERN_ALLOW = 8,
};
#define CONCERN_WIDE_CELLS 131072

/* What `concern` begins with; mmapped. */
struct control {
	__u32 concern_half;		/* 0 or 1 */
	__u32 v6_levels;		/* which of enum v6_level any cell stands for; only ever grows */
	__u32 manual_entries;		/* 0 lets the kernel skip the manual tables */
	__u32 pad;
	__u64 pad2;
};
enum v6_level { V6_LEVEL_64 = 1, V6_LEVEL_48 = 2, V6_LEVEL_32 = 4 };

/* Keys of the LPM tries: libbpf's own shape. Address bytes in network order. */
struct prefix4 { __u32 length; __u8 address[4]; };
struct prefix6 { __u32 length; __u8 address[16]; };

/* `class4`, `class6`: flags hold for the whole prefix, wider entries' flags included. */
enum source_class { CLASS_NEVER_BLOCK = 1, CLASS_ON_LINK = 2 };
struct source_class_value { __u32 flags; __u32 pad; };

/* Inner tables of `lists4`, `lists6`: flattened, so that the longest match is the strictest entry. */
enum list_flag { LIST_ENFORCE = 1, LIST_ALL_TRAFFIC = 2, LIST_SPARED = 4 };
struct list_value { owner_id owner; __u32 flags; };

/* Inner tables of `allows4`, `allows6`: until = the latest tick of all covering entries. */
struct allow_value { __u64 until; };

/* `manual4`, `manual6`: block by hand; until as in allow_value, own_until = this entry's own. */
struct manual_value {
	__u64 until;
	__u64 own_until;		/* 0: this entry exists only because a wider one was cut here */
	__u64 since;
	__u64 dropped;
	char reason[64];
};

/* `own`: unicast addresses of this network namespace. Key struct address, value a __u32 that is always 1. */

/* `blocks`: HASH. */
struct block_key {
	struct address source;		/* masked to the aggregation length */
	owner_id owner;
	__u32 source_length;		/* 32 for IPv4, ipv6PrefixLength or 128 for IPv6 */
};
enum block_flag {
	BLOCK_PROVEN = 1,		/* the source's address is proven */
	BLOCK_MONITOR = 2,		/* a record only: detected in mode Monitor */
	BLOCK_SPARED = 4,		/* a record only: source in the never-block set */
};
#define BLOCK_PORTS 16
struct block {
	__u64 until;
	__u64 since;
	__u64 dropped;			/* packets dropped, or that would have been */
	__u64 last;			/* tick of the newest of them */
	__u32 flags;
	__u32 probes;			/* distinct targets when blocked */
	__u32 ifindex;
	__u32 port_count;
	__u16 ports[BLOCK_PORTS];	/* that of the Nth target first, the others in no order; host order */
};

/* `rings`: two rings of keys in order of blocking: unproven or record-only, and proven. */
struct ring_entry { struct block_key key; __u64 since; };
struct ring_head { __u32 head; __u32 tail; };

/* `domains`: one lock, the sources it guards. See detect.h. */
#define FIRSTS_PER_DOMAIN 56
#define SOURCES_PER_DOMAIN 3
struct first {
	__u64 key;			/* IPv4 address, IPv6 prefix up to /64, or a keyed hash of a longer one */
	__u64 stamp;			/* tick << 30 | kind << 28 | owner << 16 | port */
	struct address target;
};
struct source {
	struct address address;
	owner_id owner;
	__u16 count;			/* fresh targets when last touched */
	__u16 settled;			/* 1 = became a block: empty from fresh_until on */
	__u64 fresh_until;		/* tick from which on none of its targets is fresh */
};
/* `domains`: 2^n of these. Tags are 16 bits of the source's hash, 0 = empty, and spare most reads of the entries. */
struct domain {
	struct bpf_spin_lock lock;	/* guards this domain and the same index of `probes` */
	__u32 cursor;			/* the next of `firsts` to be written: oldest first */
	__u16 source_tags[4];		/* one more than there are sources: read as a word */
	__u16 first_tags[FIRSTS_PER_DOMAIN];
	struct source sources[SOURCES_PER_DOMAIN];
	__u64 pad[4];			/* to 2,048 bytes: an unknown source then costs one page, rarely two */
	struct first firsts[FIRSTS_PER_DOMAIN];
};
/* One slot of `probes`; its stamp is tick << 16 | port, 0 = empty. */
struct probe {
	struct address target;
	__u64 stamp;
};

/* ---- events ---- */
enum event_kind { EVENT_CONNECTION = 1, EVENT_BLOCK = 2 };
struct connection_event {
	__u32 kind;
	owner_id owner;
	__u64 tick;
	struct address source;
	struct address target;
	__u16 source_port;
	__u16 target_port;
	__u32 ifindex;
	__u32 flags;			/* TCP flags byte */
	__u32 reason;			/* enum reason it was passed or dropped for */
};
#define EVENT_PORTS 64
struct block_event {
	__u32 kind;
	owner_id owner;
	__u64 tick;
	__u64 until;
	struct address source;		/* as sent, not masked */
	struct block_key key;
	struct address target;		/* of the Nth probe */
	__u32 ifindex;
	__u32 flags;			/* enum block_flag */
	__u32 probes;
	__u32 port_count;
	__u16 ports[EVENT_PORTS];
};

/* `budgets`: PERCPU_ARRAY, one an event class. */
struct budget { __u64 second; __u64 used; };

#endif
