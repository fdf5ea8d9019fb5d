/* SPDX-License-Identifier: MIT */

/*
 * What may be left of a file. Write-out works in units, of 512 bytes where a
 * page is torn, else of 4 KiB, in any order and at any time, and the inode with
 * the size goes its own way. So for each unit a number c says how many of the
 * changes reached it (its content is the durable one with those of the first c
 * changes that touch it), and a number m says after how many changes the size
 * is that of: all combinations are allowed. A size that outruns the data shows
 * NUL. Since each write may take several pages, the size may also stop at a
 * unit's end within a write; harsh, at any byte.
 *
 * Free choice of all c would hardly ever meet what breaks programs: nothing
 * lost but one unit, the size there and no data, a clean prefix. So first one
 * of several styles is drawn, then the numbers within it.
 *
 * A truncation frees blocks by way of the journal, so no later data can be in
 * the file without it: but for harsh, c and m are kept between the same two
 * truncations.
 *
 * After a failed sync the pages are clean and the data may or may not be on
 * disk; the next sync that succeeds writes just the pages that were dirtied
 * since. Until somebody does, such changes stay in doubt for ever. A page that
 * was dirtied again goes out whole, old trouble included. For directories the
 * whole block counts: any later operation takes the earlier ones along.
 */

#include "tests/lib/disk_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/defs.h"

enum {
	PAGE = 4096,
	SECTOR = 512,
};

static void *grown(void *p, size_t bytes)
{
	p = realloc(p, bytes ? bytes : 1);
	if (!p) {
		(void)fprintf(stderr, "model disk: no memory\n");
		abort();
	}
	return p;
}

static void *zeroed(size_t bytes)
{
	void *p = grown(NULL, bytes);

	memset(p, 0, bytes);
	return p;
}

static char *copied(const char *s)
{
	return s ? strcpy(grown(NULL, strlen(s) + 1), s) : NULL;
}

/* --- bytes ------------------------------------------------------------ */

static void bytes_resize(struct disk_bytes *b, size_t len)
{
	if (len > b->cap) {
		b->cap = MAX(len, b->cap + b->cap / 2);
		b->p = grown(b->p, b->cap);
	}
	if (len > b->len)
		memset(b->p + b->len, 0, len - b->len);
	b->len = len;
}

static void bytes_write(struct disk_bytes *b, size_t off, const void *p,
			size_t len)
{
	if (off + len > b->len)
		bytes_resize(b, off + len);
	memcpy(b->p + off, p, len);
}

static void bytes_apply(struct disk_bytes *b, const struct disk_change *c)
{
	if (c->truncate)
		bytes_resize(b, c->size);
	else
		bytes_write(b, c->off, c->data, c->len);
}

/* --- entries ---------------------------------------------------------- */

static struct disk_entry *entries_find(const struct disk_entries *e,
				       const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (strcmp(e->v[i].name, name) == 0)
			return &e->v[i];
	return NULL;
}

static void entries_remove(struct disk_entries *e, const char *name)
{
	struct disk_entry *at = entries_find(e, name);

	if (!at)
		return;
	free(at->name);
	disk_node_put(at->node);
	*at = e->v[--e->n];
}

static void entries_add(struct disk_entries *e, const char *name,
			struct disk_node *node)
{
	entries_remove(e, name);
	e->v = grown(e->v, (e->n + 1) * sizeof(*e->v));
	e->v[e->n++] = (struct disk_entry){ copied(name), disk_node_ref(node) };
}

static void entries_apply(struct disk_entries *e, const struct disk_op *op)
{
	if (op->remove)
		entries_remove(e, op->remove);
	if (op->add)
		entries_add(e, op->add, op->node);
}

static void entries_clear(struct disk_entries *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->v[i].name);
		disk_node_put(e->v[i].node);
	}
	free(e->v);
	*e = (struct disk_entries){ 0 };
}

/* --- life ------------------------------------------------------------- */

struct disk_node *disk_node_new(bool is_dir, uint32_t mode, uint64_t ino)
{
	struct disk_node *n = zeroed(sizeof(*n));

