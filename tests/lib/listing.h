/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"
#include "store/view.h"

/*
 * A keyspace as text: one line for each thing that a dump must hold, sorted, so
 * that two can be compared by strcmp(). A line has the path, the type, the
 * facts that differ from the default, the deadline and a hash of the content;
 * a directory has one only if it is empty or has facts.
 *
 * Explicit times must be recognisable, since a stat does not tell them from
 * implicit ones: tests set times that end in LISTING_SET_NS nanoseconds and
 * run the store on a clock of whole microseconds.
 */
enum {
	LISTING_SET_NS = 777
};

struct listing {
	char **line;
	size_t n, cap;
};

/* Walks the store by lookup, readdir and read, as a mount would. */
void listing_of_store(struct store *st, struct listing *ret);

/* Takes all that is left of a view; fails the test if the view fails. */
void listing_of_view(struct view *v, struct listing *ret);

/* Adds one entry of a view. */
void listing_add_entry(struct listing *l, const struct view_entry *e);
void listing_sort(struct listing *l);

/* Fails the test, with the first difference, unless both are the same. */
void listing_assert_eq(const struct listing *want, const struct listing *got);
void listing_fini(struct listing *l);
