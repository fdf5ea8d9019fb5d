/* SPDX-License-Identifier: MIT */

#include "tests/model/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "store/defs.h"

void *must_alloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p) {
		fprintf(stderr, "out of memory: %zu bytes\n", size);
		abort();
	}
	return p;
}

static uint32_t default_mode(enum store_type type)
{
	return type == STORE_DIR       ? STORE_DIR_MODE
	       : type == STORE_SYMLINK ? STORE_LINK_MODE
				       : STORE_FILE_MODE;
}

/* --- life ------------------------------------------------------------- */

void model_init(struct model *m, unsigned owner)
{
	*m = (struct model){ .t.owner = owner,
			     .free = MODEL_NONE,
			     .n_names = MODEL_NAME_VALUE + 1 };
	m->t.cap = 1024;
	m->t.node = must_alloc(NULL, m->t.cap * sizeof(*m->t.node));
	m->bytes = must_alloc(NULL, m->t.cap * sizeof(*m->bytes));
	m->t.node[MODEL_ROOT] = (struct mnode){ .ino = STORE_ROOT_INO,
						.type = STORE_DIR,
						.mode = STORE_DIR_MODE };
	m->bytes[MODEL_ROOT] = NULL;
	m->t.n = 1;
}

void model_fini(struct model *m)
{
	for (uint32_t i = 0; i < m->t.n; i++)
		free(m->bytes[i]);
	free(m->bytes);
	free(m->t.node);
	free(m->files);
	free(m->dirs);
	*m = (struct model){ 0 };
}

static uint32_t take_index(struct model *m)
{
	struct mtree *t = &m->t;
	uint32_t idx = m->free;

	if (idx != MODEL_NONE) {
		m->free = t->node[idx].parent;
		return idx;
	}
	if (t->n == t->cap) {
		t->cap *= 2;
		t->node = must_alloc(t->node, t->cap * sizeof(*t->node));
		m->bytes = must_alloc(m->bytes, t->cap * sizeof(*m->bytes));
	}
	return t->n++;
}

/* --- the list of all files, and of all directories -------------------- */

static void list_add(struct model *m, uint32_t idx)
{
	bool is_dir = m->t.node[idx].type == STORE_DIR;
	uint32_t **v = is_dir ? &m->dirs : &m->files;
	uint32_t *n = is_dir ? &m->n_dirs : &m->n_files;
	uint32_t *cap = is_dir ? &m->cap_dirs : &m->cap_files;

	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 1024;
		*v = must_alloc(*v, *cap * sizeof(**v));
	}
	m->t.node[idx].at = *n;
	(*v)[(*n)++] = idx;
}

static void list_remove(struct model *m, uint32_t idx)
{
	bool is_dir = m->t.node[idx].type == STORE_DIR;
	uint32_t *v = is_dir ? m->dirs : m->files;
	uint32_t *n = is_dir ? &m->n_dirs : &m->n_files;
	uint32_t at = m->t.node[idx].at;

	v[at] = v[--*n];
	m->t.node[v[at]].at = at;
}

/* --- places ----------------------------------------------------------- */

static void attach(struct model *m, uint32_t idx, uint32_t parent,
		   uint32_t name)
{
	struct mnode *n = &m->t.node[idx], *p = &m->t.node[parent];

	n->parent = parent;
	n->name = name;
	p->n_children++;
	p->n_subdirs += n->type == STORE_DIR;
	p->n_doomed += n->doomed;
	if (name == MODEL_NAME_VALUE)
		p->has_value = true;
}

static void detach(struct model *m, uint32_t idx)
{
	struct mnode *n = &m->t.node[idx], *p = &m->t.node[n->parent];

	p->n_children--;
	p->n_subdirs -= n->type == STORE_DIR;
	p->n_doomed -= n->doomed;
	if (n->name == MODEL_NAME_VALUE)
		p->has_value = false;
}

uint32_t model_add(struct model *m, enum store_type type, uint32_t parent,
		   uint32_t name, uint64_t ino)
{
	uint32_t idx = take_index(m);

	m->t.node[idx] = (struct mnode){
		.ino = ino,
		.hash = XXH3_64bits(NULL, 0),
		.type = (uint8_t)type,
		.mode = default_mode(type),
	};
	m->bytes[idx] = NULL;
	attach(m, idx, parent, name);
	list_add(m, idx);
	return idx;
}

void model_remove(struct model *m, uint32_t idx)
{
	assert(idx != MODEL_ROOT && m->t.node[idx].n_children == 0);
	detach(m, idx);
	list_remove(m, idx);
	m->total_bytes -= m->t.node[idx].size;
	free(m->bytes[idx]);
	m->bytes[idx] = NULL;
	m->t.node[idx] = (struct mnode){ .parent = m->free };
	m->free = idx;
}

void model_move(struct model *m, uint32_t idx, uint32_t parent, uint32_t name)
{
	detach(m, idx);
	attach(m, idx, parent, name);
}