	n->refs = 1;
	n->is_dir = is_dir;
	n->mode = mode;
	n->ino = ino;
	return n;
}

struct disk_node *disk_node_ref(struct disk_node *n)
{
	n->refs++;
	return n;
}

static void forget_changes(struct disk_node *n)
{
	for (size_t i = 0; i < n->n_changes; i++)
		free(n->change[i].data);
	free(n->change);
	n->change = NULL;
	n->n_changes = 0;
}

static void forget_ops(struct disk_node *n)
{
	for (size_t i = 0; i < n->n_ops; i++) {
		free(n->op[i].remove);
		free(n->op[i].add);
		disk_node_put(n->op[i].node);
	}
	free(n->op);
	n->op = NULL;
	n->n_ops = 0;
}

void disk_node_put(struct disk_node *n)
{
	if (!n || --n->refs)
		return;
	forget_changes(n);
	forget_ops(n);
	entries_clear(&n->names);
	entries_clear(&n->durable_names);
	free(n->now.p);
	free(n->durable.p);
	free(n);
}

/* --- files ------------------------------------------------------------ */

/* Room for one more, at least doubled: a log makes many between two syncs. */
static struct disk_change *new_change(struct disk_node *n)
{
	size_t k = n->n_changes;

	if ((k & (k - 1)) == 0)
		n->change = grown(n->change,
				  MAX(k * 2, (size_t)1) * sizeof(*n->change));
	n->n_changes++;
	n->change[k] = (struct disk_change){ 0 };
	return &n->change[k];
}

void disk_node_write(struct disk_node *n, size_t off, const void *p, size_t len)
{
	struct disk_change *c = new_change(n);

	bytes_write(&n->now, off, p, len);
	c->off = off;
	c->len = len;
	c->data = memcpy(grown(NULL, len), p, len);
	c->size = n->now.len;
}

void disk_node_truncate(struct disk_node *n, size_t size)
{
	struct disk_change *c;

	if (size == n->now.len)
		return;
	c = new_change(n);
	bytes_resize(&n->now, size);
	c->truncate = true;
	c->size = size;
}

static bool any_lost(const struct disk_node *n)
{
	for (size_t i = 0; i < n->n_changes; i++)
		if (n->change[i].lost)
			return true;
	return false;
}

/* Marks the pages of which a write made some part. */
static void mark_pages(uint8_t *pages, const struct disk_change *c, uint8_t as,
		       size_t file_len)
{
	size_t end = MIN(c->off + c->len, file_len);

	for (size_t at = c->off / PAGE * PAGE; at < end; at += PAGE)
		pages[at / PAGE] = as;
}

/* A sync that succeeds after one that failed: see the top. */
static void sync_past_lost(struct disk_node *n)
{
	enum {
		CLEAN,
		LOST,
		FRESH
	};
	size_t n_pages = (n->now.len + PAGE - 1) / PAGE, from, len;
	uint8_t *pages = zeroed(n_pages);

	for (size_t i = 0; i < n->n_changes; i++) {
		const struct disk_change *c = &n->change[i];

		if (c->truncate)
			bytes_resize(&n->durable, c->size);
		else
			mark_pages(pages, c, c->lost ? LOST : FRESH,
				   n->now.len);
	}
	bytes_resize(&n->durable, n->now.len);
	forget_changes(n);
	for (size_t i = 0; i < n_pages; i++) {
		from = i * PAGE;
		len = MIN(n->now.len - from, (size_t)PAGE);
		if (pages[i] == FRESH)
			memcpy(n->durable.p + from, n->now.p + from, len);
		if (pages[i] != LOST)
			continue;
		disk_node_write(n, from, n->now.p + from, len);
		n->change[n->n_changes - 1].lost = true;
	}
	free(pages);
}

static void sync_file(struct disk_node *n)
{
	if (any_lost(n)) {
		sync_past_lost(n);
		return;
	}
	for (size_t i = 0; i < n->n_changes; i++)
		bytes_apply(&n->durable, &n->change[i]);
	forget_changes(n);
}

