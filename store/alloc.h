/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "store/defs.h"

/*
 * Accounted allocation. Every byte of the keyspace is asked for here, so that
 * the store knows what it uses (maxmemory, INFO's used_memory) and a test can
 * make the n-th request fail.
 *
 * What is counted is what the allocator hands out (its size class), not what
 * was asked for: that is what the process pays.
 *
 * Thread-safety: all functions may be called from any thread at once; the
 * counters are relaxed atomics, since nobody orders anything by them.
 */
struct mem {
	_Atomic size_t used; /* bytes handed out and not given back */
	_Atomic long
		fail_after; /* tests: requests left until one fails, <0 off */
};

/* Starts an account with nothing used and no failure planned. */
void mem_init(struct mem *m);

/**
 * mem_alloc() - allocate @size bytes, uninitialised
 * Return: the memory, owned by the caller, who gives it back with mem_free()
 *         on the same account; NULL if there is none.
 */
MUST_CHECK void *mem_alloc(struct mem *m, size_t size);

/* As mem_alloc(), zeroed. */
MUST_CHECK void *mem_zalloc(struct mem *m, size_t size);

/**
 * mem_realloc() - resize, keeping the content
 * @p: from mem_alloc(), or NULL
 * Return: the memory at its new place (@p is then invalid); NULL if there is
 *         none, and @p stays valid.
 */
MUST_CHECK void *mem_realloc(struct mem *m, void *p, size_t size);

/* Gives memory back. NULL is allowed. */
void mem_free(struct mem *m, void *p);

/* Bytes that can be used behind @p: at least what was asked for. */
size_t mem_usable(const void *p);

static inline size_t mem_used(const struct mem *m)
{
	return atomic_load_explicit(&m->used, memory_order_relaxed);
}
