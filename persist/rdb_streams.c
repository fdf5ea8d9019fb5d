/* SPDX-License-Identifier: MIT */

/*
 * Redis' streams, walked to find their end and to see that they are whole.
 *
 *	nodes	   count; per node its first id (a string of 16 bytes, big-
 *		   endian) and a listpack, see below
 *	figures	   entries, last id (2 lengths); from 19 on also first id, highest
 *		   deleted id, entries ever added
 *	groups	   count; per group: name, last id, from 19 on entries read;
 *		   pending entries: count, each id of 16 bytes, i64 time, count;
 *		   consumers: count, each name, i64 seen, from 21 on i64 active,
 *		   its pending: count, each id of 16 bytes
 *
 * The listpack of a node starts with a master entry, whose fields later entries
 * can share:
 *
 *	live entries, deleted entries, n, n fields, 0
 *
 * and each entry is
 *
 *	flags, ms and seq relative to the node's id,
 *	with flag SAMEFIELDS: n values; without: m, m times field and value,
 *	the number of elements of this entry before this one
 */

#include <errno.h>
#include <string.h>

#include "persist/compact.h"
#include "persist/rdb_payload.h"

enum {
	ID_BYTES = 16,
	FLAG_DELETED = 1,
	FLAG_SAMEFIELDS = 2,
	ENTRY_HEAD = 3, /* flags, ms, seq */
};

struct node {
	struct compact c;
	uint64_t ms, seq; /* first id */
	uint64_t n_live, n_deleted, n_fields;
	struct compact fields; /* a walk that stands before the first one */
	struct compact next_field;
	const struct rdb_stream_visitor *v;
};

static uint64_t read_be64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* --- a node's listpack ------------------------------------------------ */

static int next_item(struct node *n, struct compact_item *ret)
{
	int r = compact_next(&n->c, ret);

	return r > 0	? 0
	       : r == 0 ? compact_bad(&n->c, "ends within an entry of a stream")
			: r;
}

static int next_int(struct node *n, int64_t *ret)
{
	struct compact_item item;
	int r = next_item(n, &item);

	if (r < 0)
		return r;
	if (!item.is_int)
		return compact_bad(&n->c, "has text where a stream's entry has "
					  "a number");
	*ret = item.integer;
	return 0;
}

/* A number of things of which each takes a byte. */
static int next_count(struct node *n, uint64_t *ret)
{
	int64_t v;
	int r = next_int(n, &v);

	if (r < 0)
		return r;
	if (v < 0 || v > n->c.end - n->c.p)
		return compact_bad(&n->c, "has an impossible count in a "
					  "stream's entry");
	*ret = (uint64_t)v;
	return 0;
}

static int read_master(struct node *n)
{
	struct compact_item item;
	int64_t end;
	int r = next_count(n, &n->n_live);

	if (r == 0)
		r = next_count(n, &n->n_deleted);
	if (r == 0)
		r = next_count(n, &n->n_fields);
	n->fields = n->c;
	for (uint64_t i = 0; r == 0 && i < n->n_fields; i++)
		r = next_item(n, &item);
	if (r == 0)
		r = next_int(n, &end);
	if (r == 0 && end != 0)
		r = compact_bad(&n->c, "has a master entry without end mark");
	return r;
}

static int visit(struct node *n, struct compact_item *item)
{
	return n->v->text(n->v->arg, compact_text(item));
}

/* The values of an entry that has the master's fields, or fields and values of
 * one that has its own. */
static int read_fields(struct node *n, bool same, uint64_t count, bool visited)
{
	struct compact_item item;
	int r = 0;

	n->next_field = n->fields;
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		if (same) {
			/* The master's fields have been walked once. */
			(void)!compact_next(&n->next_field, &item);
		} else {
			r = next_item(n, &item);
		}
		if (r == 0 && visited)
			r = visit(n, &item);
		if (r == 0)
			r = next_item(n, &item);
		if (r == 0 && visited)
			r = visit(n, &item);
	}
	return r;
}

/* One entry, whose flags have been read. */
static int read_entry(struct node *n, int64_t flags)
{
	bool same = flags & FLAG_SAMEFIELDS, visited;
	uint64_t count = n->n_fields, elements;
	int64_t ms, seq, announced;
	int r = next_int(n, &ms);

	if (r == 0)
		r = next_int(n, &seq);
	if (r == 0 && !same)
		r = next_count(n, &count);
	if (r < 0)
		return r;
	visited = n->v && !(flags & FLAG_DELETED);
	if (visited)
		r = n->v->entry(n->v->arg, n->ms + (uint64_t)ms,
				n->seq + (uint64_t)seq);
	if (r == 0)
		r = read_fields(n, same, count, visited);
	if (r == 0)
		r = next_int(n, &announced);
	if (r != 0)
		return r;
	elements = ENTRY_HEAD + (same ? count : 1 + 2 * count);
	if (announced < 0 || (uint64_t)announced != elements)
		return compact_bad(&n->c, "has a wrong length of a stream's "
					  "entry");
	return 0;
}