/* --- directories ------------------------------------------------------ */

struct disk_node *disk_node_find(const struct disk_node *dir, const char *name)
{
	const struct disk_entry *e = entries_find(&dir->names, name);

	return e ? e->node : NULL;
}

void disk_node_change(struct disk_node *dir, const char *remove,
		      const char *add, struct disk_node *node)
{
	struct disk_op op = { copied(remove), copied(add),
			      disk_node_ref(node) };
	struct disk_node *gone;

	gone = remove ? disk_node_find(dir, remove) : NULL;
	if (gone)
		gone->n_links--;
	gone = add ? disk_node_find(dir, add) : NULL;
	if (gone)
		gone->n_links--;
	if (add)
		node->n_links++;
	entries_apply(&dir->names, &op);
	dir->op = grown(dir->op, (dir->n_ops + 1) * sizeof(*dir->op));
	dir->op[dir->n_ops++] = op;
	dir->dirty = true;
}

static void sync_dir(struct disk_node *n)
{
	if (!n->dirty)
		return;
	for (size_t i = 0; i < n->n_ops; i++)
		entries_apply(&n->durable_names, &n->op[i]);
	forget_ops(n);
	n->dirty = false;
}

/* --- both ------------------------------------------------------------- */

void disk_node_sync(struct disk_node *n)
{
	if (n->is_dir)
		sync_dir(n);
	else
		sync_file(n);
}

void disk_node_sync_failed(struct disk_node *n)
{
	n->dirty = false;
	for (size_t i = 0; i < n->n_changes; i++)
		n->change[i].lost = true;
}

/* --- what a crash leaves of a file ------------------------------------ */

enum style {
	NOTHING,     /* the durable image */
	EVERYTHING,  /* as if it had been synced */
	PREFIX,	     /* as it was after some change */
	NULS,	     /* a size from then, and no data */
	ONE_LOST,    /* as PREFIX, but for one unit */
	ALL_OR_NONE, /* each unit has all changes or none */
	ANY,	     /* each unit has any number of them */
	N_STYLES
};

struct choice {
	enum style style;
	size_t unit, n_units;
	size_t lo, hi; /* limits of c */
	size_t m;
	size_t victim; /* the unit that is lost */
};

static void choose(const struct disk_node *n, struct unit_rng *rng, bool harsh,
		   size_t span_len, struct choice *ret)
{
	size_t k = n->n_changes;

	ret->style = (enum style)unit_below(rng, N_STYLES);
	ret->unit = unit_below(rng, 2) ? SECTOR : PAGE;
	ret->n_units = (span_len + ret->unit - 1) / ret->unit;
	ret->victim = ret->n_units ? unit_below(rng, ret->n_units) : 0;
	ret->m = unit_below(rng, k + 1);
	if (ret->style == NOTHING)
		ret->m = 0;
	else if (ret->style == EVERYTHING || unit_below(rng, 2))
		ret->m = k;
	ret->lo = 0;
	ret->hi = k;
	if (harsh)
		return;
	for (size_t i = 0; i < k; i++) {
		if (!n->change[i].truncate)
			continue;
		if (i < ret->m)
			ret->lo = i + 1;
		else
			ret->hi = MIN(ret->hi, i);
	}
}

/* How many changes reached a unit. */
static size_t choose_reached(const struct choice *ch, size_t unit,
			     struct unit_rng *rng)
{
	switch (ch->style) {
	case EVERYTHING:
	case PREFIX:
		return ch->m;
	case ONE_LOST:
		return unit == ch->victim ? ch->lo : ch->m;
	case ALL_OR_NONE:
		return unit_below(rng, 2) ? ch->hi : ch->lo;
	case ANY:
		return ch->lo + unit_below(rng, ch->hi - ch->lo + 1);
	default:
		return ch->lo;
	}
}

