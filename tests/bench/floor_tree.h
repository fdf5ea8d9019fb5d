/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/*
 * The floor's file tree: nodes found by (parent, name) through one hash index.
 * Single-threaded: no locks. Functions return 0 or -errno.
 */
struct node;

/* One place in a directory's listing. Its number is the cookie of readdir, so
 * an entry never moves while it lives; freed places are used again. */
struct slot {
	struct node *node; /* NULL: free */
	uint32_t next_free;
};

struct node {
	struct node *next; /* in the hash bucket */
	struct node *parent;
	uint64_t hash;
	uint64_t n_lookup; /* references the kernel holds */
	char *name;	   /* NULL once unlinked */
	uint32_t slot;
	uint32_t n_dirs; /* subdirectories */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime, ctime;
	/* regular file */
	unsigned char *data;
	size_t len, cap;
	/* directory */
	struct slot *slots;
	uint32_t n_slots, cap_slots, first_free, n_live;
};

struct tree {
	struct node root;
	struct node **buckets;
	size_t n_buckets, n_nodes;
};

#define TREE_NO_SLOT UINT32_MAX

int tree_init(struct tree *t);

/* NULL if absent. */
struct node *tree_find(struct tree *t, struct node *dir, const char *name);

int tree_add(struct tree *t, struct node *dir, const char *name, mode_t mode,
	     struct node **ret);

/* Takes a node out of its directory; it lives on while the kernel refers to
 * it. -ENOTEMPTY. */
int tree_remove(struct tree *t, struct node *node);

/* -ENOTEMPTY, -EISDIR, -ENOTDIR, -EEXIST (if @keep). */
int tree_rename(struct tree *t, struct node *node, struct node *dir,
		const char *name, bool keep);

/* Gives back references; frees the node if they were what kept it. */
void tree_forget(struct node *node, uint64_t n);

/* Sets a file's length, zero-filled where it grows. -ENOMEM. */
int tree_resize(struct node *node, size_t len);

/* Writes into a file, which grows as needed. -ENOMEM. */
int tree_write(struct node *node, const void *data, size_t len, size_t at);

void tree_stat(const struct tree *t, const struct node *node, struct stat *ret);
void tree_touch(struct node *node);
