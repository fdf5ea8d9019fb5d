/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/node.h"

/*
 * What the requests share (store.c, rename.c, content.c): resolving and
 * checking what a caller named. Private to store/; all under st->lock.
 */

static inline bool node_is_dir_like(const struct node *n)
{
	return n->type == STORE_DIR || n->type == STORE_TYPED;
}

/* Takes a reference; it saturates rather than wraps. */
static inline void node_take_ref(struct node *n)
{
	if (n->n_lookup != NODE_LOOKUP_MAX)
		n->n_lookup++;
}

/* Whether data may be added now. Return: 0; -ENOSPC; -(growth error). */
MUST_CHECK int request_may_grow(struct store *st);

/* The directory-like node of an inode number. Return: 0; -ESTALE; -ENOTDIR. */
MUST_CHECK int request_dir(struct store *st, uint64_t ino, uint32_t *ret);

/* As request_dir(), for a change of its entries. Return: also -EPERM for a
 * collection, -ENOENT if it is unlinked. */
MUST_CHECK int request_parent(struct store *st, uint64_t ino, uint32_t *ret);

/* Whether a name may be given to something in @dir. Return: 0; -ENAMETOOLONG;
 * -EINVAL; -EPERM. */
MUST_CHECK int request_check_name(const struct store *st, uint32_t dir,
				  struct span name);

/* The child of @dir; a key whose deadline has passed is removed on the way.
 * Return: 0, with *ret 0 if there is none; -ENOMEM. */
MUST_CHECK int request_child(struct store *st, uint32_t dir, struct span name,
			     uint32_t *ret);

/* Whether a directory is empty, once expired keys are gone. Return: 0;
 * -ENOTEMPTY; -ENOMEM. */
MUST_CHECK int request_check_empty(struct store *st, uint32_t dir);

/* The time of a node that loses its name, if somebody can still see it. */
void request_touch_unlinked(struct store *st, uint32_t idx, int64_t now_ns);