/* The part of a change that falls on the bytes [from, to). */
static void apply_within(struct disk_bytes *b, const struct disk_change *c,
			 size_t from, size_t to)
{
	size_t lo, hi;

	if (c->truncate) {
		lo = MAX(from, c->size);
		if (lo < to)
			memset(b->p + lo, 0, to - lo);
		return;
	}
	lo = MAX(from, c->off);
	hi = MIN(to, c->off + c->len);
	if (lo < hi)
		memcpy(b->p + lo, c->data + (lo - c->off), hi - lo);
}

static size_t choose_size(const struct disk_node *n, const struct choice *ch,
			  struct unit_rng *rng, bool harsh)
{
	size_t size = ch->m ? n->change[ch->m - 1].size : n->durable.len;
	size_t next, at;

	if (ch->style < PREFIX || ch->m == n->n_changes ||
	    n->change[ch->m].truncate)
		return size;
	/* Perhaps a part of the next write. */
	next = n->change[ch->m].size;
	if (next <= size || unit_below(rng, 2))
		return size;
	at = size + unit_below(rng, next - size + 1);
	return harsh ? at : MAX(at / PAGE * PAGE, size);
}

static void file_after_crash(const struct disk_node *n, struct disk_node *to,
			     struct unit_rng *rng, bool harsh)
{
	struct disk_bytes *b = &to->durable;
	size_t len = n->durable.len, at, reached;
	struct choice ch;

	for (size_t i = 0; i < n->n_changes; i++)
		len = MAX(len, n->change[i].size);
	choose(n, rng, harsh, len, &ch);
	bytes_resize(b, len);
	if (n->durable.len)
		memcpy(b->p, n->durable.p, n->durable.len);
	for (size_t u = 0; u < ch.n_units && n->n_changes; u++) {
		at = u * ch.unit;
		reached = choose_reached(&ch, u, rng);
		for (size_t i = 0; i < reached; i++)
			apply_within(b, &n->change[i], at,
				     MIN(at + ch.unit, len));
	}
	bytes_resize(b, choose_size(n, &ch, rng, harsh));
	bytes_resize(&to->now, b->len);
	if (b->len)
		memcpy(to->now.p, b->p, b->len);
}

/* --- what a crash leaves of a directory ------------------------------- */

static void surviving_names(const struct disk_node *n, struct unit_rng *rng,
			    bool harsh, struct disk_entries *ret)
{
	size_t prefix = unit_below(rng, n->n_ops + 1);

	*ret = (struct disk_entries){ 0 };
	for (size_t i = 0; i < n->durable_names.n; i++)
		entries_add(ret, n->durable_names.v[i].name,
			    n->durable_names.v[i].node);
	for (size_t i = 0; i < n->n_ops; i++)
		if (harsh ? unit_below(rng, 2) == 1 : i < prefix)
			entries_apply(ret, &n->op[i]);
}

static void dir_after_crash(const struct disk_node *n, struct disk_node *to,
			    struct unit_rng *rng, bool harsh)
{
	struct disk_entries left;
	struct disk_node *child;

	surviving_names(n, rng, harsh, &left);
	for (size_t i = 0; i < left.n; i++) {
		child = NULL;
		/* Of a rename and an unlink just one may be left: then a file
		 * has two names. */
		for (size_t j = 0; j < i && !child; j++)
			if (left.v[j].node == left.v[i].node)
				child = disk_node_ref(
					disk_node_find(to, left.v[j].name));
		if (!child)
			child = disk_node_after_crash(left.v[i].node, rng,
						      harsh);
		disk_node_change(to, NULL, left.v[i].name, child);
		disk_node_put(child);
	}
	sync_dir(to);
	entries_clear(&left);
}

struct disk_node *disk_node_after_crash(const struct disk_node *n,
					struct unit_rng *rng, bool harsh)
{
	struct disk_node *to = disk_node_new(n->is_dir, n->mode, n->ino);

	to->mtime_s = n->mtime_s;
	memcpy(to->name, n->name, sizeof(to->name));
	if (n->is_dir)
		dir_after_crash(n, to, rng, harsh);
	else
		file_after_crash(n, to, rng, harsh);
	return to;
}
