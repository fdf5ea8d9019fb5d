/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "store/alloc.h"

/*
 * Objects of one size at stable 32-bit indices. Index 0 is never given out, so
 * it can stand for "none". Memory grows by segments and is given back only by
 * slab_fini(); an object never moves, so a pointer stays valid as long as the
 * slab.
 *
 * A free object keeps its bytes but for the four at `link_at`, which chain the
 * free list: whoever needs a generation to survive keeps it elsewhere.
 *
 * Thread-safety: none; the owner locks.
 */
struct slab {
	struct mem *mem;
	uint8_t **seg;
	uint32_t n_seg;
	uint32_t obj_size, link_at;
	uint32_t top;  /* indices below it have been given out at least once */
	uint32_t free; /* head of the free list, 0 if empty */
};

enum {
	SLAB_SHIFT = 12, /* 4096 objects a segment: few segments, and a small
			  * keyspace stays small */
	SLAB_SEG = 1 << SLAB_SHIFT,
};

/* @link_at: offset of a uint32_t in the object that is free to use while the
 * object is not allocated. */
void slab_init(struct slab *s, struct mem *mem, uint32_t obj_size,
	       uint32_t link_at);
void slab_fini(struct slab *s);

/* Gives out a free object, or a fresh (zeroed) one. Return: its index; 0 if
 * there is no memory or no index left. */
MUST_CHECK uint32_t slab_get(struct slab *s);

/* Gives out a fresh object at the top, whether or not others are free. */
MUST_CHECK uint32_t slab_get_fresh(struct slab *s);

void slab_put(struct slab *s, uint32_t idx);

/* The object at @idx, 0 < @idx < top. */
static inline void *slab_at(const struct slab *s, uint32_t idx)
{
	return s->seg[idx >> SLAB_SHIFT] +
	       (size_t)(idx & (SLAB_SEG - 1)) * s->obj_size;
}
