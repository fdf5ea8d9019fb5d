/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/*
 * What a writer knows about its part of the names: a tree of plain records, so
 * that a copy of the array is a copy of the model. Contents are kept beside the
 * records, which have just their hash: a copy is compared, never changed.
 *
 * Names are numbers: each stands for one text, different for each owner, so two
 * models never collide. Every model shares the root, index MODEL_ROOT.
 *
 * Thread-safety: none; one thread owns a model.
 */

enum {
	MODEL_ROOT = 0,
	MODEL_NAME_VALUE = 0, /* the name `%=` */
	MODEL_NAME_MAX = 256, /* with the final NUL */
	MODEL_DEPTH_MAX = 5,  /* of directories below the root */
	MODEL_PATH_MAX = (MODEL_DEPTH_MAX + 4) * MODEL_NAME_MAX,
};
#define MODEL_NONE UINT32_MAX

struct mnode {
	uint64_t ino;
	uint64_t hash, size; /* of the content */
	int64_t mtime_ns, atime_ns, expire_ms;
	uint32_t parent, name;
	uint32_t at; /* place in files[] or dirs[] */
	uint32_t n_children, n_subdirs, n_doomed;
	uint32_t mode, uid, gid;
	uint8_t type; /* enum store_type; STORE_NONE: free */
	bool mtime_set, atime_set;
	bool doomed;	/* its deadline is near: it may vanish by itself */
	bool has_value; /* a directory with a `%=` in it */
};

/* The records alone: the model itself, or what it was at a cut. */
struct mtree {
	struct mnode *node;
	uint32_t n, cap;
	unsigned owner;
};

struct model {
	struct mtree t;
	uint32_t free;	 /* list through `parent`, MODEL_NONE: empty */
	uint8_t **bytes; /* content by index */
	uint64_t total_bytes;
	uint32_t *files, *dirs; /* all but the root, in no order */
	uint32_t n_files, n_dirs, cap_files, cap_dirs;
	uint32_t n_names;
};

void model_init(struct model *m, unsigned owner);
void model_fini(struct model *m);

/* Makes a node with default facts and no content. Return: its index. */
uint32_t model_add(struct model *m, enum store_type type, uint32_t parent,
		   uint32_t name, uint64_t ino);
void model_remove(struct model *m, uint32_t idx);
void model_move(struct model *m, uint32_t idx, uint32_t parent, uint32_t name);
void model_swap(struct model *m, uint32_t a, uint32_t b);

void model_write(struct model *m, uint32_t idx, uint64_t off, const void *data,
		 size_t len);
void model_truncate(struct model *m, uint32_t idx, uint64_t size);

/* A file that will vanish at @expire_ms. */
void model_doom(struct model *m, uint32_t idx, int64_t expire_ms);

/* --- questions, of a model or a copy ---------------------------------- */

/* Copies the records, reusing @to's memory. */
void mtree_copy(struct mtree *to, const struct mtree *from);

/* Directories between a node and the root. */
int mtree_depth(const struct mtree *t, uint32_t idx);

/* Whether @idx is @top or below it. */
bool mtree_is_below(const struct mtree *t, uint32_t idx, uint32_t top);

/* The text of a name. Return: its length. */
size_t mtree_name(const struct mtree *t, uint32_t name, char *buf);

/* The path of a node. @buf: MODEL_PATH_MAX bytes. Return: its length. */
size_t mtree_path(const struct mtree *t, uint32_t idx, char *buf);

/* Whether a view delivers an entry for it. */
bool mtree_is_entry(const struct mnode *n);

/* The facts that a view delivers. */
unsigned mtree_facts(const struct mnode *n);

/* malloc() and the like that never fail: they end the program. */
void *must_alloc(void *p, size_t size);
