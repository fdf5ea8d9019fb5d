/* SPDX-License-Identifier: MIT */

/*
 * The snapshot engine: one pass over the slab, images for what changes ahead
 * of it. DESIGN.md has the whole argument; in short:
 *
 *   cut     view_begin() records the slab's top (`end`) and starts the cursor
 *           at slot 1, under the lock. Nothing else happens, whatever the size.
 *   ahead   A slot at or after the cursor is "ahead". The first change to a
 *           node ahead sets its image aside (view_preserve()): its attributes,
 *           and references to its name and value as they are. Later changes
 *           find `imaged` set and cost nothing more.
 *   passing The cursor takes the image where there is one and the live node
 *           where not. A file's image ends there.
 *   paths   A path at the cut is needed when its last component is passed, so a
 *           directory that changes is imaged wherever the cursor is, and its
 *           image (and slot) stays until the end.
 *   births  A node made after the cut in a slot ahead is marked `born` and
 *           skipped. Directories made meanwhile take slots after `end`, so that
 *           no slot is ever two directories in one view.
 *   slots   The slot of a node that is gone but whose image is still needed is
 *           not given out: the view frees it when it lets the image go.
 *
 * Under the lock an entry is staged: its path and, if it is small, its content
 * are copied into an arena; a large content is referenced. STAGE_MAX entries
 * keep the lock for a few microseconds. All else happens outside.
 */

#include "store/view.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "store/name.h"
#include "store/node.h"

enum {
	STAGE_MAX = 32,	       /* entries a lock section */
	SCAN_MAX = 256,	       /* slots a lock section */
	STAGE_DATA = 4096,     /* larger contents are referenced, not copied */
	STAGE_ARENA = 1 << 16, /* bytes after which a section ends */
};

/* What a node was at the cut. */
struct image {
	uint32_t idx;	  /* 0: free */
	uint32_t link;	  /* free list */
	uint64_t charged; /* bytes of the view's account; value's included */
	uint64_t value_charged; /* of them for the value, at most all of it */
	struct node node;	/* name_ptr and value are the image's own */
	struct ext ext;
	bool has_ext, is_empty;
};

/* One entry on its way out: what view_next() hands over, with offsets into the
 * arena, which may move while it fills. */
struct staged {
	struct view_entry e;
	size_t path_at, path_len, data_at, data_len;
};

/* A buffer that grows. */
struct buf {
	char *p;
	size_t len, cap;
};

struct view {
	struct store *st;
	uint32_t end;
	_Atomic uint32_t cursor; /* written under the lock */
	bool done;    /* passed everything: images are no longer made */
	bool gave_up; /* images took more than max_view */
	_Atomic bool cancelled;
	struct slab images;
	uint32_t **image_of; /* by slab segment, then slot: image, 0: none */
	uint32_t n_segs;
	uint64_t extra; /* bytes pinned now */

	uint64_t changes;
	int64_t cut_ms;
	struct db *db; /* the counts at the cut */
	uint32_t n_dbs;
	unsigned facts_key;

	struct buf arena, dir, key;
	uint32_t dir_idx, dir_db; /* whose path `dir` holds; 0: nobody's */
	struct staged stage[STAGE_MAX];
	int n_staged, at;
};

static int buf_reserve(struct mem *m, struct buf *b, size_t more)
{
	size_t need = b->len + more;
	char *p;

	if (need <= b->cap)
		return 0;
	need = MAX(need, b->cap * 2);
	p = mem_realloc(m, b->p, need);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = need;
	return 0;
}

/* --- images ----------------------------------------------------------- */

static struct image *image_at(const struct view *v, uint32_t idx)
{
	const uint32_t *seg = v->image_of[idx >> SLAB_SHIFT];

	return slab_at(&v->images, seg[idx & (SLAB_SEG - 1)]);
}

static struct image *image_new(struct view *v, uint32_t idx)
{
	uint32_t **seg = &v->image_of[idx >> SLAB_SHIFT];
	struct image *img;
	uint32_t i;

