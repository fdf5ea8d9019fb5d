/* SPDX-License-Identifier: MIT */

/*
 * Paths are compared by XXH3-64: with a million of them the chance that two
 * meet is below 10^-7, and it would show as a difference, not hide one.
 */

#include "tests/model/expect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "store/name.h"

enum {
	REF_SHIFT = 28
}; /* of the tree in a reference */

/* --- the table -------------------------------------------------------- */

static const struct mnode *node_of(const struct expect *x, uint32_t ref)
{
	return &x->t[ref >> REF_SHIFT].node[ref & ((1U << REF_SHIFT) - 1)];
}

static uint64_t hash_path(const void *path, size_t len)
{
	return XXH3_64bits(path, len) | 1;
}

/* The place of a hash: its own, or the empty one where it would be. */
static size_t place_of(const struct expect *x, uint64_t hash)
{
	size_t at = hash >> 20 & (x->cap - 1);

	while (x->hash[at] && x->hash[at] != hash)
		at = (at + 1) & (x->cap - 1);
	return at;
}

static void index_tree(struct expect *x, uint32_t tree)
{
	const struct mtree *t = &x->t[tree];
	char path[MODEL_PATH_MAX];
	uint64_t hash;
	size_t len, at;

	for (uint32_t i = MODEL_ROOT + 1; i < t->n; i++) {
		if (t->node[i].type == STORE_NONE)
			continue;
		len = mtree_path(t, i, path);
		hash = hash_path(path, len);
		at = place_of(x, hash);
		if (x->hash[at])
			test_fail("the model has \"%.*s\" twice", (int)len,
				  path);
		x->hash[at] = hash;
		x->ref[at] = tree << REF_SHIFT | i;
	}
}

void expect_take(struct expect *x, const struct writer *w)
{
	x->n = x->n_keys = x->n_expires = 0;
	for (int i = 0; i < WRITERS; i++) {
		mtree_copy(&x->t[i], &w[i].m.t);
		x->n += w[i].m.n_files + w[i].m.n_dirs;
		x->n_keys += w[i].m.n_files;
	}
}

void expect_index(struct expect *x)
{
	size_t cap = 1024;

	while (cap < x->n * 2)
		cap *= 2;
	if (cap != x->cap) {
		x->cap = cap;
		x->hash = must_alloc(x->hash, cap * sizeof(*x->hash));
		x->ref = must_alloc(x->ref, cap * sizeof(*x->ref));
		x->seen = must_alloc(x->seen, cap);
	}
	memset(x->hash, 0, cap * sizeof(*x->hash));
	for (uint32_t i = 0; i < WRITERS; i++) {
		index_tree(x, i);
		for (uint32_t j = 0; j < x->t[i].n; j++)
			x->n_expires += x->t[i].node[j].expire_ms != 0;
	}
}

void expect_start(struct expect *x, const char *where)
{
	x->where = where;
	memset(x->seen, 0, x->cap);
}

void expect_fini(struct expect *x)
{
	for (int i = 0; i < WRITERS; i++)
		free(x->t[i].node);
	free(x->hash);
	free(x->ref);
	free(x->seen);
	*x = (struct expect){ 0 };
}

/* --- one node --------------------------------------------------------- */

/* What was found, in the words of the model; `mask` says which times count. */
struct found {
	struct span path;
	struct mnode n;
	bool has_mask;	/* the facts are known to be facts */
	unsigned facts; /* with has_mask */
};

static void print_node(char *to, size_t size, const struct mnode *n)
{
	static const char *const types[] = { "nothing", "file", "directory",
					     "link" };

	snprintf(to, size,
		 "%s mode=%o uid=%u gid=%u mtime=%" PRId64 "%s atime=%" PRId64
		 "%s expire=%" PRId64 " size=%" PRIu64 " hash=%016" PRIx64,
		 n->type < 4 ? types[n->type] : "another type", n->mode, n->uid,
		 n->gid, n->mtime_ns, n->mtime_set ? " (set)" : "", n->atime_ns,
		 n->atime_set ? " (set)" : "", n->expire_ms, n->size, n->hash);
}

