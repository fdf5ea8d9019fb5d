/* SPDX-License-Identifier: MIT */

/*
 * The requests. Each takes the lock, resolves its inode numbers, does all that
 * can fail (view images, allocations, limits), and then what cannot.
 */

#include "store/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "store/name.h"
#include "store/request.h"

/* --- small questions -------------------------------------------------- */

struct mem *store_mem(struct store *st)
{
	return &st->mem;
}

char store_sep(const struct store *st)
{
	return st->opt.sep;
}

int store_set_sep(struct store *st, char sep)
{
	LOCKED(st);
	if (sep != '/' && sep != ':')
		return -EINVAL;
	if (sep != st->opt.sep && st->n_keys)
		return -EBUSY;
	st->opt.sep = sep;
	return 0;
}

void store_set_max_memory(struct store *st, uint64_t bytes)
{
	LOCKED(st);
	st->opt.max_memory = bytes;
}

void store_set_max_value(struct store *st, uint64_t bytes)
{
	LOCKED(st);
	st->opt.max_value = bytes;
}

void store_set_growth_error(struct store *st, int err)
{
	LOCKED(st);
	st->growth_error = err;
}

static size_t note_peak(struct store *st)
{
	size_t used = mem_used(&st->mem);

	if (used > st->peak_bytes)
		st->peak_bytes = used;
	return used;
}

int request_may_grow(struct store *st)
{
	size_t used = note_peak(st);

	if (st->growth_error)
		return -st->growth_error;
	if (st->opt.max_memory && used >= st->opt.max_memory)
		return -ENOSPC;
	return 0;
}

int request_dir(struct store *st, uint64_t ino, uint32_t *ret)
{
	uint32_t idx = node_resolve(st, ino);

	if (!idx)
		return -ESTALE;
	if (!node_is_dir_like(node_at(st, idx)))
		return -ENOTDIR;
	*ret = idx;
	return 0;
}

/* As request_dir(), for a change: the members of a collection stay. */
int request_parent(struct store *st, uint64_t ino, uint32_t *ret)
{
	int r = request_dir(st, ino, ret);

	if (r < 0)
		return r;
	if (node_at(st, *ret)->type == STORE_TYPED)
		return -EPERM;
	return node_at(st, *ret)->orphan ? -ENOENT : 0;
}