	if (!*seg) {
		*seg = mem_zalloc(&v->st->mem, SLAB_SEG * sizeof(**seg));
		if (!*seg)
			return NULL;
	}
	i = slab_get(&v->images);
	if (!i)
		return NULL;
	img = slab_at(&v->images, i);
	*img = (struct image){ .idx = idx };
	(*seg)[idx & (SLAB_SEG - 1)] = i;
	return img;
}

static void charge(struct view *v, struct image *img, uint64_t bytes)
{
	img->charged += bytes;
	v->extra += bytes;
	if (v->st->opt.max_view && v->extra > v->st->opt.max_view)
		v->gave_up = true;
}

/* Lets an image go, and its slot, if that has no tenant any more. */
static void image_drop(struct view *v, struct image *img)
{
	struct store *st = v->st;
	struct node *n = node_at(st, img->idx);
	uint32_t *i;

	v->extra -= img->charged;
	if (img->node.name_len > NODE_NAME_INLINE)
		mem_free(&st->mem, img->node.name_ptr);
	if (img->node.type != STORE_DIR)
		value_unref(&st->mem, img->node.value);
	n->imaged = false;
	if (n->type == STORE_NONE)
		slab_put(&st->nodes, img->idx);
	i = &v->image_of[img->idx >> SLAB_SHIFT][img->idx & (SLAB_SEG - 1)];
	img->idx = 0;
	slab_put(&v->images, *i);
	*i = 0;
}

static bool dir_is_empty(const struct node *n)
{
	return n->type == STORE_DIR && n->dir->n == n->dir->has_value;
}

/* Whether the open view has yet to show the node at @idx as it is now. */
static bool is_needed(const struct view *v, uint32_t idx, const struct node *n)
{
	if (v->done || v->gave_up || idx >= v->end)
		return false;
	if (n->imaged || n->born || n->orphan || n->type == STORE_MEMBER)
		return false;
	return n->type == STORE_DIR ||
	       idx >= atomic_load_explicit(&v->cursor, memory_order_relaxed);
}

int view_preserve(struct store *st, uint32_t idx)
{
	struct view *v = st->view;
	struct node *n = node_at(st, idx);
	struct image *img;
	char *name = NULL;

	if (LIKELY(!v) || !is_needed(v, idx, n))
		return 0;
	if (n->name_len > NODE_NAME_INLINE) {
		name = mem_alloc(&st->mem, n->name_len);
		if (!name)
			return -ENOMEM;
		memcpy(name, n->name_ptr, n->name_len);
	}
	img = image_new(v, idx);
	if (!img) {
		mem_free(&st->mem, name);
		return -ENOMEM;
	}
	img->node = *n;
	img->has_ext = n->ext != 0;
	if (img->has_ext)
		img->ext = *ext_of(st, n);
	img->is_empty = dir_is_empty(n);
	if (name)
		img->node.name_ptr = name;
	if (n->type != STORE_DIR)
		value_ref(n->value);
	n->imaged = true;
	charge(v, img, sizeof(*img) + (name ? n->name_len : 0));
	return 0;
}

void view_charge(struct store *st, uint32_t idx, uint64_t bytes)
{
	struct view *v = st->view;
	struct image *img;

	if (LIKELY(!v) || !node_at(st, idx)->imaged || bytes == 0)
		return;
	img = image_at(v, idx);
	if (img->node.type == STORE_DIR)
		return;
	bytes = MIN(bytes, value_memory(img->node.value) - img->value_charged);
	img->value_charged += bytes;
	charge(v, img, bytes);
}

void view_charge_rest(struct store *st, uint32_t idx)
{
	view_charge(st, idx, UINT64_MAX);
}

void view_note_birth(struct store *st, uint32_t idx)
{
	const struct view *v = st->view;

	if (v && !v->done && idx < v->end &&
	    idx >= atomic_load_explicit(&v->cursor, memory_order_relaxed))
		node_at(st, idx)->born = true;
}

bool view_holds_slot(const struct store *st, uint32_t idx)
{
	return st->view && node_at(st, idx)->imaged;
}

