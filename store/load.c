/* SPDX-License-Identifier: MIT */

/*
 * Filling the keyspace: keys come as byte strings and become paths here. The
 * directories they imply are made on the way.
 *
 * A key that is also a prefix: whichever comes first, the outcome is the same
 * directory with a `%=` in it. If the key came first, its node moves into the
 * new directory, so what the caller knows of it (its number) stays true.
 */

#include <errno.h>
#include <string.h>

#include "store/name.h"
#include "store/node.h"

#define VALUE_NAME span_str("%=")

static int reserve(struct store *st, char **buf, size_t *cap, size_t need)
{
	char *p;

	if (need <= *cap)
		return 0;
	need = MAX(need, *cap * 2);
	p = mem_realloc(&st->mem, *buf, need);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*cap = need;
	return 0;
}

static int new_dir(struct store *st, uint32_t parent, struct span name,
		   uint32_t *ret)
{
	uint32_t idx = node_new(st, STORE_DIR);
	int r;

	if (!idx)
		return -ENOMEM;
	r = node_link(st, idx, parent, name);
	if (r < 0) {
		node_discard(st, idx);
		return r;
	}
	node_at(st, idx)->mtime_ns = node_at(st, parent)->mtime_ns;
	node_count(st, idx);
	*ret = idx;
	return 0;
}

/* A key's node has to become a directory with that key in it. */
static int become_dir(struct store *st, uint32_t key, uint32_t *ret)
{
	const struct node *n = node_at(st, key);
	uint32_t idx = node_new(st, STORE_DIR);
	int r;

	if (!idx)
		return -ENOMEM;
	node_at(st, idx)->mtime_ns = n->mtime_ns;
	r = node_insert_above(st, idx, key, VALUE_NAME);
	if (r < 0) {
		node_discard(st, idx);
		return r;
	}
	node_count(st, idx);
	*ret = idx;
	return 0;
}

/* The directory @name in @dir, made if need be. */
static int enter(struct store *st, uint32_t dir, struct span name,
		 uint32_t *ret)
{
	uint32_t idx = node_child(st, dir, name);

	if (!idx)
		return new_dir(st, dir, name, ret);
	if (node_at(st, idx)->type == STORE_DIR) {
		*ret = idx;
		return 0;
	}
	return become_dir(st, idx, ret);
}

/* Splits the next component off @path. */
static struct span next_component(struct span *path)
{
	const char *p = path->ptr, *slash = memchr(p, '/', path->len);
	struct span c = { p, slash ? (size_t)(slash - p) : path->len };
	size_t used = c.len + (slash != NULL);

	*path = (struct span){ p + used, path->len - used };
	return c;
}

/* The directory with path @path below @root, made if need be. */
static int make_path(struct store *st, uint32_t root, struct span path,
		     uint32_t *ret)
{
	uint32_t dir = root;
	int r;

	while (path.len) {
		r = enter(st, dir, next_component(&path), &dir);
		if (r < 0)
			return r;
	}
	*ret = dir;
	return 0;
}

/* The directory of a key, from the cache if it is the last one's. */
static int find_dir(struct store *st, uint32_t db, struct span path,
		    uint32_t *ret)
{
	struct load_cache *c = &st->load;
	uint32_t root;
	int r;

	if (c->dir && c->db == db && c->changes == st->changes &&
	    c->dir_len == path.len &&
	    (path.len == 0 || memcmp(c->dir_path, path.ptr, path.len) == 0)) {
		*ret = c->dir;
		return 0;
	}
	root = store_root(st, db);
	if (!root)
		return -ENOMEM;
	r = make_path(st, root, path, ret);
	if (r == 0)
		r = reserve(st, &c->dir_path, &c->dir_cap, path.len);
	if (r < 0)
		return r;
	if (path.len)
		memcpy(c->dir_path, path.ptr, path.len);
	c->dir_len = path.len;
	c->db = db;
	c->dir = *ret;
	c->changes = st->changes;
	return 0;
}

static void split_last(struct span path, struct span *ret_dir,
		       struct span *ret_name)
{
	const char *p = path.ptr, *slash = memrchr(p, '/', path.len);

	*ret_dir = (struct span){ p, slash ? (size_t)(slash - p) : 0 };
	if (slash)
		slash++;
	else
		slash = p;
	*ret_name = (struct span){ slash, path.len - (size_t)(slash - p) };
}

