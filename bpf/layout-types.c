// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * One variable of each type of layout.h, so that clang writes all of them into
 * BTF, those too that the program knows only behind a pointer. Compiled for
 * the generator and never loaded.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

struct config config;
struct layout layout;
struct owner owner;
struct interface_state interface_state;
struct control control;
struct prefix4 prefix4;
struct prefix6 prefix6;
struct address address;
struct source_class_value source_class_value;
struct list_value list_value;
struct allow_value allow_value;
struct manual_value manual_value;
struct block_key block_key;
struct block block;
struct ring_entry ring_entry;
struct ring_head ring_head;
struct domain domain;
struct source source;
struct first first;
struct probe probe;
struct connection_event connection_event;
struct block_event block_event;
struct budget budget;
enum verdict verdict;
enum reason reason;
enum loss loss;
enum instance_flag instance_flag;
enum owner_kind owner_kind;
enum concern concern;
enum v6_level v6_level;
enum source_class source_class;
enum list_flag list_flag;
enum block_flag block_flag;
enum event_kind event_kind;
