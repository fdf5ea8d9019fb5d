/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/*
 * From the decoder to the store: keys are gathered in batches, which a second
 * thread inserts while the next ones are decoded. Private to persist/.
 *
 * A run is what was read since the last block of write times; the block gives
 * its keys their times while they still wait here.
 *
 * Thread-safety: one thread calls; the inserting thread is the queue's own.
 */
enum {
	LOAD_RUN_MAX = 512
};

struct load_queue;

/* Why a key could not be inserted, and which. */
struct load_failure {
	int code;	 /* as store_put_many() */
	uint64_t offset; /* given with the key */
	uint32_t db;
	struct span key; /* valid until load_queue_free() */
};

/**
 * load_queue_new() - start
 * @threaded: insert in a thread of its own; if there can be none, or for small
 *            files, the caller's inserts
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int load_queue_new(struct store *st, bool threaded,
			      struct load_queue **ret);

/**
 * load_queue_add() - hand a key over
 * @key:    copied
 * @item:   its value is taken, also on failure
 * @offset: where its record begins, for load_failure
 * Context: blocks while the inserting thread is too far behind.
 * Return: 0; -ENOMEM; -ECANCELED: an earlier key failed, see
 *         load_queue_finish().
 */
MUST_CHECK int load_queue_add(struct load_queue *q, uint32_t db,
			      struct span key, const struct store_item *item,
			      uint64_t offset);

/* Counts a key of the run that is not kept. */
void load_queue_skip(struct load_queue *q);

/* Ends a run. @times: of its keys in their order; ignored if @n is not their
 * number: then another program has put the records into another order. */
void load_queue_end_run(struct load_queue *q, const int64_t *times, size_t n);

/**
 * load_queue_finish() - insert all that waits, and tell
 * @ret_keys: how many keys are in the store now
 * @ret:      set on failure
 * Return: 0; the code of the failure.
 */
MUST_CHECK int load_queue_finish(struct load_queue *q, uint64_t *ret_keys,
				 struct load_failure *ret);

/* Frees all, also what was not inserted. NULL is allowed. */
void load_queue_free(struct load_queue *q);
