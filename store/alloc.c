/* SPDX-License-Identifier: MIT */

/*
 * The account is kept in size classes, which malloc_usable_size() tells both
 * when handing out and when taking back, so no header is needed per request.
 * jemalloc answers it from its own metadata in a few nanoseconds.
 */

#include "store/alloc.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void account(struct mem *m, const void *p)
{
	atomic_fetch_add_explicit(&m->used, mem_usable(p),
				  memory_order_relaxed);
}

/* A test wants this request to fail. */
static bool planned_failure(struct mem *m)
{
	long left = atomic_load_explicit(&m->fail_after, memory_order_relaxed);

	if (LIKELY(left < 0))
		return false;
	return atomic_fetch_sub_explicit(&m->fail_after, 1,
					 memory_order_relaxed) == 0;
}

void mem_init(struct mem *m)
{
	atomic_init(&m->used, 0);
	atomic_init(&m->fail_after, -1);
}

size_t mem_usable(const void *p)
{
	return malloc_usable_size((void *)(uintptr_t)p);
}

void *mem_alloc(struct mem *m, size_t size)
{
	void *p;

	if (planned_failure(m))
		return NULL;
	p = malloc(size);
	if (p)
		account(m, p);
	return p;
}

void *mem_zalloc(struct mem *m, size_t size)
{
	void *p;

	if (planned_failure(m))
		return NULL;
	p = calloc(1, size);
	if (p)
		account(m, p);
	return p;
}

void *mem_realloc(struct mem *m, void *p, size_t size)
{
	size_t before = p ? mem_usable(p) : 0;
	void *q;

	if (planned_failure(m))
		return NULL;
	q = realloc(p, size);
	if (!q)
		return NULL;
	atomic_fetch_sub_explicit(&m->used, before, memory_order_relaxed);
	account(m, q);
	return q;
}

void mem_free(struct mem *m, void *p)
{
	if (!p)
		return;
	atomic_fetch_sub_explicit(&m->used, mem_usable(p),
				  memory_order_relaxed);
	free(p);
}
