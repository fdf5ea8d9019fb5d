/* SPDX-License-Identifier: MIT */

/*
 * Collections as directories: the payload of a node is read, decoded and handed
 * back as members. Names and contents gather in one run of bytes, members as
 * offsets into it, since it moves while it grows; they become spans at the end.
 *
 * Two members with one name are damage that no walk sees, as each is whole. The
 * names are sorted to find it, so that no directory shows a name twice.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/rdb.h"
#include "store/name.h"

enum {
	MEMBERS_MIN = 64,
	BYTES_MIN = 4096,
	CONTENT_MAX = 32, /* a score with its newline, a list's index */
	READ_MAX = 1 << 20,
};

struct piece {
	size_t name, name_len, data_len; /* the data follow the name */
};

struct fill {
	struct mem *mem;
	enum rdb_kind kind;
	struct piece *v;
	size_t n, cap;
	char *bytes;
	size_t len, bytes_cap;
};

/* Room for @need things of @size bytes. Return: @p, or where it has moved; NULL
 * if out of memory, and @p stays. */
static void *reserve(struct mem *m, void *p, size_t *cap, size_t need,
		     size_t min, size_t size)
{
	size_t want = MAX(need, MAX(*cap * 2, min));

	if (p && need <= *cap)
		return p;
	p = mem_realloc(m, p, want * size);
	if (p)
		*cap = want;
	return p;
}

static int add(struct fill *f, struct span name, struct span data)
{
	struct piece *v = reserve(f->mem, f->v, &f->cap, f->n + 1, MEMBERS_MIN,
				  sizeof(*v));
	char *bytes;

	if (!v)
		return -ENOMEM;
	f->v = v;
	bytes = reserve(f->mem, f->bytes, &f->bytes_cap,
			f->len + name.len + data.len, BYTES_MIN, 1);
	if (!bytes)
		return -ENOMEM;
	f->bytes = bytes;
	f->v[f->n++] = (struct piece){ f->len, name.len, data.len };
	memcpy(f->bytes + f->len, name.ptr, name.len);
	f->len += name.len;
	if (data.len)
		memcpy(f->bytes + f->len, data.ptr, data.len);
	f->len += data.len;
	return 0;
}

/* One element; a rdb_member_fn. */
static int add_element(void *arg, struct span a, struct span b, double score)
{
	char name[NAME_MAX_BYTES], text[CONTENT_MAX];
	struct fill *f = arg;
	int len;

	switch (f->kind) {
	case RDB_KIND_LIST:
		len = snprintf(text, sizeof(text), "%zu", f->n);
		return add(f, span_of(text, (size_t)len), a);
	case RDB_KIND_ZSET:
		len = snprintf(text, sizeof(text), "%.17g\n", score);
		b = span_of(text, (size_t)len);
		break;
	default: /* a set's members have no content, a hash's have b */
		break;
	}
	return add(f, span_of(name, name_encode_member(a, name)), b);
}

/* --- payload ---------------------------------------------------------- */

struct bytes {
	char *p;
	size_t len, cap;
};

static int append_range(struct mem *m, struct bytes *b,
			const struct store_range *range)
{
	char *p = reserve(m, b->p, &b->cap, b->len + range->len, BYTES_MIN, 1);

	if (!p)
		return -ENOMEM;
	b->p = p;
	for (int i = 0; i < range->n_iov; i++) {
		memcpy(b->p + b->len, range->iov[i].iov_base,
		       range->iov[i].iov_len);
		b->len += range->iov[i].iov_len;
	}
	return 0;
}

/* All of a node's content. The caller frees @b->p, also on failure. */
static int read_payload(struct store *st, uint64_t ino, struct bytes *b)
{
	struct store_range range;
	size_t got;
	int r;

	do {
		r = store_read(st, ino, b->len, READ_MAX, &range);
		if (r < 0)
			return r;
		got = range.len;
		r = append_range(store_mem(st), b, &range);
		store_range_put(st, &range);
	} while (r == 0 && got);
	return r;
}

/* --- members ---------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	const struct store_member *x = *(const struct store_member *const *)a,
				  *y = *(const struct store_member *const *)b;
	size_t len = MIN(x->name.len, y->name.len);
	int r = memcmp(x->name.ptr, y->name.ptr, len);

	return r ? r
		 : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int check_names(struct mem *mem, const struct store_member *m, size_t n)
{
	const struct store_member **v = mem_alloc(mem, (n + 1) * sizeof(*v));
	int r = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = &m[i];
	qsort(v, n, sizeof(*v), compare_names);
	for (size_t i = 1; i < n && r == 0; i++) {
		if (span_eq(v[i - 1]->name, v[i]->name))
			r = -EBADMSG;
	}
	mem_free(mem, v);
	return r;
}

static int hand_over(struct store *st, uint64_t ino, const struct fill *f)
{
	struct store_member *m = mem_alloc(f->mem, (f->n + 1) * sizeof(*m));
	int r = 0;

	if (!m)
		return -ENOMEM;
	for (size_t i = 0; i < f->n; i++) {
		const struct piece *p = &f->v[i];

		m[i].name = span_of(f->bytes + p->name, p->name_len);
		m[i].data =
			span_of(f->bytes + p->name + p->name_len, p->data_len);
	}
	if (f->kind != RDB_KIND_LIST) /* a list's names are its numbers */
		r = check_names(f->mem, m, f->n);
	if (r == 0)
		r = store_members_fill(st, ino, m, f->n);
	mem_free(f->mem, m);
	return r;
}

int rdb_members_fill(struct store *st, uint64_t ino)
{
	struct fill f = { .mem = store_mem(st) };
	struct bytes payload = { .len = 0 };
	struct store_attr attr;
	int r = store_getattr(st, ino, &attr);

	if (r < 0)
		return r;
	if (attr.type != STORE_TYPED)
		return -ENOTDIR;
	f.kind = rdb_kind_of(attr.rdb_type);
	r = read_payload(st, ino, &payload);
	if (r == 0)
		r = rdb_members(attr.rdb_type, span_of(payload.p, payload.len),
				add_element, &f);
	if (r == 0)
		r = hand_over(st, ino, &f);
	mem_free(f.mem, payload.p);
	mem_free(f.mem, f.v);
	mem_free(f.mem, f.bytes);
	return r;
}
