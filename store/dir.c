/* SPDX-License-Identifier: MIT */

/*
 * Positions are cut into blocks of BLOCK; block number = position / BLOCK. A
 * block exists while one of its entries lives. The references are sorted by
 * block number; one whose block is gone stays as a NULL until half of them are,
 * then all NULLs are squeezed out, so removal is O(1) amortised and a walk over
 * a directory that was emptied from the front does not crawl.
 *
 * The last block grows by steps, so that a directory of three files does not
 * pay for sixty-three. The worst case for memory is one survivor per block: 272
 * bytes each.
 */

#include "store/dir.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	BLOCK = 63,	 /* with the header 256 bytes */
	BLOCK_FIRST = 3, /* 16 bytes */
};

struct dir_block {
	uint16_t cap, live;
	uint32_t slot[];
};

struct dir_block_ref {
	uint64_t number;
	struct dir_block *block; /* NULL: all its entries are gone */
};

struct dir *dir_new(struct mem *m)
{
	return mem_zalloc(m, sizeof(struct dir));
}

void dir_free(struct mem *m, struct dir *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < d->n_blocks; i++)
		mem_free(m, d->ref[i].block);
	mem_free(m, d->ref);
	mem_free(m, d);
}

/* The first reference with a block number of @number or more. */
static uint32_t lower_bound(const struct dir *d, uint64_t number)
{
	uint32_t lo = 0, hi = d->n_blocks, mid;

	/* Without holes the numbers are an arithmetic sequence: look there. */
	if (hi > 0 && number >= d->ref[0].number) {
		uint64_t guess = number - d->ref[0].number;

		if (guess < hi && d->ref[guess].number == number)
			return (uint32_t)guess;
		if (number > d->ref[hi - 1].number)
			return hi;
	}
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (d->ref[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int add_block(struct mem *m, struct dir *d, uint64_t number)
{
	struct dir_block_ref *ref;
	struct dir_block *b;
	uint16_t want = d->n_blocks ? BLOCK : BLOCK_FIRST;
	uint32_t cap;

	b = mem_zalloc(m, sizeof(*b) + want * sizeof(b->slot[0]));
	if (!b)
		return -ENOMEM;
	b->cap = want;
	if (d->n_blocks == d->cap) {
		cap = d->cap ? d->cap + d->cap / 2 + 1 : 1;
		ref = mem_realloc(m, d->ref, cap * sizeof(*ref));
		if (!ref) {
			mem_free(m, b);
			return -ENOMEM;
		}
		d->ref = ref;
		d->cap = cap;
	}
	d->ref[d->n_blocks++] = (struct dir_block_ref){ number, b };
	return 0;
}

static int grow_block(struct mem *m, struct dir_block_ref *ref)
{
	struct dir_block *b = ref->block;
	uint16_t cap = (uint16_t)MIN(b->cap * 4 + 3, BLOCK);

	b = mem_realloc(m, b, sizeof(*b) + cap * sizeof(b->slot[0]));
	if (!b)
		return -ENOMEM;
	memset(&b->slot[b->cap], 0,
	       (size_t)(cap - b->cap) * sizeof(b->slot[0]));
	b->cap = cap;
	ref->block = b;
	return 0;
}

int dir_add(struct mem *m, struct dir *d, uint32_t idx, uint64_t *ret_pos)
{
	uint64_t number = d->next_pos / BLOCK;
	uint32_t at = (uint32_t)(d->next_pos % BLOCK);
	struct dir_block_ref *last;
	int r = 0;

	last = d->n_blocks ? &d->ref[d->n_blocks - 1] : NULL;
	if (!last || last->number != number || !last->block) {
		if (last && last->number == number) { /* it emptied early */
			d->n_blocks--;
			d->n_gone--;
		}
		r = add_block(m, d, number);
		if (r < 0)
			return r;
		last = &d->ref[d->n_blocks - 1];
	}
	while (at >= last->block->cap) {
		r = grow_block(m, last);
		if (r < 0)
			return r;
	}
	last->block->slot[at] = idx;
	last->block->live++;
	d->n++;
	*ret_pos = d->next_pos++;
	return 0;
}

static void squeeze(struct dir *d)
{
	uint32_t to = 0;

	for (uint32_t i = 0; i < d->n_blocks; i++)
		if (d->ref[i].block)
			d->ref[to++] = d->ref[i];
	d->n_blocks = to;
	d->n_gone = 0;
}

void dir_set(struct dir *d, uint64_t pos, uint32_t idx)
{
	uint32_t i = lower_bound(d, pos / BLOCK);

	assert(i < d->n_blocks && d->ref[i].number == pos / BLOCK);
	assert(d->ref[i].block && d->ref[i].block->slot[pos % BLOCK]);
	d->ref[i].block->slot[pos % BLOCK] = idx;
}

void dir_remove(struct mem *m, struct dir *d, uint64_t pos)
{
	uint32_t i = lower_bound(d, pos / BLOCK);
	struct dir_block *b;

	assert(i < d->n_blocks && d->ref[i].number == pos / BLOCK);
	b = d->ref[i].block;
	assert(b && b->slot[pos % BLOCK]);
	b->slot[pos % BLOCK] = 0;
	d->n--;
	if (--b->live > 0)
		return;
	mem_free(m, b);
	d->ref[i].block = NULL;
	if (++d->n_gone > d->n_blocks / 2)
		squeeze(d);
}

uint32_t dir_next(const struct dir *d, uint64_t *pos)
{
	uint64_t number = *pos / BLOCK;
	uint32_t i = lower_bound(d, number), at;
	const struct dir_block *b;

	for (; i < d->n_blocks; i++) {
		b = d->ref[i].block;
		if (!b)
			continue;
		at = d->ref[i].number == number ? (uint32_t)(*pos % BLOCK) : 0;
		for (; at < b->cap; at++) {
			if (!b->slot[at])
				continue;
			*pos = d->ref[i].number * BLOCK + at;
			return b->slot[at];
		}
	}
	return 0;
}