uint32_t view_get_slot(struct store *st, enum store_type type)
{
	const struct view *v = st->view;

	/* A free slot is fine if the view does not cover it, and the last one
	 * freed is the first on the list: mkdir and rmdir in turn use one. */
	if (v && !v->done && type == STORE_DIR && st->nodes.free < v->end)
		return slab_get_fresh(&st->nodes);
	return slab_get(&st->nodes);
}

uint64_t view_extra_bytes(const struct store *st)
{
	return st->view ? st->view->extra : 0;
}

/* --- the cut ---------------------------------------------------------- */

/* The first free name for the facts' key in the root of database 0. */
static unsigned find_facts_key(const struct store *st)
{
	char name[32] = "__keyfs__";
	unsigned i = 0;

	while (node_child(st, NODE_ROOT, span_str(name)))
		snprintf(name, sizeof(name), "__keyfs__%u", ++i);
	return i;
}

static void free_view(struct view *v)
{
	struct mem *m = &v->st->mem;

	for (uint32_t i = 0; i < v->n_segs; i++)
		mem_free(m, v->image_of[i]);
	mem_free(m, v->image_of);
	slab_fini(&v->images);
	mem_free(m, v->db);
	mem_free(m, v->arena.p);
	mem_free(m, v->dir.p);
	mem_free(m, v->key.p);
	mem_free(m, v);
}

int view_begin(struct store *st, void (*at_cut)(void *arg), void *arg,
	       struct view **ret)
{
	struct view *v;

