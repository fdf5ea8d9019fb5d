/* SPDX-License-Identifier: MIT */

/*
 * What modules store is a sequence of tagged items, so that it can be passed
 * without the module:
 *
 *	0 end · 1 signed, 2 unsigned: a length · 3 float: 4 bytes ·
 *	4 double: 8 bytes · 5 string
 */

#include <errno.h>
#include <inttypes.h>

#include "persist/rdb_payload.h"

enum {
	ITEM_END = 0,
	ITEM_SIGNED = 1,
	ITEM_UNSIGNED = 2,
	ITEM_FLOAT = 3,
	ITEM_DOUBLE = 4,
	ITEM_STRING = 5,
};

static int skip_item(struct in *in, uint64_t tag, uint64_t offset)
{
	uint64_t ignored;

	switch (tag) {
	case ITEM_SIGNED:
	case ITEM_UNSIGNED:
		return in_length(in, "number of a module", &ignored);
	case ITEM_FLOAT:
		return in_skip(in, 4, "number of a module");
	case ITEM_DOUBLE:
		return in_skip(in, 8, "number of a module");
	case ITEM_STRING:
		return in_skip_string(in, "string of a module");
	default:
		return in_damaged(in, offset, "item of a module",
				  "has the unknown tag %" PRIu64, tag);
	}
}

static int skip_items(struct in *in)
{
	for (;;) {
		uint64_t offset = in_offset(in), tag;
		int r = in_length(in, "item of a module", &tag);

		if (r < 0 || tag == ITEM_END)
			return r;
		r = skip_item(in, tag, offset);
		if (r < 0)
			return r;
	}
}

int rdb_walk_module(struct in *in)
{
	uint64_t id;
	int r = in_length(in, "id of a module", &id);

	return r == 0 ? skip_items(in) : r;
}

int rdb_walk_module_aux(struct in *in)
{
	uint64_t id, offset, tag, when;
	int r = in_length(in, "id of a module", &id);

	offset = in_offset(in);
	if (r == 0)
		r = in_length(in, "time of a module's data", &tag);
	if (r == 0 && tag != ITEM_UNSIGNED)
		return in_damaged(in, offset, "time of a module's data",
				  "has the unknown tag %" PRIu64, tag);
	if (r == 0)
		r = in_length(in, "time of a module's data", &when);
	return r == 0 ? skip_items(in) : r;
}
