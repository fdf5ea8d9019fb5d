/* SPDX-License-Identifier: MIT */

/* A textbook heap; the only twist is that every entry reports its place. A
 * timing wheel would be O(1), but a million deadlines cost 20 steps each here,
 * in contiguous memory, and there is nothing to tune. */

#include "store/expire.h"

#include <assert.h>
#include <errno.h>

void expire_init(struct expire *e, struct mem *m,
		 void (*moved)(void *owner, uint32_t idx, uint32_t place),
		 void *owner)
{
	*e = (struct expire){ .mem = m, .moved = moved, .owner = owner };
}

void expire_fini(struct expire *e)
{
	mem_free(e->mem, e->v);
	e->v = NULL;
	e->n = e->cap = 0;
}

static void put(struct expire *e, uint32_t place, struct expire_entry x)
{
	e->v[place] = x;
	e->moved(e->owner, x.idx, place);
}

static void sift(struct expire *e, uint32_t place)
{
	struct expire_entry x = e->v[place];
	uint32_t child;

	while (place > 1 && e->v[place / 2].ms > x.ms) {
		put(e, place, e->v[place / 2]);
		place /= 2;
	}
	while ((child = place * 2) <= e->n) {
		if (child < e->n && e->v[child + 1].ms < e->v[child].ms)
			child++;
		if (e->v[child].ms >= x.ms)
			break;
		put(e, place, e->v[child]);
		place = child;
	}
	put(e, place, x);
}

int expire_add(struct expire *e, uint32_t idx, int64_t ms)
{
	struct expire_entry *v;
	uint32_t cap;

	if (e->n + 1 >= e->cap) {
		cap = e->cap ? e->cap * 2 : 16;
		v = mem_realloc(e->mem, e->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		e->v = v;
		e->cap = cap;
	}
	e->v[++e->n] = (struct expire_entry){ ms, idx };
	sift(e, e->n);
	return 0;
}

void expire_change(struct expire *e, uint32_t place, int64_t ms)
{
	assert(place >= 1 && place <= e->n);
	e->v[place].ms = ms;
	sift(e, place);
}

void expire_remove(struct expire *e, uint32_t place)
{
	uint32_t idx;

	assert(place >= 1 && place <= e->n);
	idx = e->v[place].idx;
	e->v[place] = e->v[e->n--];
	if (place <= e->n)
		sift(e, place);
	e->moved(e->owner, idx, 0);
}

uint32_t expire_first(const struct expire *e, int64_t *ret_ms)
{
	if (e->n == 0)
		return 0;
	*ret_ms = e->v[1].ms;
	return e->v[1].idx;
}