	LOCKED(st);
	if (st->view)
		return -EBUSY;
	v = mem_zalloc(&st->mem, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->st = st;
	v->end = st->nodes.top;
	v->n_segs = st->nodes.n_seg;
	slab_init(&v->images, &st->mem, sizeof(struct image),
		  offsetof(struct image, link));
	v->image_of = mem_zalloc(&st->mem, v->n_segs * sizeof(*v->image_of));
	v->db = mem_alloc(&st->mem, st->n_dbs * sizeof(*v->db));
	if (!v->image_of || !v->db) {
		v->n_segs = 0;
		free_view(v);
		return -ENOMEM;
	}
	memcpy(v->db, st->db, st->n_dbs * sizeof(*v->db));
	v->n_dbs = st->n_dbs;
	v->changes = st->changes;
	v->cut_ms = store_now_ns(st) / 1000000;
	v->facts_key = find_facts_key(st);
	atomic_init(&v->cursor, 1);
	atomic_init(&v->cancelled, false);
	st->view = v;
	if (at_cut)
		at_cut(arg);
	*ret = v;
	return 0;
}

/* --- paths at the cut ------------------------------------------------- */

/* The node as it was at the cut; for directories and what is being passed. */
static const struct node *at_cut(const struct view *v, uint32_t idx)
{
	const struct node *n = node_at(v->st, idx);

	return n->imaged ? &image_at(v, idx)->node : n;
}

/* Makes v->dir the path of a directory at the cut, with a final slash unless it
 * is a root. What it was at the cut does not change, so the last one is kept. */
static int set_dir(struct view *v, uint32_t dir)
{
	const struct node *n;
	struct span name;
	size_t len = 0, at;
	uint32_t i;

	if (v->dir_idx == dir)
		return 0;
	for (i = dir; (n = at_cut(v, i))->parent != i; i = n->parent)
		len += n->name_len + 1u;
	v->dir.len = 0;
	v->dir_idx = 0;
	if (buf_reserve(&v->st->mem, &v->dir, len) < 0)
		return -ENOMEM;
	v->dir_db = (uint32_t)n->pos;
	at = len;
	for (i = dir; (n = at_cut(v, i))->parent != i; i = n->parent) {
		name = node_name(n);
		v->dir.p[--at] = '/';
		at -= name.len;
		memcpy(v->dir.p + at, name.ptr, name.len);
	}
	v->dir.len = len;
	v->dir_idx = dir;
	return 0;
}

/* --- staging ---------------------------------------------------------- */

static int stage_path(struct view *v, struct staged *s, uint32_t idx,
		      const struct node *n)
{
	struct span name = node_name(n);
	int r;

	s->path_at = v->arena.len;
	if (n->parent == idx) { /* a root: the empty path */
		s->e.db = (uint32_t)n->pos;
		s->path_len = 0;
		return 0;
	}
	r = set_dir(v, n->parent);
	if (r == 0)
		r = buf_reserve(&v->st->mem, &v->arena, v->dir.len + name.len);
	if (r < 0)
		return r;
	if (v->dir.len)
		memcpy(v->arena.p + v->arena.len, v->dir.p, v->dir.len);
	v->arena.len += v->dir.len;
	memcpy(v->arena.p + v->arena.len, name.ptr, name.len);
	v->arena.len += name.len;
	s->path_len = v->dir.len + name.len;
	s->e.db = v->dir_db;
	return 0;
}

static int stage_content(struct view *v, struct staged *s, const struct node *n)
{
	uint64_t size = value_size(n->value);

	if (size > STAGE_DATA) {
		s->e.value = value_ref(n->value);
		return 0;
	}
	if (buf_reserve(&v->st->mem, &v->arena, (size_t)size) < 0)
		return -ENOMEM;
	s->data_at = v->arena.len;
	s->data_len = value_read(n->value, 0, v->arena.p + v->arena.len,
				 (size_t)size);
	v->arena.len += s->data_len;
	return 0;
}

/* Stages one node as @n and @ext say it was at the cut. */
static int stage_node(struct view *v, uint32_t idx, const struct node *n,
		      const struct ext *ext, bool is_empty)
{
	struct staged *s = &v->stage[v->n_staged];
	int r;

	s->e = (struct view_entry){
		.type = n->type,
		.rdb_type = ext ? ext->rdb_type : 0,
		.expire_ms = ext ? ext->expire_ms : 0,
		.mtime_ns = n->mtime_ns,
		.idle_s = ext ? ext->idle_s : -1,
		.freq = ext ? ext->freq : -1,
	};
	s->data_at = s->data_len = 0;
	node_facts(v->st, n, ext, is_empty, &s->e.facts);
	if (n->type == STORE_DIR) {
		if (n->parent == idx) /* a root needs no telling that it is */
			s->e.facts.mask &= ~(unsigned)STORE_FACT_DIR;
		if (!s->e.facts.mask)
			return 0;
	}
	r = stage_path(v, s, idx, n);
	if (r < 0)
		return r;
	if (n->type == STORE_DIR && s->e.db != 0)
		return 0; /* facts are kept for database 0 */
	if (n->type != STORE_DIR)
		r = stage_content(v, s, n);
	if (r == 0)
		v->n_staged++;
	return r;
}

static int pass_slot(struct view *v, uint32_t idx)
{
	struct store *st = v->st;
	struct node *n = node_at(st, idx);
	struct image *img;
	int r;

	if (n->imaged) {
		img = image_at(v, idx);
		r = stage_node(v, idx, &img->node,
			       img->has_ext ? &img->ext : NULL, img->is_empty);
		if (r == 0 && img->node.type != STORE_DIR)
			image_drop(v, img);
		return r;
	}
	if (n->type == STORE_NONE || n->type == STORE_MEMBER || n->born ||
	    n->orphan) {
		n->born = false;
		return 0;
	}
	return stage_node(v, idx, n, ext_of(st, n), dir_is_empty(n));
}

/* One lock section. Return: 0, with v->n_staged entries; 1 at the end. */
static int stage(struct view *v)
{
	struct store *st = v->st;
	uint32_t idx, stop;
	int r = 0;

	v->n_staged = v->at = 0;
	v->arena.len = 0;
	node_yield_lock(st);
	LOCKED(st);
	if (v->gave_up)
		return -ENOBUFS;
	idx = atomic_load_explicit(&v->cursor, memory_order_relaxed);
	stop = MIN(v->end, idx + SCAN_MAX);
	while (idx < stop && v->n_staged < STAGE_MAX &&
	       v->arena.len < STAGE_ARENA && r == 0) {
		r = pass_slot(v, idx);
		if (r == 0)
			atomic_store_explicit(&v->cursor, ++idx,
					      memory_order_relaxed);
	}
	if (r < 0)
		return r;
	if (idx < v->end || v->n_staged)
		return 0;
	v->done = true;
	return 1;
}

static struct span in_arena(const struct view *v, size_t at, size_t len)
{
	return len ? span_of(v->arena.p + at, len) : span_of(NULL, 0);
}

/* Offsets become pointers; the key is decoded. */
static int finish_entry(struct view *v, struct staged *s,
			struct view_entry *ret)
{
	size_t len;
	int r;

