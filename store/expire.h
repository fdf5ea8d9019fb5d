/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "store/alloc.h"

/*
 * The deadline index: a binary heap of (deadline, node), soonest first. The
 * place of a node in it is kept by the owner, who is told of each move, so a
 * deadline is changed or removed in O(log n) without a search.
 *
 * Thread-safety: none; the owner locks.
 */
struct expire_entry {
	int64_t ms;
	uint32_t idx;
};

struct expire {
	struct mem *mem;
	struct expire_entry *v; /* 1-based: v[0] is not used */
	uint32_t n, cap;
	void (*moved)(void *owner, uint32_t idx, uint32_t place);
	void *owner;
};

/* @moved: tells the place (1..) of a node, 0 once it is out. */
void expire_init(struct expire *e, struct mem *m,
		 void (*moved)(void *owner, uint32_t idx, uint32_t place),
		 void *owner);
void expire_fini(struct expire *e);

/* Adds a node that is not in it. Return: 0; -ENOMEM. */
MUST_CHECK int expire_add(struct expire *e, uint32_t idx, int64_t ms);

/* Changes the deadline of the node at @place. */
void expire_change(struct expire *e, uint32_t place, int64_t ms);

/* Takes the node at @place out. */
void expire_remove(struct expire *e, uint32_t place);

/* The soonest. Return: its node, 0 if there is none. */
uint32_t expire_first(const struct expire *e, int64_t *ret_ms);
