/* SPDX-License-Identifier: MIT */

/*
 * Redis' DEBUG DIGEST of a view. With H for SHA-1 and two operations on a sum S
 * of 20 bytes,
 *
 *	xor(S, x)   S = S ^ H(x)
 *	mix(S, x)   S = H(S ^ H(x))
 *
 * the digest of a key is K, from zeros:
 *
 *	mix(K, name), mix(K, type as u32 big-endian), then
 *	string	mix(K, value)
 *	list	mix(K, element), in order
 *	set	xor(K, member)
 *	zset	E from zeros: mix(E, member), mix(E, score by %.17g); xor(K, E)
 *	hash	E from zeros: mix(E, field), mix(E, value); xor(K, E)
 *	stream	per live entry: mix(K, "ms.seq"), then mix each field and value
 *	and with a deadline: xor(K, "!!expire!!")
 *
 * and the digest of everything is F, from zeros: for each database that has
 * keys, in order: mix(F, its number as u32 big-endian), then xor(F, K) for each
 * key. A view delivers keys of all databases mixed. As xor commutes, the keys
 * of each database are summed by themselves and joined with F at the end.
 *
 * The facts hash is a key to Redis, so it is summed as the writer would write
 * it.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>

#include "persist/facts.h"
#include "persist/rdb_payload.h"

enum {
	SUM = SHA1_DIGEST_SIZE,
	TEXT_MAX = 48, /* "ms.seq", a score */
	IOV_MAX_ONCE = 64,
};
static_assert(2 * SUM == RDB_DIGEST_HEX, "SHA-1 in hex");

struct sum {
	uint8_t b[SUM];
};

struct db_sum {
	struct sum keys;
	bool used;
};

struct digest {
	struct mem mem; /* for what is temporary here */
	struct db_sum *db;
	uint32_t n_dbs;
	struct facts_hash facts;
	struct sum key; /* of the key in hand */
	enum rdb_kind kind;
};

/* --- sums ------------------------------------------------------------- */

static struct sum hash(struct span s)
{
	struct sha1_ctx ctx;
	struct sum h;

	sha1_init(&ctx);
	sha1_update(&ctx, s.len, s.ptr);
	sha1_digest(&ctx, SUM, h.b);
	return h;
}

static void xor_sum(struct sum *s, const struct sum *x)
{
	for (int i = 0; i < SUM; i++)
		s->b[i] ^= x->b[i];
}

static void xor_span(struct sum *s, struct span x)
{
	struct sum h = hash(x);

	xor_sum(s, &h);
}

/* mix() of what has the hash @h. */
static void mix_hash(struct sum *s, const struct sum *h)
{
	xor_sum(s, h);
	*s = hash(span_of(s->b, SUM));
}

static void mix(struct sum *s, struct span x)
{
	struct sum h = hash(x);

	mix_hash(s, &h);
}

static void mix_u32(struct sum *s, uint32_t v)
{
	uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16),
			  (uint8_t)(v >> 8), (uint8_t)v };

	mix(s, span_of(be, sizeof(be)));
}

static void mix_value(struct sum *s, const struct value *v)
{
	struct iovec iov[IOV_MAX_ONCE];
	struct sha1_ctx ctx;
	uint64_t off = 0;
	struct sum h;
	int n;

	sha1_init(&ctx);
	while ((n = value_iov(v, off, SIZE_MAX >> 1, iov, IOV_MAX_ONCE)) > 0) {
		for (int i = 0; i < n; i++) {
			sha1_update(&ctx, iov[i].iov_len, iov[i].iov_base);
			off += iov[i].iov_len;
		}
	}
	sha1_digest(&ctx, SUM, h.b);
	mix_hash(s, &h);
}

/* --- elements --------------------------------------------------------- */

static void xor_pair(struct sum *key, struct span a, struct span b)
{
	struct sum e = { { 0 } };

	mix(&e, a);
	mix(&e, b);
	xor_span(key, span_of(e.b, SUM));
}

/* A rdb_walk_fn. */
static int add_element(void *arg, const struct rdb_member *m)
{
	struct digest *d = arg;
	char text[TEXT_MAX];
	int len;

	switch (d->kind) {
	case RDB_KIND_LIST:
		mix(&d->key, m->a);
		break;
	case RDB_KIND_SET:
		xor_span(&d->key, m->a);
		break;
	case RDB_KIND_ZSET:
		len = snprintf(text, sizeof(text), "%.17g", m->score);
		xor_pair(&d->key, m->a, span_of(text, (size_t)len));
		break;
	default:
		xor_pair(&d->key, m->a, m->b);
		break;
	}
	return 0;
}

static int add_stream_entry(void *arg, uint64_t ms, uint64_t seq)
{
	struct digest *d = arg;
	char text[TEXT_MAX];
	int len = snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64, ms, seq);

	mix(&d->key, span_of(text, (size_t)len));
	return 0;
}

static int add_stream_text(void *arg, struct span s)
{
	struct digest *d = arg;

	mix(&d->key, s);
	return 0;
}

