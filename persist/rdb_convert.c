/* SPDX-License-Identifier: MIT */

/*
 * Sets and hashes in forms that version 10 does not have become plain ones: a
 * count and strings. The count is known when the deadlines of all fields are,
 * so the strings gather in a buffer first.
 */

#include <errno.h>
#include <string.h>

#include "persist/rdb_payload.h"

enum {
	LENGTH_MAX = 9,
	BODY_MIN = 4096,
};

struct body {
	struct in *in;
	uint8_t *bytes;
	size_t len, cap;
	int64_t now_ms;
	bool is_hash;
	struct rdb_converted done;
};

static size_t put_be(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = n; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
	return n;
}

/* A length in its shortest form. Return: its bytes, at most LENGTH_MAX. */
static size_t put_length(uint8_t *p, uint64_t len)
{
	if (len < 1 << 6) {
		p[0] = (uint8_t)len;
		return 1;
	}
	if (len < 1 << 14)
		return put_be(p, len | 0x4000, 2);
	p[0] = len <= UINT32_MAX ? 0x80 : 0x81;
	return 1 + put_be(p + 1, len, len <= UINT32_MAX ? 4 : 8);
}

static int fail_memory(struct in *in)
{
	return in_fail(in, -ENOMEM, in_offset(in), "no memory for a %s",
		       "collection");
}

static int add_string(struct body *b, struct span s)
{
	size_t need = b->len + LENGTH_MAX + s.len;

	if (need > b->cap) {
		size_t cap = MAX(need + need / 2, (size_t)BODY_MIN);
		uint8_t *p = mem_realloc(b->in->mem, b->bytes, cap);

		if (!p)
			return fail_memory(b->in);
		b->bytes = p;
		b->cap = cap;
	}
	b->len += put_length(b->bytes + b->len, s.len);
	if (s.len)
		memcpy(b->bytes + b->len, s.ptr, s.len);
	b->len += s.len;
	return 0;
}

static int add_member(void *arg, const struct rdb_member *m)
{
	struct body *b = arg;
	int r;

	if (m->expire_ms) {
		b->done.had_deadlines = true;
		if (b->now_ms && m->expire_ms < b->now_ms) {
			b->done.expired++;
			return 0;
		}
	}
	b->done.n++;
	r = add_string(b, m->a);
	if (r == 0 && b->is_hash)
		r = add_string(b, m->b);
	return r;
}

static int make_value(struct body *b)
{
	uint8_t count[LENGTH_MAX];
	struct value *v = NULL;
	int r = value_append(b->in->mem, &v, count,
			     put_length(count, b->done.n));

	if (r == 0 && b->len)
		r = value_append(b->in->mem, &v, b->bytes, b->len);
	if (r < 0) {
		value_unref(b->in->mem, v);
		return fail_memory(b->in);
	}
	b->done.value = v;
	return 0;
}

int rdb_convert(struct in *in, uint8_t type, int64_t now_ms,
		struct rdb_converted *ret)
{
	struct body b = { .in = in, .now_ms = now_ms };
	uint64_t n;
	int r;

	b.is_hash = rdb_kind_of(type) == RDB_KIND_HASH;
	b.done.type = b.is_hash ? RDB_TYPE_HASH : RDB_TYPE_SET;
	r = rdb_walk(in, type, add_member, &b, &n);
	if (r == 0)
		r = make_value(&b);
	mem_free(in->mem, b.bytes);
	if (r == 0)
		*ret = b.done;
	return r;
}
