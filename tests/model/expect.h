/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/store.h"
#include "store/view.h"
#include "tests/model/model.h"
#include "tests/model/writer.h"

/*
 * What a store must hold at a cut, by path, and comparisons with it. The first
 * difference ends the program, naming the path, what was wanted and what was
 * found.
 *
 * Thread-safety: none.
 */
struct expect {
	struct mtree t[WRITERS]; /* the models at the cut */
	uint64_t *hash;		 /* open addressing: of the path, 0: empty */
	uint32_t *ref;		 /* the node: tree and index */
	uint8_t *seen;		 /* by place in the table */
	size_t cap, n;
	uint64_t n_keys, n_expires;
	const char *where; /* what is compared with it, for messages */
};

/* Copies the models and counts; that is all that is needed at the cut. */
void expect_take(struct expect *x, const struct writer *w);

/* Makes the table of paths. To be called before any comparison. */
void expect_index(struct expect *x);

/* Begins a comparison with what is called @where. */
void expect_start(struct expect *x, const char *where);

/* Compares one entry of a view. */
void expect_entry(struct expect *x, const struct view_entry *e);

/* Ends the comparison of a view: nothing must be missing. */
void expect_no_more_entries(struct expect *x);

/* Compares with a whole store, by readdir and read, the way a mount sees it.
 * The store's clock must be before all deadlines. */
void expect_store(struct expect *x, struct store *st);
void expect_fini(struct expect *x);