_Noreturn static void differ(const struct expect *x, struct span path,
			     const struct mnode *want, const struct mnode *got)
{
	char want_text[400] = "nothing", got_text[400] = "nothing";

	if (want)
		print_node(want_text, sizeof(want_text), want);
	if (got)
		print_node(got_text, sizeof(got_text), got);
	test_fail("%s: \"%.*s\"\n  wanted: %s\n  found:  %s", x->where,
		  (int)path.len, (const char *)path.ptr, want_text, got_text);
}

static bool is_same(const struct mnode *want, const struct found *f)
{
	const struct mnode *got = &f->n;
	bool is_dir = want->type == STORE_DIR;

	if (want->type != got->type || want->mode != got->mode ||
	    want->uid != got->uid || want->gid != got->gid)
		return false;
	if (f->has_mask && mtree_facts(want) != f->facts)
		return false;
	if ((want->mtime_set || !is_dir) && want->mtime_ns != got->mtime_ns)
		return false;
	if (want->atime_set && want->atime_ns != got->atime_ns)
		return false;
	return is_dir || (want->expire_ms == got->expire_ms &&
			  want->size == got->size && want->hash == got->hash);
}

static void check_found(struct expect *x, const struct found *f)
{
	size_t at = place_of(x, hash_path(f->path.ptr, f->path.len));
	const struct mnode *want;

	if (!x->hash[at])
		differ(x, f->path, NULL, &f->n);
	want = node_of(x, x->ref[at]);
	if (x->seen[at])
		test_fail("%s: \"%.*s\" comes twice", x->where,
			  (int)f->path.len, (const char *)f->path.ptr);
	x->seen[at] = 1;
	if (!is_same(want, f))
		differ(x, f->path, want, &f->n);
}

/* Fails with the first node that was not seen, of those that are needed. */
static void check_missing(const struct expect *x, bool just_entries)
{
	char path[MODEL_PATH_MAX];
	const struct mnode *n;
	size_t len;

	for (size_t at = 0; at < x->cap; at++) {
		if (!x->hash[at] || x->seen[at])
			continue;
		n = node_of(x, x->ref[at]);
		if (just_entries && !mtree_is_entry(n))
			continue;
		len = mtree_path(&x->t[x->ref[at] >> REF_SHIFT],
				 x->ref[at] & ((1U << REF_SHIFT) - 1), path);
		differ(x, span_of(path, len), n, NULL);
	}
}

/* --- a view ----------------------------------------------------------- */

static uint64_t hash_iov(XXH3_state_t *s, const struct iovec *iov, int n)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++) {
		XXH3_64bits_update(s, iov[i].iov_base, iov[i].iov_len);
		sum += iov[i].iov_len;
	}
	return sum;
}

static void set_value(struct mnode *n, const struct value *v)
{
	struct iovec iov[VALUE_IOV_MAX];
	XXH3_state_t *s = XXH3_createState();
	uint64_t off = 0;

	XXH3_64bits_reset(s);
	n->size = value_size(v);
	while (off < n->size)
		off += hash_iov(s, iov,
				value_iov(v, off, 1 << 20, iov, VALUE_IOV_MAX));
	n->hash = XXH3_64bits_digest(s);
	XXH3_freeState(s);
}

static uint32_t fact_or(const struct store_facts *f, unsigned bit,
			uint32_t value, uint32_t otherwise)
{
	return f->mask & bit ? value : otherwise;
}

void expect_entry(struct expect *x, const struct view_entry *e)
{
	const struct store_facts *facts = &e->facts;
	struct found f = { .path = e->path,
			   .has_mask = true,
			   .facts = facts->mask };
	uint32_t mode = e->type == STORE_DIR	   ? STORE_DIR_MODE
			: e->type == STORE_SYMLINK ? STORE_LINK_MODE
						   : STORE_FILE_MODE;

	if (e->db != 0)
		test_fail("%s: \"%.*s\" in database %u", x->where,
			  (int)e->path.len, (const char *)e->path.ptr, e->db);
	f.n = (struct mnode){
		.type = (uint8_t)e->type,
		.mode = fact_or(facts, STORE_FACT_MODE, facts->mode, mode),
		.uid = fact_or(facts, STORE_FACT_UID, facts->uid, 0),
		.gid = fact_or(facts, STORE_FACT_GID, facts->gid, 0),
		.mtime_set = facts->mask & STORE_FACT_MTIME,
		.mtime_ns = e->mtime_ns,
		.atime_set = facts->mask & STORE_FACT_ATIME,
		.atime_ns = facts->atime_ns,
		.expire_ms = e->expire_ms,
		.size = e->data.len,
	};
	if (f.n.mtime_set && facts->mtime_ns != e->mtime_ns)
		test_fail("%s: \"%.*s\" has two write times", x->where,
			  (int)e->path.len, (const char *)e->path.ptr);
	if (e->value)
		set_value(&f.n, e->value);
	else
		f.n.hash = XXH3_64bits(e->data.ptr, e->data.len);
	check_found(x, &f);
}

