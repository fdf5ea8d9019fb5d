/* SPDX-License-Identifier: MIT */

/*
 * The common part of the compact forms, and the smallest of them:
 *
 *	intset   u32 width (2, 4, 8), u32 count, signed integers, strictly
 *		 ascending; all little-endian
 */

#include "persist/compact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
	INTSET_HEADER = 8
};

const char *compact_name(enum compact_form form)
{
	static const char *const names[] = {
		[COMPACT_LISTPACK] = "listpack",
		[COMPACT_ZIPLIST] = "ziplist",
		[COMPACT_INTSET] = "intset",
		[COMPACT_ZIPMAP] = "zipmap",
	};

	return names[form];
}

int compact_bad(struct compact *c, const char *why)
{
	c->why = why;
	return -EBADMSG;
}

static int intset_init(struct compact *c, struct span blob)
{
	const uint8_t *p = blob.ptr;
	uint64_t count;

	if (blob.len < INTSET_HEADER)
		return compact_bad(c, "is too short for its header");
	c->width = (uint32_t)compact_le(p, 4);
	count = compact_le(p + 4, 4);
	if (c->width != 2 && c->width != 4 && c->width != 8)
		return compact_bad(c, "has integers of an impossible width");
	if (count * c->width != blob.len - INTSET_HEADER)
		return compact_bad(c, "has another size than its count says");
	c->announced = count;
	c->p = p + INTSET_HEADER;
	c->end = p + blob.len;
	return 0;
}

static int intset_next(struct compact *c, struct compact_item *ret)
{
	int64_t v;

	if (c->p == c->end)
		return 0;
	v = compact_signed(compact_le(c->p, c->width), c->width * 8);
	if (c->n && v <= c->previous)
		return compact_bad(c, "is not in ascending order");
	c->previous = v;
	c->p += c->width;
	ret->is_int = true;
	ret->integer = v;
	return 1;
}

int compact_init(struct compact *c, enum compact_form form, struct span blob)
{
	*c = (struct compact){ .form = form, .start = blob.ptr };
	switch (form) {
	case COMPACT_LISTPACK:
		return listpack_init(c, blob);
	case COMPACT_ZIPLIST:
		return ziplist_init(c, blob);
	case COMPACT_INTSET:
		return intset_init(c, blob);
	case COMPACT_ZIPMAP:
		return zipmap_init(c, blob);
	}
	return compact_bad(c, "is of no known form");
}

static int next_of_form(struct compact *c, struct compact_item *ret)
{
	switch (c->form) {
	case COMPACT_LISTPACK:
		return listpack_next(c, ret);
	case COMPACT_ZIPLIST:
		return ziplist_next(c, ret);
	case COMPACT_INTSET:
		return intset_next(c, ret);
	case COMPACT_ZIPMAP:
		return zipmap_next(c, ret);
	}
	return compact_bad(c, "is of no known form");
}

int compact_next(struct compact *c, struct compact_item *ret)
{
	int r = next_of_form(c, ret);

	if (r > 0)
		c->n++;
	else if (r == 0 && c->announced != COMPACT_UNCOUNTED &&
		 c->announced != c->n)
		return compact_bad(c, "has another number of elements than "
				      "its header says");
	return r;
}

struct span compact_text(struct compact_item *item)
{
	int len;

	if (!item->is_int)
		return item->text;
	len = snprintf(item->digits, sizeof(item->digits), "%" PRId64,
		       item->integer);
	return span_of(item->digits, (size_t)len);
}
