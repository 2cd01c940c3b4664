/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What user space is told as it happens. Nothing here decides anything: a lost event loses a log line. */
#ifndef PORTCULLIS_EVENTS_H
#define PORTCULLIS_EVENTS_H

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");

enum budget_class { BUDGET_CONNECTION, BUDGET_BLOCK, BUDGET_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUDGET_COUNT);
	__type(key, __u32);
	__type(value, struct budget);
} budgets SEC(".maps");

/* A budget a second on each CPU; block events have their own, so that a flood of connections cannot silence them. */
static __always_inline bool spend(enum budget_class class, __u32 per_second, __u64 now)
{
	__u32 index = class;
	struct budget *budget = bpf_map_lookup_elem(&budgets, &index);

	if (!budget)
		return false;
	if (now - budget->second >= cfg.ticks_per_second) {
		budget->second = now;
		budget->used = 0;
	}
	if (budget->used >= per_second) {
		count_loss(class == BUDGET_BLOCK ? LOSS_BLOCK_EVENT_BUDGET : LOSS_CONNECTION_EVENT_BUDGET);
		return false;
	}
	budget->used++;
	return true;
}

static __always_inline void tell_connection(struct xdp_md *ctx, const struct packet *p, const struct segment *s,
					    __u64 now)
{
	struct connection_event *event;

	if (!spend(BUDGET_CONNECTION, cfg.connection_events_per_second, now))
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_loss(LOSS_RING_FULL);
		return;
	}
	event->kind = EVENT_CONNECTION;
	event->owner = cfg.policy;
	event->tick = now;
	event->source = p->source;
	event->target = p->target;
	event->source_port = s->source_port;
	event->target_port = s->target_port;
	event->ifindex = ctx->ingress_ifindex;
	event->flags = s->flags;
	event->reason = PASS_NEW_CONNECTION;
	bpf_ringbuf_submit(event, 0);
}

#endif
