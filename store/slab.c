/* SPDX-License-Identifier: MIT */

/* Segments are never freed before the end: a keyspace that shrank is likely to
 * grow again, and stable addresses are worth more than the memory. */

#include "store/slab.h"

#include <string.h>

void slab_init(struct slab *s, struct mem *mem, uint32_t obj_size,
	       uint32_t link_at)
{
	*s = (struct slab){
		.mem = mem,
		.obj_size = obj_size,
		.link_at = link_at,
		.top = 1,
	};
}

void slab_fini(struct slab *s)
{
	for (uint32_t i = 0; i < s->n_seg; i++)
		mem_free(s->mem, s->seg[i]);
	mem_free(s->mem, s->seg);
	s->seg = NULL;
	s->n_seg = 0;
}

static uint32_t *link_of(struct slab *s, uint32_t idx)
{
	return (uint32_t *)((uint8_t *)slab_at(s, idx) + s->link_at);
}

static int add_segment(struct slab *s)
{
	uint8_t **seg, *bytes;

	bytes = mem_zalloc(s->mem, (size_t)SLAB_SEG * s->obj_size);
	if (!bytes)
		return -1;
	seg = mem_realloc(s->mem, s->seg, (s->n_seg + 1) * sizeof(*seg));
	if (!seg) {
		mem_free(s->mem, bytes);
		return -1;
	}
	seg[s->n_seg++] = bytes;
	s->seg = seg;
	return 0;
}

uint32_t slab_get_fresh(struct slab *s)
{
	if (s->top == UINT32_MAX)
		return 0;
	if (s->top >> SLAB_SHIFT >= s->n_seg && add_segment(s) < 0)
		return 0;
	return s->top++;
}

uint32_t slab_get(struct slab *s)
{
	uint32_t idx = s->free;

	if (!idx)
		return slab_get_fresh(s);
	s->free = *link_of(s, idx);
	return idx;
}

void slab_put(struct slab *s, uint32_t idx)
{
	*link_of(s, idx) = s->free;
	s->free = idx;
}
