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
#include "store/node.h"

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

/* Whether data may be added now. */
static int may_grow(struct store *st)
{
	size_t used = mem_used(&st->mem);

	if (used > st->peak_bytes)
		st->peak_bytes = used;
	if (st->growth_error)
		return -st->growth_error;
	if (st->opt.max_memory && used >= st->opt.max_memory)
		return -ENOSPC;
	return 0;
}

static bool is_dir_like(const struct node *n)
{
	return n->type == STORE_DIR || n->type == STORE_TYPED;
}

/* The linked directory of an inode number. */
static int resolve_dir(struct store *st, uint64_t ino, uint32_t *ret)
{
	uint32_t idx = node_resolve(st, ino);

	if (!idx)
		return -ESTALE;
	if (!is_dir_like(node_at(st, idx)))
		return -ENOTDIR;
	*ret = idx;
	return 0;
}

/* As resolve_dir(), for a change: the members of a collection stay. */
static int resolve_parent(struct store *st, uint64_t ino, uint32_t *ret)
{
	int r = resolve_dir(st, ino, ret);

	if (r < 0)
		return r;
	if (node_at(st, *ret)->type == STORE_TYPED)
		return -EPERM;
	return node_at(st, *ret)->orphan ? -ENOENT : 0;
}

/* Whether a name may be given to something in @dir. */
static int check_name(const struct store *st, uint32_t dir, struct span name)
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

