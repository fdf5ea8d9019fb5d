/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/alloc.h"

/*
 * The entries of one directory in the order in which they were added. Each has
 * a position that only grows and is never used again, so it serves as readdir's
 * cookie: it finds its place even when its entry is gone, and a walk neither
 * skips nor repeats what stays (D1).
 *
 * Names are not here: the hash index finds them, the nodes hold them.
 *
 * Cost: add O(1), remove and find O(1) mostly (O(log n) at worst); 4.3 bytes
 * per entry in a directory that is only added to.
 *
 * Thread-safety: none; the owner locks.
 */
struct dir {
	uint64_t next_pos;  /* position of the next entry to be added */
	uint32_t n;	    /* entries */
	uint32_t n_subdirs; /* of them directories: kept by the owner */
	uint32_t n_blocks, cap, n_gone;
	bool has_value; /* there is a `%=`: kept by the owner */
	uint32_t db;	/* database it belongs to: kept by the owner */
	struct dir_block_ref *ref;
};

/* Return: an empty directory, ended by dir_free(); NULL if out of memory. */
MUST_CHECK struct dir *dir_new(struct mem *m);
void dir_free(struct mem *m, struct dir *d);

/* Adds node @idx at the end. Return: 0, with its position; -ENOMEM. */
MUST_CHECK int dir_add(struct mem *m, struct dir *d, uint32_t idx,
		       uint64_t *ret_pos);

/* Puts another node in the place of the entry at @pos, which is there. */
void dir_set(struct dir *d, uint64_t pos, uint32_t idx);

/* Removes the entry at @pos, which is there. Cannot fail. */
void dir_remove(struct mem *m, struct dir *d, uint64_t pos);

/* Finds the first entry at or after *pos and sets *pos to its position.
 * Return: its node; 0 if there is none. */
uint32_t dir_next(const struct dir *d, uint64_t *pos);
