/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/alloc.h"
#include "store/slab.h"

/*
 * The hash index: from a 64-bit hash to the 32-bit indices that have it. Knows
 * nothing of what the indices mean: the owner compares and hashes.
 *
 * Linear hashing: the table grows by one bucket whenever the mean load is
 * exceeded, so there is no pause at any size, no second table, and the memory
 * per entry is the same at every size (about 8.5 bytes).
 *
 * Cost: find and remove O(1) expected, mostly one cache line; insert O(1) plus
 * the split of one bucket every TABLE_LOAD inserts.
 *
 * Thread-safety: none; the owner locks.
 */

enum {
	TABLE_WAYS = 12, /* entries of a bucket: 64 bytes, a cache line */
	TABLE_LOAD = 8,	 /* mean entries per bucket at which it grows */
};

struct table {
	struct mem *mem;
	struct table_bucket **seg;
	uint32_t n_seg;
	uint32_t bits; /* buckets below `split` use bits + 1, others bits */
	uint32_t split;
	uint64_t n;	      /* entries */
	struct slab overflow; /* further buckets of a chain */
	uint64_t (*hash_of)(void *owner, uint32_t idx);
	void *owner;
};

/**
 * table_init() - an empty table
 * @hash_of: tells the hash of an index that is in the table; called when a
 *           bucket is split
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int table_init(struct table *t, struct mem *mem,
			  uint64_t (*hash_of)(void *owner, uint32_t idx),
			  void *owner);
void table_fini(struct table *t);

/**
 * table_reserve() - make an empty table as large as @n entries will make it
 * So that filling it splits nothing. A table that is not empty stays as it is.
 * Return: 0; -ENOMEM, and it has its old size.
 */
MUST_CHECK int table_reserve(struct table *t, uint64_t n);

/* Brings the memory that table_find() and table_insert() will need closer. */
void table_prefetch(const struct table *t, uint64_t hash);

/**
 * table_find() - find an index by its hash
 * @match: asked for each candidate (its hash is very likely right)
 * Return: the index for which @match said true; 0 if there is none.
 */
uint32_t table_find(const struct table *t, uint64_t hash,
		    bool (*match)(const void *key, uint32_t idx),
		    const void *key);

/* Adds an index (not 0, not in the table yet). Return: 0; -ENOMEM. */
MUST_CHECK int table_insert(struct table *t, uint64_t hash, uint32_t idx);

/* Puts an index back that has just been removed under @hash, or another one in
 * its stead: needs no memory and cannot fail. */
void table_reinsert(struct table *t, uint64_t hash, uint32_t idx);

/* Removes an index that is in the table under @hash. Cannot fail. */
void table_remove(struct table *t, uint64_t hash, uint32_t idx);
