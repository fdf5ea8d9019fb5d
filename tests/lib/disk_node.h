/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/unit.h"

/*
 * What the model disk (disk.h) holds: files and directories, each as programs
 * see it and as it is certain to be after a power loss, with what happened in
 * between. Private to disk.c.
 *
 *   M1  `now` = `durable` with all of `change` (files) or `op` (directories)
 *       applied in order.
 *   M2  What is durable changes by a sync alone.
 *   M3  A node lives while an entry, durable or not, an operation or a
 *       descriptor refers to it.
 *
 * Not thread-safe: the disk's lock covers all. Memory that cannot be had ends
 * the process.
 */
struct disk_bytes {
	uint8_t *p;
	size_t len, cap;
};

/* One write() or ftruncate() that no sync has covered. */
struct disk_change {
	bool truncate;
	bool lost; /* a sync of it failed: the kernel takes it for written */
	size_t off, len; /* of a write */
	uint8_t *data;
	size_t size; /* of the file after it */
};

struct disk_entry {
	char *name;
	struct disk_node *node;
};

struct disk_entries {
	struct disk_entry *v;
	size_t n;
};

/* create, mkdir: adds; unlink: removes; rename: both, never just one. */
struct disk_op {
	char *remove, *add; /* names, or NULL */
	struct disk_node *node;
};

struct disk_node {
	int refs;
	int n_open;  /* descriptors */
	int n_links; /* entries in a directory's `now` */
	bool is_dir;
	uint32_t mode;
	uint64_t ino;
	int64_t mtime_s;
	char name[32]; /* the last one it was reached by, cut; for traces */

	/* files */
	struct disk_bytes now, durable;
	struct disk_change *change;
	size_t n_changes;

	/* directories */
	struct disk_entries names, durable_names;
	struct disk_op *op;
	size_t n_ops;
	bool dirty; /* there are operations that no sync has failed for */
};

/* A new node with one reference, the caller's. */
struct disk_node *disk_node_new(bool is_dir, uint32_t mode, uint64_t ino);
struct disk_node *disk_node_ref(struct disk_node *n);
void disk_node_put(struct disk_node *n); /* NULL is allowed */

/* --- files ------------------------------------------------------------ */

void disk_node_write(struct disk_node *n, size_t off, const void *p,
		     size_t len);
void disk_node_truncate(struct disk_node *n, size_t size);

/* --- directories ------------------------------------------------------ */

/* Return: the node of a name, borrowed; NULL. */
struct disk_node *disk_node_find(const struct disk_node *dir, const char *name);

/* Does an operation: @remove loses its entry, @add gets @node, replacing what
 * it had. Either may be NULL. */
void disk_node_change(struct disk_node *dir, const char *remove,
		      const char *add, struct disk_node *node);

/* --- both ------------------------------------------------------------- */

/* Makes durable what the kernel still takes for unwritten. */
void disk_node_sync(struct disk_node *n);

/* A sync fails: what was unwritten is taken for written from now on. */
void disk_node_sync_failed(struct disk_node *n);

/**
 * disk_node_after_crash() - what a power loss leaves of a tree
 * @harsh: directories keep any subset of their operations, else a prefix
 * Return: a new tree, all of it durable; the caller's reference. @n stays as
 *         it is.
 */
struct disk_node *disk_node_after_crash(const struct disk_node *n,
					struct unit_rng *rng, bool harsh);