int request_check_name(const struct store *st, uint32_t dir, struct span name)
{
	if (name.len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (!name_is_legal(name))
		return -EINVAL;
	/* No key has the path `.ctl`: it is the control files', mounted or
	 * not (name.h). */
	if (node_at(st, dir)->parent == dir && span_eq(name, span_str(".ctl")))
		return -EPERM;
	return 0;
}

/* Removes what an operation found to be expired, or to be replaced. */
static int remove_child(struct store *st, uint32_t idx)
{
	uint32_t dir = node_at(st, idx)->parent;
	int r;

	r = view_preserve(st, idx);
	if (r == 0)
		r = view_preserve(st, dir);
	if (r < 0)
		return r;
	node_remove(st, idx);
	return 0;
}

int request_child(struct store *st, uint32_t dir, struct span name,
		  uint32_t *ret)
{
	uint32_t idx = node_child(st, dir, name);
	int r;

	if (idx && node_is_expired(st, node_at(st, idx))) {
		r = remove_child(st, idx);
		if (r < 0)
			return r;
		st->expired++;
		st->changes++;
		idx = 0;
	}
	*ret = idx;
	return 0;
}

/* --- names ------------------------------------------------------------ */

/* Whether a collection still needs store_members_fill(). */
static bool needs_members(const struct node *n)
{
	return n->type == STORE_TYPED && !n->filled && !n->orphan;
}

/* "." of a node that is no directory: what a file handle is resolved by. */
static int lookup_self(struct store *st, uint64_t ino,
		       struct store_attr *ret_attr)
{
	uint32_t idx = node_resolve(st, ino);

	if (node_is_expired(st, node_at(st, idx)))
		return -ESTALE;
	node_take_ref(node_at(st, idx));
	node_attr(st, idx, ret_attr);
	return 0;
}

int store_lookup(struct store *st, uint64_t dir, struct span name,
		 struct store_attr *ret_attr)
{
	uint32_t d, idx;
	int r;

	LOCKED(st);
	r = request_dir(st, dir, &d);
	if (r == -ENOTDIR && span_eq(name, span_str(".")))
		return lookup_self(st, dir, ret_attr);
	if (r < 0)
		return r;
	if (name.len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (needs_members(node_at(st, d)))
		return -EAGAIN;
	if (span_eq(name, span_str(".")))
		idx = d;
	else if (span_eq(name, span_str("..")))
		idx = node_at(st, d)->orphan ? 0 : node_at(st, d)->parent;
	else
		idx = node_child(st, d, name);
	if (!idx || node_is_expired(st, node_at(st, idx)))
		return -ENOENT;
	node_take_ref(node_at(st, idx));
	node_attr(st, idx, ret_attr);
	return 0;
}

void store_forget(struct store *st, uint64_t ino, uint64_t n)
{
	uint32_t idx;
	struct node *node;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return;
	node = node_at(st, idx);
	if (node->n_lookup == NODE_LOOKUP_MAX)
		return;
	node->n_lookup -= (uint32_t)MIN(n, (uint64_t)node->n_lookup);
	node_release(st, idx);
}

/* Owner, mode and inheritance of a node that is about to be linked. */
static int set_owner(struct store *st, uint32_t idx, uint32_t dir,
		     const struct store_cred *cred)
{
	const struct ext *de = ext_of(st, node_at(st, dir));
	struct node *n = node_at(st, idx);
	struct ext *e = node_ext(st, n);

	if (!e)
		return -ENOMEM;
	if (n->type != STORE_SYMLINK)
		e->mode = cred->mode & 07777;
	e->uid = cred->uid;
	e->gid = cred->gid;
	if (de && (de->mode & S_ISGID)) {
		e->gid = de->gid;
		if (n->type == STORE_DIR)
			e->mode |= S_ISGID;
	}
	node_ext_trim(st, n);
	return 0;
}

/* Makes the node of store_create(), not linked yet. */
static int make_node(struct store *st, uint32_t dir, enum store_type type,
		     const struct store_cred *cred, struct span target,
		     uint32_t *ret)
{
	uint32_t idx = node_new(st, type);
	struct value *v;
	int r;

	if (!idx)
		return -ENOMEM;
	r = set_owner(st, idx, dir, cred);
	if (r == 0 && type == STORE_SYMLINK) {
		r = value_new(&st->mem, target.ptr, target.len, &v);
		if (r == 0)
			node_at(st, idx)->value = v;
	}
	if (r < 0) {
		node_discard(st, idx);
		return r;
	}
	*ret = idx;
	return 0;
}

static int check_create(struct store *st, uint32_t d, struct span name,
			enum store_type type)
{
	uint32_t there;
	int r;

	r = request_check_name(st, d, name);
	if (r < 0)
		return r;
	r = request_child(st, d, name, &there);
	if (r < 0)
		return r;
	if (there)
		return -EEXIST;
	/* `%=` is the value of its directory, so it cannot be one; the root
	 * has no value, there it is a name like any other. */
	if (type == STORE_DIR && name_is_value(name) &&
	    node_at(st, d)->parent != d)
		return -EINVAL;
	return request_may_grow(st);
}

int store_create(struct store *st, uint64_t dir, struct span name,
		 enum store_type type, const struct store_cred *cred,
		 struct span target, struct store_attr *ret_attr)
{
	uint32_t d, idx = 0;
	int64_t now;
	int r;

	LOCKED(st);
	r = request_parent(st, dir, &d);
	if (r == 0)
		r = check_create(st, d, name, type);
	if (r == 0)
		r = view_preserve(st, d);
	if (r == 0)
		r = make_node(st, d, type, cred, target, &idx);
	if (r < 0)
		return r;
	r = node_link(st, idx, d, name);
	if (r < 0) {
		node_discard(st, idx);
		return r;
	}
	now = store_now_ns(st);
	node_at(st, idx)->mtime_ns = now;
	node_touch(st, d, now);
	node_count(st, idx);
	st->changes++;
	node_take_ref(node_at(st, idx));
	node_attr(st, idx, ret_attr);
	return 0;
}

void request_touch_unlinked(struct store *st, uint32_t idx, int64_t now)
{
	if (node_at(st, idx)->n_lookup)
		node_set_ctime(st, idx, now);
}

static int remove_entry(struct store *st, uint32_t d, uint32_t idx)
{
	int64_t now = store_now_ns(st);
	int r;

	r = view_preserve(st, idx);
	if (r == 0)
		r = view_preserve(st, d);
	if (r < 0)
		return r;
	request_touch_unlinked(st, idx, now);
	node_remove(st, idx);
	node_touch(st, d, now);
	st->changes++;
	return 0;
}

/* The entry that is to be removed from a directory that may be changed. */
static int find_entry(struct store *st, uint64_t dir, struct span name,
		      uint32_t *ret_dir, uint32_t *ret)
{
	int r;

	r = request_parent(st, dir, ret_dir);
	if (r == 0)
		r = request_child(st, *ret_dir, name, ret);
	if (r < 0)
		return r;
	return *ret ? 0 : -ENOENT;
}

int store_unlink(struct store *st, uint64_t dir, struct span name)
{
	const struct node *n;
	uint32_t d, idx;
	int r;

	LOCKED(st);
	r = find_entry(st, dir, name, &d, &idx);
	if (r < 0)
		return r;
	n = node_at(st, idx);
	if (node_is_dir_like(n))
		return -EISDIR;
	return remove_entry(st, d, idx);
}

/* Removes the entries of a directory whose deadline has passed. */
static int sweep_dir(struct store *st, uint32_t idx)
{
	const struct dir *d = node_at(st, idx)->dir;
	uint64_t pos = 0;
	uint32_t child;
	int r;

	for (; (child = dir_next(d, &pos)) != 0; pos++) {
		if (!node_is_expired(st, node_at(st, child)))
			return 0; /* not empty: no need to look further */
		r = remove_child(st, child);
		if (r < 0)
			return r;
		st->expired++;
		st->changes++;
	}
	return 0;
}

int request_check_empty(struct store *st, uint32_t idx)
{
	int r = sweep_dir(st, idx);

	if (r < 0)
		return r;
	return node_at(st, idx)->dir->n ? -ENOTEMPTY : 0;
}

int store_rmdir(struct store *st, uint64_t dir, struct span name)
{
	const struct node *n;
	uint32_t d, idx;
	int r;

	LOCKED(st);
	r = find_entry(st, dir, name, &d, &idx);
	if (r < 0)
		return r;
	n = node_at(st, idx);
	if (n->type == STORE_TYPED)
		return -EPERM;
	if (n->type != STORE_DIR)
		return -ENOTDIR;
	r = request_check_empty(st, idx);
	if (r < 0)
		return r;
	return remove_entry(st, d, idx);
}

/* --- readdir ---------------------------------------------------------- */

enum {
	COOKIE_DOT = 0,
	COOKIE_DOTDOT = 1,
	COOKIE_FIRST = 2
};

/* "." and "..". Return: false if there was no room. */
static bool emit_dots(const struct store *st, uint32_t dir, uint64_t *cookie,
		      store_readdir_fn fn, void *arg)
{
	const struct node *n = node_at(st, dir);
	struct store_attr attr = { .mode = S_IFDIR, .type = STORE_DIR };

	if (*cookie == COOKIE_DOT) {
		attr.ino = node_ino(st, dir);
		if (!fn(arg, span_str("."), &attr, COOKIE_DOT + 1))
			return false;
		*cookie = COOKIE_DOTDOT;
	}
	if (*cookie == COOKIE_DOTDOT) {
		attr.ino = node_ino(st, n->orphan ? dir : n->parent);
		if (!fn(arg, span_str(".."), &attr, COOKIE_DOTDOT + 1))
			return false;
		*cookie = COOKIE_FIRST;
	}
	return true;
}

int store_readdir(struct store *st, uint64_t dir, uint64_t cookie, bool ref,
		  store_readdir_fn fn, void *arg)
{
	struct store_attr attr;
	const struct dir *entries;
	struct node *n;
	uint32_t d, idx;
	uint64_t pos;
	int r;

	LOCKED(st);
	r = request_dir(st, dir, &d);
	if (r < 0)
		return r;
	if (needs_members(node_at(st, d)))
		return -EAGAIN;
	if (cookie < COOKIE_FIRST && !emit_dots(st, d, &cookie, fn, arg))
		return 0;
	entries = node_entries(st, node_at(st, d));
	if (!entries)
		return 0;
	for (pos = cookie - COOKIE_FIRST; (idx = dir_next(entries, &pos)) != 0;
	     pos++) {
		n = node_at(st, idx);
		if (node_is_expired(st, n))
			continue;
		node_attr(st, idx, &attr);
		if (!fn(arg, node_name(n), &attr, pos + 1 + COOKIE_FIRST))
			break;
		if (ref)
			node_take_ref(n);
	}
	return 0;
}

/* --- figures ---------------------------------------------------------- */

void store_get_stats(struct store *st, struct store_stats *ret)
{
	LOCKED(st);
	*ret = (struct store_stats){
		.n_keys = st->n_keys,
		.n_dirs = st->n_dirs,
		.n_expires = st->expire.n,
		.n_dbs = st->n_dbs,
		.used_bytes = note_peak(st),
		.max_memory = st->opt.max_memory,
		.peak_bytes = st->peak_bytes,
		.changes = st->changes,
		.expired = st->expired,
		.view_bytes = view_extra_bytes(st),
	};
}

void store_db_size(struct store *st, uint32_t db, uint64_t *ret_keys,
		   uint64_t *ret_expires)
{
	LOCKED(st);
	*ret_keys = db < st->n_dbs ? st->db[db].n_keys : 0;
	*ret_expires = db < st->n_dbs ? st->db[db].n_expires : 0;
}
