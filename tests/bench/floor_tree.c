/* SPDX-License-Identifier: MIT */
/*
 * Files are byte arrays that double, directories arrays of slots, names sit in
 * one table of chains. Nothing here could be left out and still hold files;
 * nothing is there for snapshots, limits, many threads or memory economy.
 */
#include "tests/bench/floor_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BUCKETS_FIRST = 1 << 12,
	SLOTS_FIRST = 8,
	FILE_FIRST = 128
};

int tree_init(struct tree *t)
{
	memset(t, 0, sizeof(*t));
	t->n_buckets = BUCKETS_FIRST;
	t->buckets = calloc(t->n_buckets, sizeof(struct node *));
	if (!t->buckets)
		return -ENOMEM;
	t->root.mode = S_IFDIR | 0755;
	t->root.uid = getuid();
	t->root.gid = getgid();
	t->root.first_free = TREE_NO_SLOT;
	t->root.n_lookup = 1;
	tree_touch(&t->root);
	return 0;
}

void tree_touch(struct node *node)
{
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &node->mtime);
	node->ctime = node->mtime;
}

/* FNV-1a, and a last stir because buckets go by the low bits. */
static uint64_t hash_of(const struct node *dir, const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)dir;

	while (*name)
		h = (h ^ (unsigned char)*name++) * UINT64_C(0x100000001b3);
	return h ^ (h >> 29);
}

struct node *tree_find(struct tree *t, struct node *dir, const char *name)
{
	uint64_t hash = hash_of(dir, name);
	struct node *n = t->buckets[hash & (t->n_buckets - 1)];

	while (n && (n->hash != hash || n->parent != dir ||
		     strcmp(n->name, name) != 0))
		n = n->next;
	return n;
}

static void grow_index(struct tree *t)
{
	size_t i, n_new = t->n_buckets * 2;
	struct node **buckets = calloc(n_new, sizeof(struct node *));
	struct node *n, **to;

	if (!buckets)
		return; /* longer chains, nothing worse */
	for (i = 0; i < t->n_buckets; i++) {
		while ((n = t->buckets[i])) {
			t->buckets[i] = n->next;
			to = &buckets[n->hash & (n_new - 1)];
			n->next = *to;
			*to = n;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n_new;
}

static int take_slot(struct node *dir, struct node *node)
{
	uint32_t i = dir->first_free;
	struct slot *slots;
	uint32_t cap;

	if (i != TREE_NO_SLOT) {
		dir->first_free = dir->slots[i].next_free;
	} else {
		if (dir->n_slots == dir->cap_slots) {
			cap = dir->cap_slots ? dir->cap_slots * 2 : SLOTS_FIRST;
			slots = realloc(dir->slots, cap * sizeof(*slots));
			if (!slots)
				return -ENOMEM;
			dir->slots = slots;
			dir->cap_slots = cap;
		}
		i = dir->n_slots++;
	}
	dir->slots[i].node = node;
	node->slot = i;
	dir->n_live++;
	return 0;
}

/* Puts a node under a name; takes the name's memory on success. */
static int attach(struct tree *t, struct node *node, struct node *dir,
		  char *name)
{
	struct node **bucket;

	if (take_slot(dir, node) < 0)
		return -ENOMEM;
	if (++t->n_nodes > t->n_buckets)
		grow_index(t);
	node->name = name;
	node->parent = dir;
	node->hash = hash_of(dir, name);
	bucket = &t->buckets[node->hash & (t->n_buckets - 1)];
	node->next = *bucket;
	*bucket = node;
	if (S_ISDIR(node->mode))
		dir->n_dirs++;
	tree_touch(dir);
	return 0;
}

static void detach(struct tree *t, struct node *node)
{
	struct node **at = &t->buckets[node->hash & (t->n_buckets - 1)];
	struct node *dir = node->parent;

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	t->n_nodes--;
	dir->slots[node->slot].node = NULL;
	dir->slots[node->slot].next_free = dir->first_free;
	dir->first_free = node->slot;
	dir->n_live--;
	if (S_ISDIR(node->mode))
		dir->n_dirs--;
	free(node->name);
	node->name = NULL;
	tree_touch(dir);
}

static void free_if_unused(struct node *node)
{
	if (node->name || node->n_lookup)
		return;
	free(node->data);
	free(node->slots);
	free(node);
}

int tree_add(struct tree *t, struct node *dir, const char *name, mode_t mode,
	     struct node **ret)
{
	struct node *node = calloc(1, sizeof(*node));
	char *copy = strdup(name);

	if (!node || !copy)
		goto undo;
	node->mode = mode;
	node->first_free = TREE_NO_SLOT;
	if (attach(t, node, dir, copy) < 0)
		goto undo;
	node->mtime = node->ctime = dir->mtime;
	*ret = node;
	return 0;
undo:
	free(node);
	free(copy);
	return -ENOMEM;
}

int tree_remove(struct tree *t, struct node *node)
{
	if (node->n_live)
		return -ENOTEMPTY;
	detach(t, node);
	free_if_unused(node);
	return 0;
}

int tree_rename(struct tree *t, struct node *node, struct node *dir,
		const char *name, bool keep)
{
	struct node *old = tree_find(t, dir, name);
	char *copy;
	int r;

	if (old == node)
		return 0;
	if (old && keep)
		return -EEXIST;
	if (old && S_ISDIR(old->mode) != S_ISDIR(node->mode))
		return S_ISDIR(old->mode) ? -EISDIR : -ENOTDIR;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	r = old ? tree_remove(t, old) : 0;
	if (r < 0) {
		free(copy);
		return r;
	}
	detach(t, node);
	r = attach(t, node, dir, copy);
	if (r < 0) { /* out of memory: the file is lost, as the floor may */
		free(copy);
		free_if_unused(node);
	}
	return r;
}

void tree_forget(struct node *node, uint64_t n)
{
	node->n_lookup -= n;
	free_if_unused(node);
}

static int reserve(struct node *node, size_t len)
{
	size_t cap = node->cap ? node->cap : FILE_FIRST;
	unsigned char *data;

	if (len <= node->cap)
		return 0;
	while (cap < len)
		cap *= 2;
	data = realloc(node->data, cap);
	if (!data)
		return -ENOMEM;
	node->data = data;
	node->cap = cap;
	return 0;
}

int tree_resize(struct node *node, size_t len)
{
	if (reserve(node, len) < 0)
		return -ENOMEM;
	if (len > node->len)
		memset(node->data + node->len, 0, len - node->len);
	node->len = len;
	return 0;
}

int tree_write(struct node *node, const void *data, size_t len, size_t at)
{
	size_t end = at + len;

	if (reserve(node, end) < 0)
		return -ENOMEM;
	if (at > node->len)
		memset(node->data + node->len, 0, at - node->len);
	memcpy(node->data + at, data, len);
	if (end > node->len)
		node->len = end;
	return 0;
}

void tree_stat(const struct tree *t, const struct node *node, struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	/* The kernel's number of the root is 1; every other is an address. */
	ret->st_ino = node == &t->root ? 1 : (uintptr_t)node;
	ret->st_mode = node->mode;
	ret->st_nlink = S_ISDIR(node->mode) ? 2 + node->n_dirs : !!node->name;
	ret->st_uid = node->uid;
	ret->st_gid = node->gid;
	ret->st_size = (off_t)node->len;
	ret->st_blksize = 4096;
	ret->st_blocks = (blkcnt_t)((node->len + 511) / 512);
	ret->st_atim = ret->st_mtim = node->mtime;
	ret->st_ctim = node->ctime;
}
