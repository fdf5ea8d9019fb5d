/* SPDX-License-Identifier: MIT */

/*
 * The elements of lists, sets, sorted sets and hashes in all of their forms:
 *
 *	strings	 count, then per element its strings (and score, deadline)
 *	blobs	 one string that is a compact form (compact.h), or, for lists, a
 *		 count and so many of them
 *
 * One walk serves the load, which checks and lets go, and everybody who wants
 * the elements of a payload that was kept. The first string of a pair is copied
 * if somebody looks at it, since the second may push it out of the buffer.
 */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "persist/compact.h"
#include "persist/rdb_payload.h"

enum {
	SCORE_NAN = 253, /* in the length byte of a score in text form */
	SCORE_INF = 254,
	SCORE_MINUS_INF = 255,
	SCORE_TEXT_MAX = 255,
	QUICKLIST_PLAIN = 1,
	QUICKLIST_PACKED = 2,
};

struct walk {
	struct in *in;
	rdb_walk_fn fn;
	void *arg;
	uint64_t n;
	uint8_t *held; /* the first string of a pair */
	size_t held_cap;
};

static int deliver(struct walk *w, const struct rdb_member *m)
{
	w->n++;
	return w->fn ? w->fn(w->arg, m) : 0;
}

/* --- scores ----------------------------------------------------------- */

static bool parse_score(struct span s, double *ret)
{
	char text[SCORE_TEXT_MAX + 1], *end;
	double d;

	if (s.len == 0 || s.len > SCORE_TEXT_MAX)
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	d = strtod(text, &end);
	if (end != text + s.len || isnan(d))
		return false;
	*ret = d;
	return true;
}

/* One length byte, which can be a special value, and text. */
static int read_text_score(struct in *in, double *ret)
{
	uint64_t offset = in_offset(in);
	uint8_t len;
	int r = in_byte(in, "score", &len);

	if (r < 0)
		return r;
	if (len == SCORE_INF || len == SCORE_MINUS_INF) {
		*ret = len == SCORE_INF ? INFINITY : -INFINITY;
		return 0;
	}
	if (len == SCORE_NAN)
		return in_damaged(in, offset, "score", "is not a number");
	r = in_need(in, len, "score");
	if (r < 0)
		return r;
	if (!parse_score(span_of(in->p, len), ret))
		return in_damaged(in, offset, "score", "is not a number");
	in->p += len;
	return 0;
}

static int read_binary_score(struct in *in, double *ret)
{
	uint64_t bits;
	double d;
	int r = in_need(in, 8, "score");

	if (r < 0)
		return r;
	bits = compact_le(in->p, 8);
	memcpy(&d, &bits, sizeof(d));
	if (isnan(d))
		return in_damaged(in, in_offset(in), "score",
				  "is not a number");
	in->p += 8;
	*ret = d;
	return 0;
}

/* --- forms made of strings -------------------------------------------- */

/* A string that stays while the next one is read. */
static int read_held(struct walk *w, const char *thing, struct span *ret)
{
	struct in *in = w->in;
	uint64_t offset = in_offset(in);
	struct span s;
	int r;

	if (!w->fn) {
		*ret = span_of(NULL, 0);
		return in_skip_string(in, thing);
	}
	r = in_string(in, thing, &s);
	if (r < 0)
		return r;
	if (s.len > w->held_cap) {
		mem_free(in->mem, w->held);
		w->held_cap = 0;
		w->held = mem_alloc(in->mem, s.len);
		if (!w->held)
			return in_fail(in, -ENOMEM, offset,
				       "no memory for %zu bytes", s.len);
		w->held_cap = s.len;
	}
	if (s.len)
		memcpy(w->held, s.ptr, s.len);
	*ret = span_of(w->held, s.len);
	return 0;
}

/* The last string of an element. */
static int read_last(struct walk *w, const char *thing, struct span *ret)
{
	*ret = span_of(NULL, 0);
	return w->fn ? in_string(w->in, thing, ret)
		     : in_skip_string(w->in, thing);
}

static int walk_strings(struct walk *w)
{
	struct rdb_member m = { .score = 0 };
	uint64_t count;
	int r = in_count(w->in, "number of elements", 1, &count);

	while (r == 0 && count--) {
		r = read_last(w, "element", &m.a);
		if (r == 0)
			r = deliver(w, &m);
	}
	return r;
}

static int walk_scored(struct walk *w, bool binary)
{
	struct rdb_member m = { .score = 0 };
	uint64_t count;
	int r = in_count(w->in, "number of members", binary ? 9 : 2, &count);

	while (r == 0 && count--) {
		r = read_held(w, "member", &m.a);
		if (r == 0)
			r = binary ? read_binary_score(w->in, &m.score)
				   : read_text_score(w->in, &m.score);
		if (r == 0)
			r = deliver(w, &m);
	}
	return r;
}

