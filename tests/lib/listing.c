/* SPDX-License-Identifier: MIT */

#include "tests/lib/listing.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum {
	DEFAULT_UID = 0,
	DEFAULT_GID = 0,
	PATH_MAX_TEXT = 1 << 20
};

static void add(struct listing *l, char *line)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->line = realloc(l->line, l->cap * sizeof(*l->line));
		ck_assert_ptr_nonnull(l->line);
	}
	l->line[l->n++] = line;
}

static void escape(char *to, struct span s)
{
	const uint8_t *p = s.ptr;

	for (size_t i = 0; i < s.len; i++)
		to += sprintf(to, p[i] > ' ' && p[i] < 0x7f ? "%c" : "\\x%02x",
			      p[i]);
	*to = '\0';
}

static void add_line(struct listing *l, struct span path, enum store_type type,
		     const char *facts, int64_t expire_ms, uint64_t size,
		     uint64_t hash)
{
	char *text = malloc(path.len * 4 + 256);

	ck_assert_ptr_nonnull(text);
	escape(text, path);
	sprintf(text + strlen(text),
		" type=%d%s expire=%" PRId64 " size=%" PRIu64
		" hash=%016" PRIx64,
		(int)type, facts, expire_ms, size, hash);
	add(l, text);
}

static void print_facts(char *to, const struct store_facts *f)
{
	*to = '\0';
	if (f->mask & STORE_FACT_MODE)
		to += sprintf(to, " m%o", f->mode);
	if (f->mask & STORE_FACT_UID)
		to += sprintf(to, " u%u", f->uid);
	if (f->mask & STORE_FACT_GID)
		to += sprintf(to, " g%u", f->gid);
	if (f->mask & STORE_FACT_MTIME)
		to += sprintf(to, " t%" PRId64, f->mtime_ns);
	if (f->mask & STORE_FACT_ATIME)
		to += sprintf(to, " a%" PRId64, f->atime_ns);
}

/* --- from a view ------------------------------------------------------ */

static uint64_t hash_value(const struct value *v)
{
	XXH3_state_t *s = XXH3_createState();
	uint8_t buf[4096];
	uint64_t off = 0, h;
	size_t n;

	XXH3_64bits_reset(s);
	while ((n = value_read(v, off, buf, sizeof(buf))) > 0) {
		XXH3_64bits_update(s, buf, n);
		off += n;
	}
	h = XXH3_64bits_digest(s);
	XXH3_freeState(s);
	return h;
}

void listing_add_entry(struct listing *l, const struct view_entry *e)
{
	char facts[256];
	uint64_t size, hash;

	print_facts(facts, &e->facts);
	size = e->value ? value_size(e->value) : e->data.len;
	hash = e->value ? hash_value(e->value)
			: XXH3_64bits(e->data.ptr, e->data.len);
	add_line(l, e->path, e->type, facts, e->expire_ms, size, hash);
}

void listing_of_view(struct view *v, struct listing *ret)
{
	struct view_entry e;
	int r;

	*ret = (struct listing){ 0 };
	while ((r = view_next(v, &e)) == 1)
		listing_add_entry(ret, &e);
	ck_assert_int_eq(r, 0);
	listing_sort(ret);
}

/* --- from a store ----------------------------------------------------- */

struct names {
	char **v;
	size_t n;
};

static bool take_name(void *arg, struct span name,
		      const struct store_attr *attr, uint64_t cookie)
{
	struct names *names = arg;
	char *copy;

	(void)attr;
	(void)cookie;
	if (span_eq(name, span_str(".")) || span_eq(name, span_str("..")))
		return true;
	copy = malloc(name.len + 1);
	memcpy(copy, name.ptr, name.len);
	copy[name.len] = '\0';
	names->v = realloc(names->v, (names->n + 1) * sizeof(*names->v));
	names->v[names->n++] = copy;
	return true;
}