/* The elements of a payload in one piece. */
static int add_payload(struct digest *d, uint8_t type, struct span payload)
{
	const struct rdb_stream_visitor v = {
		.entry = add_stream_entry,
		.text = add_stream_text,
		.arg = d,
	};
	struct rdb_error err;
	struct in in;
	uint64_t n;
	int r;

	in_init_bytes(&in, payload, &d->mem, false, &err);
	if (d->kind == RDB_KIND_STREAM)
		r = rdb_walk_stream(&in, type, &v);
	else
		r = rdb_walk(&in, type, add_element, d, &n);
	if (r == 0 && in_left(&in))
		r = -EBADMSG;
	in_fini(&in);
	return r;
}

static int add_payload_value(struct digest *d, uint8_t type,
			     const struct value *v)
{
	size_t len = (size_t)value_size(v);
	void *p = mem_alloc(&d->mem, len + 1);
	int r;

	if (!p)
		return -ENOMEM;
	(void)value_read(v, 0, p, len);
	r = add_payload(d, type, span_of(p, len));
	mem_free(&d->mem, p);
	return r;
}

/* --- keys ------------------------------------------------------------- */

/* Redis' number of a type in memory; -1 if it has none. */
static int object_type(enum rdb_kind kind)
{
	switch (kind) {
	case RDB_KIND_STRING:
		return 0;
	case RDB_KIND_LIST:
		return 1;
	case RDB_KIND_SET:
		return 2;
	case RDB_KIND_ZSET:
		return 3;
	case RDB_KIND_HASH:
		return 4;
	case RDB_KIND_STREAM:
		return 6;
	default:
		return -1;
	}
}

static void begin_key(struct digest *d, struct span name, enum rdb_kind kind)
{
	d->key = (struct sum){ { 0 } };
	d->kind = kind;
	mix(&d->key, name);
	mix_u32(&d->key, (uint32_t)object_type(kind));
}

static void end_key(struct digest *d, uint32_t db)
{
	xor_span(&d->db[db].keys, span_of(d->key.b, SUM));
	d->db[db].used = true;
}

static int add_content(struct digest *d, const struct view_entry *e)
{
	if (d->kind != RDB_KIND_STRING)
		return e->value ? add_payload_value(d, e->rdb_type, e->value)
				: add_payload(d, e->rdb_type, e->data);
	if (e->value)
		mix_value(&d->key, e->value);
	else
		mix(&d->key, e->data);
	return 0;
}

static int add_entry(struct digest *d, const struct view_entry *e)
{
	enum rdb_kind kind = RDB_KIND_STRING;
	int r = 0;

	if (e->db == 0)
		r = facts_hash_add(&d->facts, e->path, &e->facts);
	if (r < 0 || e->type == STORE_DIR)
		return r;
	if (e->type == STORE_TYPED || e->type == STORE_OPAQUE)
		kind = rdb_kind_of(e->rdb_type);
	if (object_type(kind) < 0)
		return -ENOTSUP;
	assert(e->db < d->n_dbs);
	begin_key(d, e->key, kind);
	r = add_content(d, e);
	if (r < 0)
		return r;
	if (e->expire_ms)
		xor_span(&d->key, span_str("!!expire!!"));
	end_key(d, e->db);
	return 0;
}

static void add_facts(struct digest *d, unsigned number)
{
	char name[FACTS_KEY_MAX];
	struct span field, value;
	size_t pos = 0;

	if (facts_hash_count(&d->facts) == 0)
		return;
	begin_key(d, facts_key_print(number, name), RDB_KIND_HASH);
	while (facts_hash_next(&d->facts, &pos, &field, &value))
		xor_pair(&d->key, field, value);
	end_key(d, 0);
}

static void finish(const struct digest *d, char hex[RDB_DIGEST_HEX + 1])
{
	struct sum all = { { 0 } };

	for (uint32_t i = 0; i < d->n_dbs; i++) {
		if (!d->db[i].used)
			continue;
		mix_u32(&all, i);
		xor_sum(&all, &d->db[i].keys);
	}
	for (int i = 0; i < SUM; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", all.b[i]);
}

int rdb_digest(struct view *v, char hex[RDB_DIGEST_HEX + 1])
{
	struct digest d = { .n_dbs = MAX(view_n_dbs(v), 1U) };
	struct view_entry e;
	int r;

	mem_init(&d.mem);
	facts_hash_init(&d.facts, &d.mem, view_sep(v));
	d.db = mem_zalloc(&d.mem, d.n_dbs * sizeof(*d.db));
	if (!d.db)
		return -ENOMEM;
	while ((r = view_next(v, &e)) == 1) {
		r = add_entry(&d, &e);
		if (r < 0)
			break;
	}
	if (r == 0) {
		add_facts(&d, view_facts_key(v));
		finish(&d, hex);
	}
	facts_hash_fini(&d.facts);
	mem_free(&d.mem, d.db);
	return r;
}
