/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/defs.h"
#include "store/span.h"

/*
 * Redis' compact forms of small collections, each a single string of bytes:
 * listpack, ziplist, intset, zipmap. One cursor walks all four and checks
 * everything on the way: bounds, end byte, announced sizes and counts, back
 * links. A walk that came to its end without an error has seen every byte.
 *
 * Thread-safety: pure; a cursor belongs to one thread.
 */
enum compact_form {
	COMPACT_LISTPACK,
	COMPACT_ZIPLIST,
	COMPACT_INTSET,
	COMPACT_ZIPMAP, /* field, value, field, value, ... */
};

/* One element: bytes, or an integer that stands for its decimal text. */
struct compact_item {
	struct span text; /* if not is_int */
	int64_t integer;
	bool is_int;
	char digits[24]; /* for compact_text() */
};

struct compact {
	const uint8_t *p, *end; /* next entry; the last byte, or the end */
	uint64_t announced;	/* elements; COMPACT_UNCOUNTED: not said */
	uint64_t n;		/* elements delivered */
	int64_t previous;	/* intset: the last integer */
	uint32_t width;		/* intset: bytes per integer */
	uint32_t entry_len;	/* ziplist: bytes of the previous entry */
	uint32_t tail; /* ziplist: announced offset of the last entry */
	const uint8_t *start;
	enum compact_form form;
	const char *why; /* clause after -EBADMSG: "has no end byte", ... */
};

#define COMPACT_UNCOUNTED UINT64_MAX

/* Name of a form for messages: "listpack", ... */
const char *compact_name(enum compact_form form);

/**
 * compact_init() - start a walk
 * @blob: borrowed; must stay as long as its items are in use
 * Return: 0; -EBADMSG if the header is wrong: see @c->why.
 */
MUST_CHECK int compact_init(struct compact *c, enum compact_form form,
			    struct span blob);

/**
 * compact_next() - the next element
 * Return: 1; 0 at the end, when all has been checked; -EBADMSG: see @c->why.
 */
MUST_CHECK int compact_next(struct compact *c, struct compact_item *ret);

/* The bytes of an element; valid as long as @item. */
struct span compact_text(struct compact_item *item);

/* --- for the forms' own files ----------------------------------------- */

/* Notes why and returns -EBADMSG. */
int compact_bad(struct compact *c, const char *why);

/* Little-endian integers. */
static inline uint64_t compact_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static inline int64_t compact_signed(uint64_t v, unsigned bits)
{
	return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

MUST_CHECK int listpack_init(struct compact *c, struct span blob);
MUST_CHECK int listpack_next(struct compact *c, struct compact_item *ret);
MUST_CHECK int ziplist_init(struct compact *c, struct span blob);
MUST_CHECK int ziplist_next(struct compact *c, struct compact_item *ret);
MUST_CHECK int zipmap_init(struct compact *c, struct span blob);
MUST_CHECK int zipmap_next(struct compact *c, struct compact_item *ret);
