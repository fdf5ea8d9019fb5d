/* SPDX-License-Identifier: MIT */

/* Rename: a node gets another name, takes the place of one, or swaps with one.
 * O(1) for directories too, since a node holds its parent, not its path. */

#include "store/request.h"

#include <errno.h>
#include <string.h>

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
		return request_check_empty(st, op->to);
	}
	return from->type == STORE_DIR ? -ENOTDIR : 0;
}

static int find_both(struct store *st, uint64_t dir, uint64_t new_dir,
		     struct rename_op *op)
{
	int r;

	r = request_parent(st, dir, &op->from_dir);
	if (r == 0)
		r = request_parent(st, new_dir, &op->to_dir);
	if (r == 0)
		r = request_check_name(st, op->to_dir, op->to_name);
	if (r == 0)
		r = request_child(st, op->from_dir, op->from_name, &op->from);
	if (r == 0 && !op->from)
		r = -ENOENT;
	if (r < 0)
		return r;
	if (op->from_dir == op->to_dir && span_eq(op->from_name, op->to_name)) {
		op->to = op->from; /* not looked for again: it may expire */
		return 0;
	}
	return request_child(st, op->to_dir, op->to_name, &op->to);
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
		request_touch_unlinked(st, op->to, now);
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