void model_swap(struct model *m, uint32_t a, uint32_t b)
{
	const struct mnode na = m->t.node[a], nb = m->t.node[b];

	detach(m, a);
	detach(m, b);
	attach(m, a, nb.parent, nb.name);
	attach(m, b, na.parent, na.name);
}

void model_doom(struct model *m, uint32_t idx, int64_t expire_ms)
{
	struct mnode *n = &m->t.node[idx];

	n->expire_ms = expire_ms;
	n->doomed = true;
	m->t.node[n->parent].n_doomed++;
}

/* --- content ---------------------------------------------------------- */

static void resize(struct model *m, uint32_t idx, uint64_t size)
{
	struct mnode *n = &m->t.node[idx];

	if (size == n->size)
		return;
	m->bytes[idx] = must_alloc(m->bytes[idx], size);
	if (size > n->size)
		memset(m->bytes[idx] + n->size, 0, size - n->size);
	m->total_bytes += size - n->size;
	n->size = size;
}

static void rehash(struct model *m, uint32_t idx)
{
	struct mnode *n = &m->t.node[idx];

	n->hash = XXH3_64bits(m->bytes[idx], n->size);
}

void model_write(struct model *m, uint32_t idx, uint64_t off, const void *data,
		 size_t len)
{
	if (len == 0)
		return;
	resize(m, idx, MAX(m->t.node[idx].size, off + len));
	memcpy(m->bytes[idx] + off, data, len);
	rehash(m, idx);
}

void model_truncate(struct model *m, uint32_t idx, uint64_t size)
{
	resize(m, idx, size);
	rehash(m, idx);
}

/* --- questions -------------------------------------------------------- */

void mtree_copy(struct mtree *to, const struct mtree *from)
{
	if (to->cap < from->n) {
		to->cap = from->cap;
		to->node = must_alloc(to->node, to->cap * sizeof(*to->node));
	}
	memcpy(to->node, from->node, from->n * sizeof(*to->node));
	to->n = from->n;
	to->owner = from->owner;
}

int mtree_depth(const struct mtree *t, uint32_t idx)
{
	int depth = 0;

	for (; idx != MODEL_ROOT; idx = t->node[idx].parent)
		depth++;
	return depth;
}

bool mtree_is_below(const struct mtree *t, uint32_t idx, uint32_t top)
{
	while (idx != top && idx != MODEL_ROOT)
		idx = t->node[idx].parent;
	return idx == top;
}

/* Short ones, which live in the store's node; longer ones, which do not; the
 * longest; and ones with bytes that the key has in another form. */
size_t mtree_name(const struct mtree *t, uint32_t name, char *buf)
{
	int n;

	if (name == MODEL_NAME_VALUE) {
		memcpy(buf, "%=", sizeof("%="));
		return 2;
	}
	n = snprintf(buf, MODEL_NAME_MAX, "w%u-%x", t->owner, name);
	if (name % 7 == 3) {
		n += snprintf(buf + n, 64, "-a-rather-long-name.suffix");
	} else if (name % 31 == 7) {
		n += snprintf(buf + n, 64, "%%00 \xc3\xa4:%%41");
	} else if (name % 251 == 5) {
		memset(buf + n, 'x', (size_t)(255 - n));
		n = 255;
		buf[n] = '\0';
	}
	return (size_t)n;
}

size_t mtree_path(const struct mtree *t, uint32_t idx, char *buf)
{
	char name[MODEL_NAME_MAX];
	size_t at = MODEL_PATH_MAX, len;

	for (; idx != MODEL_ROOT; idx = t->node[idx].parent) {
		len = mtree_name(t, t->node[idx].name, name);
		if (at != MODEL_PATH_MAX)
			buf[--at] = '/';
		assert(at > len);
		at -= len;
		memcpy(buf + at, name, len);
	}
	len = MODEL_PATH_MAX - at;
	memmove(buf, buf + at, len);
	return len;
}

unsigned mtree_facts(const struct mnode *n)
{
	unsigned mask = 0;

	if (n->mode != default_mode(n->type))
		mask |= STORE_FACT_MODE;
	if (n->uid)
		mask |= STORE_FACT_UID;
	if (n->gid)
		mask |= STORE_FACT_GID;
	if (n->mtime_set)
		mask |= STORE_FACT_MTIME;
	if (n->atime_set)
		mask |= STORE_FACT_ATIME;
	if (n->type == STORE_DIR && (mask || n->n_children == n->has_value))
		mask |= STORE_FACT_DIR;
	if (n->type == STORE_SYMLINK)
		mask |= STORE_FACT_SYMLINK;
	return mask;
}

bool mtree_is_entry(const struct mnode *n)
{
	return n->type != STORE_NONE &&
	       (n->type != STORE_DIR || mtree_facts(n) != 0);
}