static int walk_fields(struct walk *w)
{
	struct rdb_member m = { .score = 0 };
	uint64_t count;
	int r = in_count(w->in, "number of fields", 2, &count);

	while (r == 0 && count--) {
		r = read_held(w, "field", &m.a);
		if (r == 0)
			r = read_last(w, "value", &m.b);
		if (r == 0)
			r = deliver(w, &m);
	}
	return r;
}

/* --- compact forms ---------------------------------------------------- */

static int bad_blob(struct walk *w, uint64_t offset, const struct compact *c)
{
	return in_damaged(w->in, offset, compact_name(c->form), "%s", c->why);
}

/* The next string of the stream as a compact form. */
static int open_blob(struct walk *w, enum compact_form form,
		     struct compact *ret)
{
	uint64_t offset = in_offset(w->in);
	struct span blob;
	int r = in_string(w->in, compact_name(form), &blob);

	if (r < 0)
		return r;
	if (compact_init(ret, form, blob) < 0)
		return bad_blob(w, offset, ret);
	return 0;
}

static int walk_blob(struct walk *w, enum compact_form form)
{
	uint64_t offset = in_offset(w->in);
	struct rdb_member m = { .score = 0 };
	struct compact_item item;
	struct compact c;
	int r = open_blob(w, form, &c);

	while (r == 0) {
		r = compact_next(&c, &item);
		if (r <= 0)
			return r < 0 ? bad_blob(w, offset, &c) : 0;
		if (w->fn)
			m.a = compact_text(&item);
		r = deliver(w, &m);
	}
	return r;
}

enum pair {
	PAIR_FIELD,
	PAIR_SCORE,
	TRIPLE_DEADLINE
};

/* The items that belong to one element, from the second on. */
static int read_rest(struct walk *w, struct compact *c, enum pair pair,
		     struct compact_item item[2], struct rdb_member *m)
{
	if (compact_next(c, &item[0]) <= 0)
		return compact_bad(c, c->why ? c->why
					     : "has an incomplete last pair");
	if (pair == PAIR_SCORE) {
		m->score = (double)item[0].integer;
		if (!item[0].is_int && !parse_score(item[0].text, &m->score))
			return compact_bad(c, "has a score that is no number");
		return 0;
	}
	if (w->fn)
		m->b = compact_text(&item[0]);
	if (pair == PAIR_FIELD)
		return 0;
	if (compact_next(c, &item[1]) <= 0)
		return compact_bad(c, c->why ? c->why
					     : "has a field without deadline");
	if (!item[1].is_int || item[1].integer < 0)
		return compact_bad(c, "has a deadline that is no number");
	m->expire_ms = item[1].integer;
	return 0;
}

static int walk_pairs(struct walk *w, enum compact_form form, enum pair pair)
{
	uint64_t offset = in_offset(w->in);
	struct rdb_member m = { .score = 0 };
	struct compact_item first, rest[2];
	struct compact c;
	int r = open_blob(w, form, &c);

	while (r == 0) {
		r = compact_next(&c, &first);
		if (r == 0)
			return 0;
		if (r < 0 || read_rest(w, &c, pair, rest, &m) < 0)
			return bad_blob(w, offset, &c);
		if (w->fn)
			m.a = compact_text(&first);
		r = deliver(w, &m);
	}
	return r;
}

/* --- lists of blobs --------------------------------------------------- */

static int walk_ziplists(struct walk *w)
{
	uint64_t count;
	int r = in_count(w->in, "number of nodes", 1, &count);

	while (r == 0 && count--)
		r = walk_blob(w, COMPACT_ZIPLIST);
	return r;
}

static int walk_node(struct walk *w)
{
	struct rdb_member m = { .score = 0 };
	uint64_t offset = in_offset(w->in), container;
	int r = in_length(w->in, "kind of node", &container);

	if (r < 0)
		return r;
	if (container == QUICKLIST_PACKED)
		return walk_blob(w, COMPACT_LISTPACK);
	if (container != QUICKLIST_PLAIN)
		return in_damaged(w->in, offset, "kind of node",
				  "is %" PRIu64 ", neither plain nor packed",
				  container);
	r = read_last(w, "element", &m.a);
	return r == 0 ? deliver(w, &m) : r;
}

static int walk_nodes(struct walk *w)
{
	uint64_t count;
	int r = in_count(w->in, "number of nodes", 2, &count);

	while (r == 0 && count--)
		r = walk_node(w);
	return r;
}

/* --- hashes with field deadlines -------------------------------------- */