static int fill_key(struct store *st, uint32_t idx,
		    const struct store_item *item)
{
	struct node *n = node_at(st, idx);
	struct ext *e;

	n->mtime_ns = item->mtime_ns;
	if (item->type == STORE_FILE && item->idle_s < 0 && item->freq < 0)
		return 0;
	e = node_ext(st, n);
	if (!e)
		return -ENOMEM;
	e->rdb_type = item->rdb_type;
	e->idle_s = item->idle_s;
	e->freq = (int16_t)item->freq;
	return 0;
}

/* Where a key goes: found ahead of time, so that the memory is at hand. */
struct place {
	uint32_t dir;
	struct span name; /* in st->load.path */
	uint64_t hash;
};

/* Makes the key's node. Its value is still the caller's. */
static int new_key(struct store *st, const struct place *at,
		   const struct store_item *item, uint32_t *ret)
{
	uint32_t idx = node_new(st, item->type);
	int r;

	if (!idx)
		return -ENOMEM;
	r = fill_key(st, idx, item);
	if (r == 0)
		r = node_link_at(st, idx, at->dir, at->name, at->hash);
	if (r < 0) {
		node_discard(st, idx);
		return r;
	}
	node_count(st, idx);
	r = node_set_expire(st, idx, item->expire_ms);
	if (r < 0) {
		node_remove(st, idx);
		return r;
	}
	*ret = idx;
	return 0;
}

static void set_place(const struct store *st, struct place *at, uint32_t dir,
		      struct span name)
{
	at->dir = dir;
	at->name = name;
	at->hash = node_hash(st, dir, name);
}

/* Finds (or makes) the directory of a key whose path is put at @path. */
static int locate(struct store *st, const struct store_put *put, char *path,
		  struct place *ret, size_t *ret_len)
{
	struct span dir_path, name;
	uint32_t dir;
	int r;

	if (put->db >= STORE_N_DBS_MAX)
		return -EINVAL;
	*ret_len = name_encode(put->key, st->opt.sep, path);
	split_last(span_of(path, *ret_len), &dir_path, &name);
	r = find_dir(st, put->db, dir_path, &dir);
	if (r < 0)
		return r;
	set_place(st, ret, dir, name);
	table_prefetch(&st->table, ret->hash);
	return 0;
}

static int insert(struct store *st, struct store_put *put, struct place *at)
{
	uint32_t idx = node_child_at(st, at->dir, at->name, at->hash);
	int r;

	if (idx && node_at(st, idx)->type == STORE_DIR) {
		set_place(st, at, idx, VALUE_NAME);
		idx = node_child_at(st, at->dir, at->name, at->hash);
	}
	if (idx)
		return -EEXIST;
	r = new_key(st, at, &put->item, &idx);
	if (r < 0)
		return r;
	node_at(st, idx)->value = put->item.value;
	put->ret_ino = node_ino(st, idx);
	return 0;
}

enum {
	GROUP = 16, /* keys located before the first is inserted */
	BUFFERS_KEPT = 256 * 1024, /* bytes, between two calls */
}; /* keys located before the first is inserted */

/* Adds up to GROUP keys. *done counts those that are in. */
static int put_group(struct store *st, struct store_put *v, size_t n,
		     size_t *done)
{
	struct load_cache *c = &st->load;
	struct place at[GROUP];
	size_t need = 0, len, i;
	char *path;
	int r;

	for (i = 0; i < n; i++)
		need += name_encode_bound(v[i].key.len);
	r = reserve(st, &c->path, &c->cap, need);
	path = c->path;
	for (i = 0; i < n && r == 0; i++) {
		r = locate(st, &v[i], path, &at[i], &len);
		path += len;
	}
	/* What was located before a failure is still good. */
	n = r < 0 && i ? i - 1 : i;
	for (i = 0; i < n; i++) {
		int q = insert(st, &v[i], &at[i]);

		if (q < 0)
			return q;
		++*done;
	}
	return r;
}

/* A key of megabytes must not leave its buffers behind. */
static void drop_large_buffers(struct mem *m, struct load_cache *c)
{
	if (c->cap > BUFFERS_KEPT) {
		mem_free(m, c->path);
		c->path = NULL;
		c->cap = 0;
	}
	if (c->dir_cap > BUFFERS_KEPT) {
		mem_free(m, c->dir_path);
		c->dir_path = NULL;
		c->dir_cap = 0;
		c->dir = 0;
	}
}