	*ret = s->e;
	ret->path = in_arena(v, s->path_at, s->path_len);
	ret->data = in_arena(v, s->data_at, s->data_len);
	if (s->e.type == STORE_DIR)
		return 0;
	v->key.len = 0;
	r = buf_reserve(&v->st->mem, &v->key, s->path_len);
	if (r == 0)
		r = name_decode(ret->path, v->st->opt.sep, v->key.p, &len,
				NULL);
	if (r == 0)
		ret->key = span_of(v->key.p, len);
	return r;
}

static void drop_staged(struct view *v)
{
	for (int i = 0; i < v->n_staged; i++) {
		value_unref(&v->st->mem, v->stage[i].e.value);
		v->stage[i].e.value = NULL;
	}
}

int view_next(struct view *v, struct view_entry *ret)
{
	int r;

	while (v->at == v->n_staged) {
		if (atomic_load_explicit(&v->cancelled, memory_order_relaxed))
			return -ECANCELED;
		drop_staged(v);
		if (v->done)
			return 0;
		r = stage(v);
		if (r < 0)
			return r;
	}
	r = finish_entry(v, &v->stage[v->at], ret);
	if (r < 0)
		return r;
	v->at++;
	return 1;
}

/* --- the end ---------------------------------------------------------- */

/* Takes the marks off the slots that were not passed. */
static bool sweep_marks(struct view *v)
{
	struct store *st = v->st;
	uint32_t idx, stop;
	struct node *n;

	LOCKED(st);
	v->gave_up = true; /* no more images */
	idx = atomic_load_explicit(&v->cursor, memory_order_relaxed);
	stop = MIN(v->end, idx + SCAN_MAX * 4);
	for (; idx < stop; idx++) {
		n = node_at(st, idx);
		n->born = false;
		if (n->imaged)
			image_drop(v, image_at(v, idx));
	}
	atomic_store_explicit(&v->cursor, idx, memory_order_relaxed);
	if (idx == v->end)
		v->done = true;
	return v->done;
}

/* Lets the images of directories go, a few at a time. */
static bool sweep_images(struct view *v, uint32_t *i)
{
	struct store *st = v->st;
	uint32_t stop = MIN(v->images.top, *i + SCAN_MAX);
	struct image *img;

	LOCKED(st);
	for (; *i < stop; (*i)++) {
		img = slab_at(&v->images, *i);
		if (img->idx)
			image_drop(v, img);
	}
	if (*i < v->images.top)
		return false;
	st->view = NULL;
	return true;
}

void view_end(struct view *v)
{
	uint32_t i = 1;

	if (!v)
		return;
	drop_staged(v);
	while (!v->done && !sweep_marks(v))
		node_yield_lock(v->st);
	while (!sweep_images(v, &i))
		node_yield_lock(v->st);
	free_view(v);
}

void view_cancel(struct view *v)
{
	atomic_store_explicit(&v->cancelled, true, memory_order_relaxed);
}

double view_progress(const struct view *v)
{
	return (double)atomic_load_explicit(&v->cursor, memory_order_relaxed) /
	       (double)v->end;
}

uint64_t view_changes(const struct view *v)
{
	return v->changes;
}

int64_t view_cut_ms(const struct view *v)
{
	return v->cut_ms;
}

char view_sep(const struct view *v)
{
	return v->st->opt.sep;
}

uint32_t view_n_dbs(const struct view *v)
{
	return v->n_dbs;
}

void view_db_size(const struct view *v, uint32_t db, uint64_t *ret_keys,
		  uint64_t *ret_expires)
{
	*ret_keys = db < v->n_dbs ? v->db[db].n_keys : 0;
	*ret_expires = db < v->n_dbs ? v->db[db].n_expires : 0;
}

unsigned view_facts_key(const struct view *v)
{
	return v->facts_key;
}
