/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/span.h"
#include "store/store.h"
#include "store/value.h"

/*
 * A view: the keyspace as it was at one instant, the cut, while changes go on.
 *
 *   V1  Each key that existed at the cut is delivered exactly once, with the
 *       path, value, deadline and facts it had at the cut; also one whose
 *       deadline has passed, until store_expire() removes it.
 *   V2  No key that was made after the cut is delivered.
 *   V3  A writer never waits for the view beyond one short lock section. The
 *       first change to a node that the view has not passed sets the node's
 *       image aside, by reference: O(1), and the value is shared, not copied.
 *
 * One view at a time. Nothing is forked.
 *
 * Thread-safety: one thread at a time uses a view, except for view_progress() and
 * view_cancel(), which any thread may call while it is open.
 */
struct view;

struct view_entry {
	uint32_t db;
	enum store_type type; /* never STORE_NONE, never STORE_MEMBER.
			       * STORE_DIR comes just if facts.mask is not 0 */
	uint8_t rdb_type;     /* STORE_TYPED, STORE_OPAQUE */
	struct span key;      /* the key's bytes; directories: none */
	struct span path;     /* the path, as name.h's */
	struct span data;     /* content, if value is NULL */
	struct value *value;  /* content too large to be staged, or NULL */
	int64_t expire_ms;    /* 0: never */
	int64_t mtime_ns;
	int64_t idle_s; /* -1: not known */
	int freq;	/* -1: not known */
	struct store_facts facts;
};

/**
 * view_begin() - make the cut
 * @at_cut:  called at the cut, under the store's lock, so that a log can be
 *           switched at the same instant; may be NULL
 * @ret:     set on success; ends with view_end()
 * Return: 0; -EBUSY if there is one already; -ENOMEM.
 */
MUST_CHECK int view_begin(struct store *st, void (*at_cut)(void *arg),
			  void *arg, struct view **ret);

/**
 * view_next() - deliver the next entry
 * @ret: set when 1 is returned; what it points to is valid until the next
 *       call on this view
 * Return: 1; 0 at the end; -ENOBUFS if images took more than max_view bytes
 *         and the view was given up; -ECANCELED after view_cancel(); -ENOMEM.
 */
MUST_CHECK int view_next(struct view *v, struct view_entry *ret);

/* Ends the view, finished or not, and frees it. Takes time if not finished:
 * the rest is walked so that no mark of it stays. NULL is allowed. */
void view_end(struct view *v);

/* Makes the next view_next() answer -ECANCELED. Any thread. */
void view_cancel(struct view *v);

/* Part of the slots passed, 0..1. Any thread. */
double view_progress(const struct view *v);

/* store_stats.changes at the cut. */
uint64_t view_changes(const struct view *v);

/* Wall clock at the cut, milliseconds since the epoch. */
int64_t view_cut_ms(const struct view *v);

/* The separator of the paths (name.h). */
char view_sep(const struct view *v);

/* Databases with a root at the cut: 0 .. n-1. */
uint32_t view_n_dbs(const struct view *v);

/* Keys, and keys with a deadline, of @db at the cut. */
void view_db_size(const struct view *v, uint32_t db, uint64_t *ret_keys,
		  uint64_t *ret_expires);

/* Number of the first free one among the names `__keyfs__`, `__keyfs__1`, ... in
 * the root of database 0 at the cut; 0 stands for the name without a number. */
unsigned view_facts_key(const struct view *v);
