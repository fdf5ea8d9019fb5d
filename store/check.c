/* SPDX-License-Identifier: MIT */

/* Verifies what DESIGN.md promises, by walking everything. For tests. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/name.h"
#include "store/node.h"

/* What the walk counts, to be held against the store's own figures. */
struct tally {
	uint64_t keys, dirs, members, linked, exts, places, imaged;
	uint64_t *db_keys, *db_expires;
};

static int bad(uint32_t idx, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int bad(uint32_t idx, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "store_check: node %u: ", idx);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -EBADMSG;
}

/* A linked node: its directory, the index and its name agree. */
static int check_link(const struct store *st, uint32_t idx)
{
	const struct node *n = node_at(st, idx);
	const struct node *parent = node_at(st, n->parent);
	const struct dir *d = node_entries(st, parent);
	uint64_t pos = n->pos;

	if (parent->type == STORE_NONE || !d || parent->orphan)
		return bad(idx, "parent %u is no linked directory", n->parent);
	if (dir_next(d, &pos) != idx || pos != n->pos)
		return bad(idx, "not at its position %llu",
			   (unsigned long long)n->pos);
	if (node_child(st, n->parent, node_name(n)) != idx)
		return bad(idx, "the index does not find it");
	if ((n->type == STORE_MEMBER) != (parent->type == STORE_TYPED))
		return bad(idx, "type %d in a parent of type %d", (int)n->type,
			   (int)parent->type);
	if (!name_is_legal(node_name(n)))
		return bad(idx, "its name is not legal");
	return 0;
}

static int check_dir(const struct store *st, uint32_t idx)
{
	const struct dir *d = node_entries(st, node_at(st, idx));
	uint32_t n = 0, subdirs = 0, child;
	const struct node *c;
	bool value = false;
	uint64_t pos = 0;

	for (; d && (child = dir_next(d, &pos)) != 0; pos++) {
		c = node_at(st, child);
		if (c->parent != idx || c->pos != pos || c->orphan)
			return bad(idx, "entry %u does not belong here", child);
		n++;
		subdirs += c->type == STORE_DIR || c->type == STORE_TYPED;
		value |= name_is_value(node_name(c));
	}
	if (d &&
	    (d->n != n || d->n_subdirs != subdirs || d->has_value != value))
		return bad(idx, "counts %u/%u/%d, has %u/%u/%d", d->n,
			   d->n_subdirs, d->has_value, n, subdirs, value);
	return 0;
}

static int check_ext(const struct store *st, uint32_t idx, struct tally *t)
{
	const struct node *n = node_at(st, idx);
	const struct ext *e = ext_of(st, n);

	if (!e)
		return 0;
	t->exts++;
	if ((e->expire_ms != 0) != (e->place != 0))
		return bad(idx, "deadline %lld at place %u",
			   (long long)e->expire_ms, e->place);
	if (e->place) {
		t->places++;
		t->db_expires[node_db(st, idx)]++;
		if (e->place > st->expire.n ||
		    st->expire.v[e->place].idx != idx ||
		    st->expire.v[e->place].ms != e->expire_ms)
			return bad(idx, "not at place %u of the deadlines",
				   e->place);
	}
	if (e->members && n->type != STORE_TYPED)
		return bad(idx, "members in a node of type %d", (int)n->type);
	return 0;
}

static int check_node(const struct store *st, uint32_t idx, struct tally *t)
{
	const struct node *n = node_at(st, idx);
	int r;

	t->imaged += n->imaged;
	if (!st->view && (n->imaged || n->born))
		return bad(idx, "marked by a view that has ended");
	if (n->type == STORE_NONE)
		return 0;
	r = check_ext(st, idx, t);
	if (r < 0)
		return r;
	if (n->orphan) {
		if (!n->n_lookup)
			return bad(idx, "unlinked and unreferenced");
		return 0;
	}
	r = check_dir(st, idx);
	if (r < 0)
		return r;
	if (node_is_key(n)) {
		t->keys++;
		t->db_keys[node_db(st, idx)]++;
	}
	t->dirs += n->type == STORE_DIR && node_db(st, idx) == 0;
	t->members += n->type == STORE_MEMBER;
	if (n->parent == idx)
		return n->type == STORE_DIR ? 0 : bad(idx, "a root, no dir");
	t->linked++;
	return check_link(st, idx);
}

/* Every slot is either a tenant's, free, or held by the view. */
static int check_slots(const struct store *st, const struct slab *s,
		       uint64_t used)
{
	uint64_t n_free = 0;
	uint32_t i;

	for (i = s->free; i; n_free++) {
		if (i >= s->top || n_free > s->top)
			return bad(i, "free list is broken");
		i = *(uint32_t *)((uint8_t *)slab_at(s, i) + s->link_at);
	}
	if (used + n_free + 1 != s->top)
		return bad(0, "%llu slots used and %llu free of %u",
			   (unsigned long long)used, (unsigned long long)n_free,
			   s->top);
	(void)st;
	return 0;
}

static int check_heap(const struct store *st)
{
	for (uint32_t i = 2; i <= st->expire.n; i++)
		if (st->expire.v[i / 2].ms > st->expire.v[i].ms)
			return bad(st->expire.v[i].idx, "deadlines unordered");
	return 0;
}

static int check_totals(const struct store *st, const struct tally *t)
{
	if (t->keys != st->n_keys || t->dirs != st->n_dirs ||
	    t->members != st->n_members || t->linked != st->table.n ||
	    t->places != st->expire.n)
		return bad(0,
			   "counts keys %llu/%llu dirs %llu/%llu members "
			   "%llu/%llu index %llu/%llu deadlines %llu/%u",
			   (unsigned long long)t->keys,
			   (unsigned long long)st->n_keys,
			   (unsigned long long)t->dirs,
			   (unsigned long long)st->n_dirs,
			   (unsigned long long)t->members,
			   (unsigned long long)st->n_members,
			   (unsigned long long)t->linked,
			   (unsigned long long)st->table.n,
			   (unsigned long long)t->places, st->expire.n);
	for (uint32_t i = 0; i < st->n_dbs; i++)
		if (t->db_keys[i] != st->db[i].n_keys ||
		    t->db_expires[i] != st->db[i].n_expires)
			return bad(st->db[i].root, "database %u counts wrong",
				   i);
	return 0;
}

int store_check(struct store *st)
{
	struct tally t = { 0 };
	uint64_t used = 0;
	int r = 0;

	LOCKED(st);
	t.db_keys = calloc(st->n_dbs, sizeof(*t.db_keys));
	t.db_expires = calloc(st->n_dbs, sizeof(*t.db_expires));
	if (!t.db_keys || !t.db_expires)
		r = -ENOMEM;
	for (uint32_t i = 1; i < st->nodes.top && r == 0; i++) {
		const struct node *n = node_at(st, i);

		used += n->type != STORE_NONE || n->imaged;
		r = check_node(st, i, &t);
	}
	if (r == 0)
		r = check_slots(st, &st->nodes, used);
	if (r == 0)
		r = check_slots(st, &st->exts, t.exts);
	if (r == 0)
		r = check_heap(st);
	if (r == 0)
		r = check_totals(st, &t);
	free(t.db_keys);
	free(t.db_expires);
	return r;
}
