/* SPDX-License-Identifier: MIT */

/* What is in a node: reading, writing, attributes, deadlines, members. */

#include "store/request.h"

#include <errno.h>
#include <string.h>

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
	return request_may_grow(st);
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
	uint64_t had = value_size(n->value), memory = value_memory(n->value);
	struct value *v = n->value;
	int r;

	r = value_truncate(&st->mem, &v, size);
	n->value = v;
	if (r == 0 && size < had) { /* what is cut off lives on in an image */
		uint64_t left = value_memory(v);

		view_charge(st, idx, memory > left ? memory - left : 0);
	}
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
	while ((idx = expire_first(&st->expire, &ms)) != 0 && ms < now &&
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
	e->members->db = node_db(st, idx);
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