int store_put_many(struct store *st, struct store_put *v, size_t n,
		   size_t *ret_done)
{
	size_t done = 0;
	int r = 0;

	LOCKED(st);
	while (done < n && r == 0)
		r = put_group(st, v + done, MIN(n - done, (size_t)GROUP),
			      &done);
	for (size_t i = done; i < n; i++)
		value_unref(&st->mem, v[i].item.value);
	drop_large_buffers(&st->mem, &st->load);
	*ret_done = done;
	return r;
}

int store_put(struct store *st, uint32_t db, struct span key,
	      const struct store_item *item, uint64_t *ret_ino)
{
	struct store_put put = { .db = db, .key = key, .item = *item };
	size_t done;
	int r;

	r = store_put_many(st, &put, 1, &done);
	if (r == 0 && ret_ino)
		*ret_ino = put.ret_ino;
	return r;
}

void store_reserve(struct store *st, uint64_t n)
{
	LOCKED(st);
	/* Without the memory the index grows as it always does. */
	if (table_reserve(&st->table, n) < 0)
		return;
}

/* --- facts ------------------------------------------------------------ */

/* The node that facts about @path without STORE_FACT_DIR speak of: a key. */
static uint32_t find_key(const struct store *st, uint32_t root,
			 struct span path)
{
	uint32_t idx = root, child;
	struct span c;

	while (path.len) {
		c = next_component(&path);
		child = node_at(st, idx)->type == STORE_DIR
				? node_child(st, idx, c)
				: 0;
		/* The prefix of which this was the value may be gone. */
		if (!child && path.len == 0 && name_is_value(c) &&
		    node_is_key(node_at(st, idx)))
			child = idx;
		if (!child)
			return 0;
		idx = child;
	}
	if (node_at(st, idx)->type == STORE_DIR)
		return node_child(st, idx, VALUE_NAME);
	return idx;
}

static int apply_facts(struct store *st, uint32_t idx,
		       const struct store_facts *f)
{
	struct node *n = node_at(st, idx);
	struct ext *e;

	if ((f->mask & STORE_FACT_SYMLINK) && n->type == STORE_FILE)
		n->type = STORE_SYMLINK;
	e = node_ext(st, n);
	if (!e)
		return -ENOMEM;
	if (n->type == STORE_SYMLINK && !(f->mask & STORE_FACT_MODE))
		e->mode = STORE_LINK_MODE;
	if (f->mask & STORE_FACT_MODE)
		e->mode = f->mode & 07777;
	if (f->mask & STORE_FACT_UID)
		e->uid = f->uid;
	if (f->mask & STORE_FACT_GID)
		e->gid = f->gid;
	if (f->mask & STORE_FACT_MTIME) {
		n->mtime_ns = f->mtime_ns;
		n->mtime_set = true;
	}
	if (f->mask & STORE_FACT_ATIME) {
		e->atime_ns = f->atime_ns;
		e->has_atime = e->atime_set = true;
	}
	node_ext_trim(st, n);
	return 0;
}

/* Facts speak of a path that a node can have; anything else is damage. */
static bool is_path(struct span path, bool is_dir)
{
	bool first = true, last;
	struct span c;

	if (path.len && ((const char *)path.ptr)[path.len - 1] == '/')
		return false;
	for (; path.len; first = false) {
		c = next_component(&path);
		last = path.len == 0;
		if (c.len > NAME_MAX_BYTES || !name_is_legal(c))
			return false;
		if (first && span_eq(c, span_str(".ctl")))
			return false;
		if (!first && name_is_value(c) && (!last || is_dir))
			return false;
	}
	return true;
}

int store_put_facts(struct store *st, uint32_t db, struct span path,
		    const struct store_facts *f)
{
	uint32_t root, idx;
	int r;

	LOCKED(st);
	if (db >= STORE_N_DBS_MAX || !is_path(path, f->mask & STORE_FACT_DIR))
		return -EINVAL;
	root = store_root(st, db);
	if (!root)
		return -ENOMEM;
	if (f->mask & STORE_FACT_DIR || path.len == 0) {
		r = make_path(st, root, path, &idx);
		if (r < 0)
			return r;
	} else {
		idx = find_key(st, root, path);
		if (!idx)
			return -ENOENT;
	}
	return apply_facts(st, idx, f);
}