void expect_no_more_entries(struct expect *x)
{
	check_missing(x, true);
}

/* --- a store ---------------------------------------------------------- */

enum {
	BATCH = 256
};

/* Entries of a directory, as one call of readdir gave them. */
struct batch {
	struct {
		char name[NAME_MAX_BYTES];
		uint8_t len;
		struct store_attr attr;
	} e[BATCH];
	int n;
	uint64_t cookie;
};

static bool take_entry(void *arg, struct span name,
		       const struct store_attr *attr, uint64_t cookie)
{
	struct batch *b = arg;

	if (b->n == BATCH)
		return false;
	b->cookie = cookie;
	if (span_eq(name, span_str(".")) || span_eq(name, span_str("..")))
		return true;
	memcpy(b->e[b->n].name, name.ptr, name.len);
	b->e[b->n].len = (uint8_t)name.len;
	b->e[b->n++].attr = *attr;
	return true;
}

static void read_file(struct store *st, struct mnode *n)
{
	XXH3_state_t *s = XXH3_createState();
	struct store_range range;
	uint64_t off = 0, got;

	XXH3_64bits_reset(s);
	do {
		if (store_read(st, n->ino, off, 1 << 20, &range) < 0)
			test_fail("inode %" PRIu64 " cannot be read", n->ino);
		got = hash_iov(s, range.iov, range.n_iov);
		off += got;
		store_range_put(st, &range);
	} while (got);
	n->size = off;
	n->hash = XXH3_64bits_digest(s);
	XXH3_freeState(s);
}

static void walk(struct expect *x, struct store *st, uint64_t dir, char *path,
		 size_t len);

static void visit(struct expect *x, struct store *st,
		  const struct store_attr *a, char *path, size_t len)
{
	struct found f = { .path = span_of(path, len) };

	f.n = (struct mnode){
		.ino = a->ino,
		.type = (uint8_t)a->type,
		.mode = a->mode & 07777,
		.uid = a->uid,
		.gid = a->gid,
		.mtime_ns = a->mtime_ns,
		.atime_ns = a->atime_ns,
		.expire_ms = a->expire_ms,
	};
	if (a->type != STORE_DIR) {
		read_file(st, &f.n);
		if (f.n.size != a->size)
			test_fail("%s: \"%.*s\" has %" PRIu64
				  " bytes, stat says %" PRIu64,
				  x->where, (int)len, path, f.n.size, a->size);
	}
	check_found(x, &f);
	if (a->type == STORE_DIR)
		walk(x, st, a->ino, path, len);
}

static void walk(struct expect *x, struct store *st, uint64_t dir, char *path,
		 size_t len)
{
	struct batch *b = must_alloc(NULL, sizeof(*b));
	size_t at = len;

	if (len)
		path[at++] = '/';
	b->cookie = 0;
	do {
		b->n = 0;
		if (store_readdir(st, dir, b->cookie, false, take_entry, b) < 0)
			test_fail("%s: \"%.*s\" cannot be listed", x->where,
				  (int)len, path);
		for (int i = 0; i < b->n; i++) {
			if (at + b->e[i].len + 1 > MODEL_PATH_MAX)
				test_fail("%s: \"%.*s\" is too long", x->where,
					  (int)len, path);
			memcpy(path + at, b->e[i].name, b->e[i].len);
			visit(x, st, &b->e[i].attr, path, at + b->e[i].len);
		}
	} while (b->n);
	free(b);
}

void expect_store(struct expect *x, struct store *st)
{
	char path[MODEL_PATH_MAX];

	walk(x, st, STORE_ROOT_INO, path, 0);
	check_missing(x, false);
}