/* Takes a reference; it saturates rather than wraps. */
static void take_ref(struct node *n)
{
	if (n->n_lookup != NODE_LOOKUP_MAX)
		n->n_lookup++;
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

/* The child of @dir; a key whose deadline has passed is removed on the way.
 * Return: 0 with *ret 0 if there is none; -ENOMEM. */
static int live_child(struct store *st, uint32_t dir, struct span name,
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

int store_lookup(struct store *st, uint64_t dir, struct span name,
		 struct store_attr *ret_attr)
{
	uint32_t d, idx;
	int r;

	LOCKED(st);
	r = resolve_dir(st, dir, &d);
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
	take_ref(node_at(st, idx));
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

	r = check_name(st, d, name);
	if (r < 0)
		return r;
	r = live_child(st, d, name, &there);
	if (r < 0)
		return r;
	if (there)
		return -EEXIST;
	/* `%=` is the value of its directory, so it cannot be one; the root
	 * has no value, there it is a name like any other. */
	if (type == STORE_DIR && name_is_value(name) &&
	    node_at(st, d)->parent != d)
		return -EINVAL;
	return may_grow(st);
}

int store_create(struct store *st, uint64_t dir, struct span name,
		 enum store_type type, const struct store_cred *cred,
		 struct span target, struct store_attr *ret_attr)
{
	uint32_t d, idx = 0;
	int64_t now;
	int r;

	LOCKED(st);
	r = resolve_parent(st, dir, &d);
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
	take_ref(node_at(st, idx));
	node_attr(st, idx, ret_attr);
	return 0;
}

/* The time of a node that loses its name, if somebody can still see it. */
static void touch_unlinked(struct store *st, uint32_t idx, int64_t now)
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
	touch_unlinked(st, idx, now);
	node_remove(st, idx);
	node_touch(st, d, now);
	st->changes++;
	return 0;
}

int store_unlink(struct store *st, uint64_t dir, struct span name)
{
	const struct node *n;
	uint32_t d, idx;
	int r;

	LOCKED(st);
	r = resolve_parent(st, dir, &d);
	if (r == 0)
		r = live_child(st, d, name, &idx);
	if (r < 0)
		return r;
	if (!idx)
		return -ENOENT;
	n = node_at(st, idx);
	if (is_dir_like(n))
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

static int check_empty(struct store *st, uint32_t idx)
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
	r = resolve_parent(st, dir, &d);
	if (r == 0)
		r = live_child(st, d, name, &idx);
	if (r < 0)
		return r;
	if (!idx)
		return -ENOENT;
	n = node_at(st, idx);
	if (n->type == STORE_TYPED)
		return -EPERM;
	if (n->type != STORE_DIR)
		return -ENOTDIR;
	r = check_empty(st, idx);
	if (r < 0)
		return r;
	return remove_entry(st, d, idx);
}

/* --- rename ----------------------------------------------------------- */

struct rename_op {
	uint32_t from_dir, to_dir;
	uint32_t from, to; /* to: 0 if the new name is free */
	struct span from_name, to_name;
	unsigned flags;
};

static bool is_below(const struct store *st, uint32_t idx, uint32_t top)
{
	while (idx != top) {
		if (node_at(st, idx)->parent == idx)
			return false;
		idx = node_at(st, idx)->parent;
	}
	return true;
}

/* A directory cannot be `%=` but in the root. */
static bool is_bad_dir_name(const struct store *st, uint32_t idx, uint32_t dir,
			    struct span name)
{
	return node_at(st, idx)->type == STORE_DIR && name_is_value(name) &&
	       node_at(st, dir)->parent != dir;
}

static int check_exchange(struct store *st, const struct rename_op *op)
{
	if (!op->to)
		return -ENOENT;
	if (is_below(st, op->from_dir, op->to) ||
	    is_bad_dir_name(st, op->to, op->from_dir, op->from_name))
		return -EINVAL;
	return 0;
}

static int check_replace(struct store *st, const struct rename_op *op)
{
	const struct node *from = node_at(st, op->from);
	const struct node *to;

	if (!op->to)
		return 0;
	if (op->flags & STORE_RENAME_NOREPLACE)
		return -EEXIST;
	to = node_at(st, op->to);
	if (to->type == STORE_DIR) {
		if (from->type != STORE_DIR)
			return -EISDIR;
		return check_empty(st, op->to);
	}
	return from->type == STORE_DIR ? -ENOTDIR : 0;
}

static int find_both(struct store *st, uint64_t dir, uint64_t new_dir,
		     struct rename_op *op)
{
	int r;

	r = resolve_parent(st, dir, &op->from_dir);
	if (r == 0)
		r = resolve_parent(st, new_dir, &op->to_dir);
	if (r == 0)
		r = check_name(st, op->to_dir, op->to_name);
	if (r == 0)
		r = live_child(st, op->from_dir, op->from_name, &op->from);
	if (r == 0 && !op->from)
		r = -ENOENT;
	if (r == 0)
		r = live_child(st, op->to_dir, op->to_name, &op->to);
	return r;
}

static int check_rename(struct store *st, const struct rename_op *op)
{
	if (op->flags & ~(STORE_RENAME_NOREPLACE | STORE_RENAME_EXCHANGE) ||
	    op->flags == (STORE_RENAME_NOREPLACE | STORE_RENAME_EXCHANGE))
		return -EINVAL;
	if (node_at(st, op->from)->type == STORE_TYPED ||
	    (op->to && node_at(st, op->to)->type == STORE_TYPED))
		return -EPERM;
	if (is_below(st, op->to_dir, op->from) ||
	    is_bad_dir_name(st, op->from, op->to_dir, op->to_name))
		return -EINVAL;
	if (node_db(st, op->from_dir) != node_db(st, op->to_dir))
		return -EXDEV;
	if (st->growth_error)
		return -st->growth_error;
	return op->flags & STORE_RENAME_EXCHANGE ? check_exchange(st, op)
						 : check_replace(st, op);
}

static int preserve_all(struct store *st, const struct rename_op *op)
{
	const uint32_t v[] = { op->from, op->from_dir, op->to_dir, op->to };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		r = v[i] ? view_preserve(st, v[i]) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int do_rename(struct store *st, const struct rename_op *op, int64_t now)
{
	if (op->flags & STORE_RENAME_EXCHANGE) {
		node_swap(st, op->from, op->to);
		node_set_ctime(st, op->to, now);
	} else if (op->to) {
		touch_unlinked(st, op->to, now);
		node_replace(st, op->from, op->to);
	} else {
		return node_move(st, op->from, op->to_dir, op->to_name);
	}
	return 0;
}

int store_rename(struct store *st, uint64_t dir, struct span name,
		 uint64_t new_dir, struct span new_name, unsigned flags)
{
	struct rename_op op = { .from_name = name,
				.to_name = new_name,
				.flags = flags };
	int64_t now;
	int r;

	LOCKED(st);
	r = find_both(st, dir, new_dir, &op);
	if (r == 0)
		r = check_rename(st, &op);
	if (r < 0)
		return r;
	if (op.from == op.to)
		return 0; /* the same name */
	r = preserve_all(st, &op);
	if (r < 0)
		return r;
	now = store_now_ns(st);
	r = do_rename(st, &op, now);
	if (r < 0)
		return r;
	node_set_ctime(st, op.from, now);
	node_touch(st, op.from_dir, now);
	node_touch(st, op.to_dir, now);
	st->changes++;
	return 0;
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
	r = resolve_dir(st, dir, &d);
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
			take_ref(n);
	}
	return 0;
}

/* --- content ---------------------------------------------------------- */

int store_getattr(struct store *st, uint64_t ino, struct store_attr *ret_attr)
{
	uint32_t idx;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	node_attr(st, idx, ret_attr);
	return 0;
}

/* Whether the content of a node may be written. */
static int check_writable(const struct node *n)
{
	switch (n->type) {
	case STORE_FILE:
		return 0;
	case STORE_DIR:
		return -EISDIR;
	default:
		return -EPERM;
	}
}

/* Everything about a size that can be refused. */
static int check_size(struct store *st, const struct node *n, uint64_t size)
{
	if (size <= value_size(n->value))
		return 0;
	if (st->opt.max_value && size > st->opt.max_value)
		return -EFBIG;
	return may_grow(st);
}

/* Runs a change of a value and charges the view what the copy cost. */
static int write_value(struct store *st, uint32_t idx, uint64_t off,
		       const void *data, size_t len)
{
	struct node *n = node_at(st, idx);
	uint64_t grown = off + len > value_size(n->value)
				 ? off + len - value_size(n->value)
				 : 0;
	size_t before = mem_used(&st->mem), after;
	struct value *v = n->value;
	int r;

	r = value_write(&st->mem, &v, off, data, len);
	n->value = v;
	after = mem_used(&st->mem);
	if (after > before + grown)
		view_charge(st, idx, after - before - grown);
	return r;
}

int store_write(struct store *st, uint64_t ino, uint64_t off, const void *data,
		size_t len)
{
	struct node *n;
	uint32_t idx;
	uint64_t end;
	int r;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	n = node_at(st, idx);
	r = check_writable(n);
	if (r < 0 || len == 0)
		return r;
	if (__builtin_add_overflow(off, len, &end))
		return -EFBIG;
	if (st->growth_error)
		return -st->growth_error;
	r = check_size(st, n, end);
	if (r == 0)
		r = view_preserve(st, idx);
	if (r == 0)
		r = write_value(st, idx, off, data, len);
	if (r < 0)
		return r;
	node_touch(st, idx, store_now_ns(st));
	st->changes += !n->orphan;
	return 0;
}

int store_read(struct store *st, uint64_t ino, uint64_t off, size_t len,
	       struct store_range *ret)
{
	const struct node *n;
	uint32_t idx;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	n = node_at(st, idx);
	/* A collection's payload can be read: its members come from there. */
	if (n->type == STORE_DIR)
		return -EISDIR;
	ret->value = value_ref(n->value);
	ret->n_iov = value_iov(n->value, off, MIN(len, (size_t)1 << 20),
			       ret->iov, VALUE_IOV_MAX);
	ret->len = 0;
	for (int i = 0; i < ret->n_iov; i++)
		ret->len += ret->iov[i].iov_len;
	return 0;
}

void store_range_put(struct store *st, struct store_range *r)
{
	value_unref(&st->mem, r->value);
	r->value = NULL;
}

static int set_size(struct store *st, uint32_t idx, uint64_t size)
{
	struct node *n = node_at(st, idx);
	uint64_t had = value_size(n->value);
	struct value *v = n->value;
	int r;

	if (size < had) /* what is cut off lives on in the image */
		view_charge(st, idx, value_memory(n->value));
	r = value_truncate(&st->mem, &v, size);
	n->value = v;
	return r;
}

enum {
	SET_TIMES = STORE_SET_ATIME | STORE_SET_MTIME | STORE_SET_ATIME_NOW |
		    STORE_SET_MTIME_NOW,
	SET_IN_EXT = STORE_SET_MODE | STORE_SET_UID | STORE_SET_GID | SET_TIMES,
};

static int check_setattr(struct store *st, const struct node *n, unsigned mask,
			 const struct store_attr *in)
{
	int r;

	if (n->type == STORE_TYPED || n->type == STORE_OPAQUE ||
	    n->type == STORE_MEMBER)
		return -EPERM;
	if (!(mask & STORE_SET_SIZE))
		return 0;
	r = check_writable(n);
	if (r == 0 && in->size > value_size(n->value) && st->growth_error)
		r = -st->growth_error;
	return r < 0 ? r : check_size(st, n, in->size);
}

/* Mode, owner and times; the extension is there. */
static void set_facts(struct store *st, uint32_t idx, unsigned mask,
		      const struct store_attr *in, int64_t now)
{
	struct node *n = node_at(st, idx);
	struct ext *e = ext_of(st, n);

	if (mask & STORE_SET_MODE)
		e->mode = in->mode & 07777;
	if (mask & STORE_SET_UID)
		e->uid = in->uid;
	if (mask & STORE_SET_GID)
		e->gid = in->gid;
	if (!(mask & (STORE_SET_ATIME | STORE_SET_ATIME_NOW)) &&
	    !e->has_atime && (mask & (STORE_SET_MTIME | STORE_SET_MTIME_NOW))) {
		e->has_atime = true; /* it was mtime, which changes now */
		e->atime_ns = n->mtime_ns;
	}
	if (mask & STORE_SET_MTIME_NOW) {
		n->mtime_ns = now;
		n->mtime_set = false;
	} else if (mask & STORE_SET_MTIME) {
		n->mtime_ns = in->mtime_ns;
		n->mtime_set = true;
	}
	if (mask & (STORE_SET_ATIME | STORE_SET_ATIME_NOW)) {
		e->atime_set = !(mask & STORE_SET_ATIME_NOW);
		e->atime_ns = e->atime_set ? in->atime_ns : now;
		e->has_atime = e->atime_set || e->atime_ns != n->mtime_ns;
	}
}

int store_setattr(struct store *st, uint64_t ino, unsigned mask,
		  const struct store_attr *in, struct store_attr *ret_attr)
{
	struct node *n;
	int64_t now;
	uint32_t idx;
	int r;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	n = node_at(st, idx);
	r = check_setattr(st, n, mask, in);
	if (r == 0)
		r = view_preserve(st, idx);
	if (r == 0 && (mask & SET_IN_EXT) && !node_ext(st, n))
		r = -ENOMEM;
	if (r == 0 && (mask & STORE_SET_SIZE))
		r = set_size(st, idx, in->size);
	if (r < 0) {
		node_ext_trim(st, n);
		return r;
	}
	now = store_now_ns(st);
	if (mask & STORE_SET_SIZE)
		node_touch(st, idx, now);
	if (mask & SET_IN_EXT) {
		if (!n->ext && !node_ext(st, n))
			return -ENOMEM;
		set_facts(st, idx, mask, in, now);
		node_set_ctime(st, idx, now);
	}
	st->changes += !n->orphan;
	if (ret_attr)
		node_attr(st, idx, ret_attr);
	return 0;
}

int store_set_expire(struct store *st, uint64_t ino, int64_t expire_ms)
{
	const struct node *n;
	uint32_t idx;
	int r;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	n = node_at(st, idx);
	if (!node_is_key(n) || n->orphan)
		return -EPERM;
	r = view_preserve(st, idx);
	if (r == 0)
		r = node_set_expire(st, idx, expire_ms);
	if (r == 0)
		st->changes++;
	return r;
}

/* --- expiry ----------------------------------------------------------- */

int store_expire(struct store *st, int max, store_expired_fn fn, void *arg,
		 int64_t *ret_next_ms)
{
	int64_t now = store_now_ns(st) / 1000000, ms = 0;
	const struct node *n;
	uint32_t idx, dir;
	int done = 0;

	LOCKED(st);
	while ((idx = expire_first(&st->expire, &ms)) != 0 && ms <= now &&
	       done < max) {
		n = node_at(st, idx);
		dir = n->parent;
		if (view_preserve(st, idx) < 0 || view_preserve(st, dir) < 0)
			break; /* no memory: later; it reads as absent */
		if (fn)
			fn(arg, node_ino(st, dir), node_ino(st, idx),
			   node_name(n));
		node_remove(st, idx);
		node_touch(st, dir, now * 1000000);
		st->expired++;
		st->changes++;
		done++;
	}
	if (ret_next_ms)
		*ret_next_ms = idx ? ms : 0;
	return done;
}

/* --- collections ------------------------------------------------------ */

static int add_member(struct store *st, uint32_t dir,
		      const struct store_member *m)
{
	uint32_t idx = node_new(st, STORE_MEMBER);
	struct value *v;
	int r;

	if (!idx)
		return -ENOMEM;
	r = value_new(&st->mem, m->data.ptr, m->data.len, &v);
	if (r == 0) {
		node_at(st, idx)->value = v;
		node_at(st, idx)->mtime_ns = node_at(st, dir)->mtime_ns;
		r = node_link(st, idx, dir, m->name);
	}
	if (r < 0)
		node_discard(st, idx);
	else
		st->n_members++;
	return r;
}

int store_members_fill(struct store *st, uint64_t ino,
		       const struct store_member *m, size_t n)
{
	struct node *node;
	struct ext *e;
	uint32_t idx;
	int r = 0;

	LOCKED(st);
	idx = node_resolve(st, ino);
	if (!idx)
		return -ESTALE;
	node = node_at(st, idx);
	if (node->type != STORE_TYPED)
		return -ENOTDIR;
	if (node->filled || node->orphan)
		return 0;
	e = ext_of(st, node);
	e->members = dir_new(&st->mem);
	if (!e->members)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_member(st, idx, &m[i]);
	if (r < 0) {
		node_remove_members(st, idx);
		dir_free(&st->mem, e->members);
		e->members = NULL;
		return r;
	}
	node->filled = true;
	return 0;
}

/* --- figures ---------------------------------------------------------- */

void store_get_stats(struct store *st, struct store_stats *ret)
{
	LOCKED(st);
	(void)may_grow(st); /* brings the peak up to date */
	*ret = (struct store_stats){
		.n_keys = st->n_keys,
		.n_dirs = st->n_dirs,
		.n_expires = st->expire.n,
		.n_dbs = st->n_dbs,
		.used_bytes = mem_used(&st->mem),
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