/* The earliest deadline of all fields, to which the others are relative. */
static int read_earliest(struct in *in, int64_t *ret)
{
	int r = in_need(in, 8, "earliest deadline");

	if (r < 0)
		return r;
	*ret = (int64_t)compact_le(in->p, 8);
	in->p += 8;
	return 0;
}

static int read_deadline(struct in *in, int64_t earliest, int64_t *ret)
{
	uint64_t offset = in_offset(in), ttl;
	int r = in_length(in, "deadline", &ttl);

	if (r < 0)
		return r;
	*ret = 0;
	if (ttl && (ttl > INT64_MAX ||
		    __builtin_add_overflow(earliest, (int64_t)ttl - 1, ret)))
		return in_damaged(in, offset, "deadline", "is out of range");
	return 0;
}

static int walk_deadlines(struct walk *w)
{
	struct rdb_member m = { .score = 0 };
	int64_t earliest;
	uint64_t count;
	int r = read_earliest(w->in, &earliest);

	if (r == 0)
		r = in_count(w->in, "number of fields", 3, &count);
	while (r == 0 && count--) {
		r = read_deadline(w->in, earliest, &m.expire_ms);
		if (r == 0)
			r = read_held(w, "field", &m.a);
		if (r == 0)
			r = read_last(w, "value", &m.b);
		if (r == 0)
			r = deliver(w, &m);
	}
	return r;
}

static int walk_listpack_deadlines(struct walk *w)
{
	int64_t earliest;
	int r = read_earliest(w->in, &earliest);

	return r == 0 ? walk_pairs(w, COMPACT_LISTPACK, TRIPLE_DEADLINE) : r;
}

/* --- all -------------------------------------------------------------- */

static int walk_type(struct walk *w, uint8_t type)
{
	switch (type) {
	case RDB_TYPE_LIST:
	case RDB_TYPE_SET:
		return walk_strings(w);
	case RDB_TYPE_ZSET:
		return walk_scored(w, false);
	case RDB_TYPE_ZSET_2:
		return walk_scored(w, true);
	case RDB_TYPE_HASH:
		return walk_fields(w);
	case RDB_TYPE_HASH_ZIPMAP:
		return walk_pairs(w, COMPACT_ZIPMAP, PAIR_FIELD);
	case RDB_TYPE_LIST_ZIPLIST:
		return walk_blob(w, COMPACT_ZIPLIST);
	case RDB_TYPE_SET_INTSET:
		return walk_blob(w, COMPACT_INTSET);
	case RDB_TYPE_ZSET_ZIPLIST:
		return walk_pairs(w, COMPACT_ZIPLIST, PAIR_SCORE);
	case RDB_TYPE_HASH_ZIPLIST:
		return walk_pairs(w, COMPACT_ZIPLIST, PAIR_FIELD);
	case RDB_TYPE_LIST_QUICKLIST:
		return walk_ziplists(w);
	case RDB_TYPE_HASH_LISTPACK:
		return walk_pairs(w, COMPACT_LISTPACK, PAIR_FIELD);
	case RDB_TYPE_ZSET_LISTPACK:
		return walk_pairs(w, COMPACT_LISTPACK, PAIR_SCORE);
	case RDB_TYPE_LIST_QUICKLIST_2:
		return walk_nodes(w);
	case RDB_TYPE_SET_LISTPACK:
		return walk_blob(w, COMPACT_LISTPACK);
	case RDB_TYPE_HASH_METADATA:
		return walk_deadlines(w);
	case RDB_TYPE_HASH_LISTPACK_EX:
		return walk_listpack_deadlines(w);
	default:
		return in_fail(w->in, -ENOTSUP, in_offset(w->in),
			       "value type %u is no collection", type);
	}
}

int rdb_walk(struct in *in, uint8_t type, rdb_walk_fn fn, void *arg,
	     uint64_t *ret_n)
{
	struct walk w = { .in = in, .fn = fn, .arg = arg };
	int r = walk_type(&w, type);

	mem_free(in->mem, w.held);
	if (r == 0)
		*ret_n = w.n;
	return r;
}

struct adapter {
	rdb_member_fn fn;
	void *arg;
};

static int adapt(void *arg, const struct rdb_member *m)
{
	const struct adapter *a = arg;

	return a->fn(a->arg, m->a, m->b, m->score);
}

int rdb_members(uint8_t rdb_type, struct span payload, rdb_member_fn fn,
		void *arg)
{
	struct adapter a = { fn, arg };
	struct rdb_error err;
	struct mem mem;
	struct in in;
	uint64_t n;
	int r;

	mem_init(&mem);
	in_init_bytes(&in, payload, &mem, false, &err);
	r = rdb_walk(&in, rdb_type, adapt, &a, &n);
	if (r == 0 && in_left(&in) != 0)
		r = -EBADMSG;
	in_fini(&in);
	return r;
}