static uint64_t hash_file(struct store *st, uint64_t ino, uint64_t size)
{
	XXH3_state_t *s = XXH3_createState();
	struct store_range range;
	uint64_t off = 0, h;

	XXH3_64bits_reset(s);
	while (off < size) {
		ck_assert_int_eq(store_read(st, ino, off, 1 << 20, &range), 0);
		ck_assert_uint_gt(range.len, 0);
		for (int i = 0; i < range.n_iov; i++)
			XXH3_64bits_update(s, range.iov[i].iov_base,
					   range.iov[i].iov_len);
		off += range.len;
		store_range_put(st, &range);
	}
	h = XXH3_64bits_digest(s);
	XXH3_freeState(s);
	return h;
}

static void facts_of_attr(const struct store_attr *a, struct store_facts *f)
{
	uint32_t mode = a->type == STORE_DIR	   ? STORE_DIR_MODE
			: a->type == STORE_SYMLINK ? STORE_LINK_MODE
						   : STORE_FILE_MODE;

	*f = (struct store_facts){ .mode = a->mode & 07777,
				   .uid = a->uid,
				   .gid = a->gid,
				   .mtime_ns = a->mtime_ns,
				   .atime_ns = a->atime_ns };
	if (f->mode != mode)
		f->mask |= STORE_FACT_MODE;
	if (a->uid != DEFAULT_UID)
		f->mask |= STORE_FACT_UID;
	if (a->gid != DEFAULT_GID)
		f->mask |= STORE_FACT_GID;
	if (a->mtime_ns % 1000 == LISTING_SET_NS)
		f->mask |= STORE_FACT_MTIME;
	if (a->atime_ns % 1000 == LISTING_SET_NS && a->atime_ns != a->mtime_ns)
		f->mask |= STORE_FACT_ATIME;
}

static void walk(struct store *st, uint64_t dir, char *path, size_t len,
		 struct listing *l);

static void visit(struct store *st, uint64_t dir, const char *name, char *path,
		  size_t len, struct listing *l)
{
	struct store_attr a;
	struct store_facts f;
	struct names sub = { 0 };
	char facts[256];

	len += (size_t)sprintf(path + len, len ? "/%s" : "%s", name);
	ck_assert_uint_lt(len, PATH_MAX_TEXT - 300);
	ck_assert_int_eq(store_lookup(st, dir, span_str(name), &a), 0);
	facts_of_attr(&a, &f);
	print_facts(facts, &f);
	if (a.type != STORE_DIR) {
		add_line(l, span_of(path, len), a.type, facts, a.expire_ms,
			 a.size, hash_file(st, a.ino, a.size));
	} else {
		ck_assert_int_eq(
			store_readdir(st, a.ino, 0, false, take_name, &sub), 0);
		if (f.mask || sub.n == 0 ||
		    (sub.n == 1 && strcmp(sub.v[0], "%=") == 0))
			add_line(l, span_of(path, len), a.type, facts, 0, 0,
				 XXH3_64bits(NULL, 0));
		for (size_t i = 0; i < sub.n; i++)
			free(sub.v[i]);
		free(sub.v);
		walk(st, a.ino, path, len, l);
	}
	store_forget(st, a.ino, 1);
}

static void walk(struct store *st, uint64_t dir, char *path, size_t len,
		 struct listing *l)
{
	struct names names = { 0 };

	ck_assert_int_eq(store_readdir(st, dir, 0, false, take_name, &names),
			 0);
	for (size_t i = 0; i < names.n; i++) {
		visit(st, dir, names.v[i], path, len, l);
		free(names.v[i]);
	}
	free(names.v);
}

void listing_of_store(struct store *st, struct listing *ret)
{
	char *path = malloc(PATH_MAX_TEXT);

	ck_assert_ptr_nonnull(path);
	*ret = (struct listing){ 0 };
	walk(st, STORE_ROOT_INO, path, 0, ret);
	free(path);
	listing_sort(ret);
}

/* --- comparison ------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void listing_sort(struct listing *l)
{
	if (l->n)
		qsort(l->line, l->n, sizeof(*l->line), by_text);
}

void listing_assert_eq(const struct listing *want, const struct listing *got)
{
	for (size_t i = 0; i < want->n || i < got->n; i++)
		ck_assert_str_eq(i < got->n ? got->line[i] : "(end)",
				 i < want->n ? want->line[i] : "(end)");
}

void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->line[i]);
	free(l->line);
	*l = (struct listing){ 0 };
}