static int read_entries(struct node *n)
{
	uint64_t live = 0, deleted = 0;
	struct compact_item item;
	int r = read_master(n);

	while (r == 0) {
		r = compact_next(&n->c, &item);
		if (r <= 0)
			break;
		if (!item.is_int)
			return compact_bad(&n->c, "has text where a stream's "
						  "entry has its flags");
		if (item.integer & FLAG_DELETED)
			deleted++;
		else
			live++;
		r = read_entry(n, item.integer);
	}
	if (r != 0)
		return r;
	if (live != n->n_live || deleted != n->n_deleted)
		return compact_bad(&n->c, "has another number of entries than "
					  "its master entry says");
	return 0;
}

static int walk_node(struct in *in, const struct rdb_stream_visitor *v)
{
	struct node n = { .v = v };
	uint64_t offset = in_offset(in);
	struct span s;
	int r = in_string(in, "id of a stream's node", &s);

	if (r < 0)
		return r;
	if (s.len != ID_BYTES)
		return in_damaged(in, offset, "id of a stream's node",
				  "has %zu bytes", s.len);
	n.ms = read_be64(s.ptr);
	n.seq = read_be64((const uint8_t *)s.ptr + 8);
	offset = in_offset(in);
	r = in_string(in, "listpack", &s);
	if (r < 0)
		return r;
	r = compact_init(&n.c, COMPACT_LISTPACK, s);
	if (r == 0)
		r = read_entries(&n);
	if (r < 0 && n.c.why)
		return in_damaged(in, offset, "listpack", "%s", n.c.why);
	return r;
}

/* --- groups ----------------------------------------------------------- */

static int skip_lengths(struct in *in, unsigned n, const char *thing)
{
	uint64_t ignored;
	int r = 0;

	while (r == 0 && n--)
		r = in_length(in, thing, &ignored);
	return r;
}

static int skip_pending(struct in *in)
{
	uint64_t count;
	int r = in_count(in, "number of pending entries", ID_BYTES + 8 + 1,
			 &count);

	while (r == 0 && count--) {
		r = in_skip(in, ID_BYTES + 8, "pending entry");
		if (r == 0)
			r = skip_lengths(in, 1, "pending entry");
	}
	return r;
}

static int skip_consumer(struct in *in, uint8_t type)
{
	uint64_t count;
	int r = in_skip_string(in, "name of a consumer");

	if (r == 0)
		r = in_skip(in, 8, "seen-time of a consumer");
	if (r == 0 && type == RDB_TYPE_STREAM_LISTPACKS_3)
		r = in_capture_omit(in, 8, "active-time of a consumer");
	if (r == 0)
		r = in_count(in, "number of a consumer's entries", ID_BYTES,
			     &count);
	if (r == 0)
		r = in_skip(in, count * ID_BYTES, "entry of a consumer");
	return r;
}

static int skip_group(struct in *in, uint8_t type)
{
	bool has_read = type != RDB_TYPE_STREAM_LISTPACKS;
	uint64_t count;
	int r = in_skip_string(in, "name of a consumer group");

	if (r == 0)
		r = skip_lengths(in, 2 + has_read,
				 "figure of a consumer group");
	if (r == 0)
		r = skip_pending(in);
	if (r == 0)
		r = in_count(in, "number of consumers", 1 + 8 + 1, &count);
	while (r == 0 && count--)
		r = skip_consumer(in, type);
	return r;
}

int rdb_walk_stream(struct in *in, uint8_t type,
		    const struct rdb_stream_visitor *v)
{
	unsigned figures = type == RDB_TYPE_STREAM_LISTPACKS ? 3 : 8;
	uint64_t count;
	int r = in_count(in, "number of a stream's nodes", ID_BYTES + 2,
			 &count);

	while (r == 0 && count--)
		r = walk_node(in, v);
	if (r == 0)
		r = skip_lengths(in, figures, "figure of a stream");
	if (r == 0)
		r = in_count(in, "number of consumer groups", 5, &count);
	while (r == 0 && count--)
		r = skip_group(in, type);
	return r;
}
