/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "fs/ctl.h"
#include "fs/job.h"

/*
 * What the parts of the control files share; private to ctl*.c.
 *
 *   ctl_table.c  the list of files
 *   ctl_show.c, ctl_info.c  their texts
 *   ctl.c        the tree: names, attributes, renderings
 *   ctl_op.c     reads and writes, and what they start
 *   ctl_dump.c   dump.rdb
 *
 * Locks, in the order in which they are taken: render_lock, then lock. Neither
 * is held over I/O, over ctl_op.done() or over a call that could come back
 * here; render_lock is held over calls of the store and of persist that take
 * their own locks for a moment.
 */

/* --- the table ---------------------------------------------------------- */

/* What a text is made from. */
struct ctl_source {
	struct ctl_options opt;
	int64_t start_ms; /* wall clock at ctl_new() */
};

enum ctl_kind {
	CTL_TEXT,      /* show() */
	CTL_MOVING,    /* show(), but changing all the time: C2 */
	CTL_DIGEST,    /* computed when read */
	CTL_DUMP,      /* a file on disk, another inode for each save */
	CTL_CONFIG,    /* the directory of directives */
	CTL_DIRECTIVE, /* one of those; not in the table */
};

enum ctl_action {
	CTL_NO_ACTION,
	CTL_SAVE,   /* wait for a save */
	CTL_BGSAVE, /* start one */
};

struct ctl_file {
	struct ctl_doc doc;
	enum ctl_kind kind;
	enum ctl_action action;
	void (*show)(const struct ctl_source *src, FILE *out);
};

/* Sorted by path. */
extern const struct ctl_file ctl_files[];
extern const int ctl_n_files;

void ctl_show_readme(const struct ctl_source *src, FILE *out);
void ctl_show_save(const struct ctl_source *src, FILE *out);
void ctl_show_bgsave(const struct ctl_source *src, FILE *out);
void ctl_show_lastsave(const struct ctl_source *src, FILE *out);
void ctl_show_info(const struct ctl_source *src, FILE *out);

/* --- the tree ----------------------------------------------------------- */

/* One rendering; shared by the node and the reads under way. */
struct ctl_text {
	_Atomic int refs;
	size_t len;
	char bytes[];
};

struct ctl_node {
	char name[64];
	uint32_t mode; /* with S_IFMT */
	enum ctl_kind kind;
	const struct ctl_file *file; /* NULL: a directive */
	int directive;		     /* conf's index; else -1 */

	/* Protected by lock. */
	struct ctl_text *text; /* NULL: not rendered yet */
	int64_t mtime_ns;      /* grows with each change; never goes back */
	int64_t rendered_ms;   /* CLOCK_MONOTONIC; CTL_MOVING */
	uint64_t seen_changes; /* CTL_DIGEST: store_stats.changes at mtime */
	uint64_t text_changes; /* CTL_DIGEST: ... at text */
	bool written;	       /* since the last getattr: see ctl_getattr() */
};

struct ctl_dump;
struct ctl_pending;
struct ctl_waiter;

struct ctl {
	struct ctl_source src;
	struct job_pool *jobs;
	_Atomic int refs; /* ctl_free(), and each save that will call back */
	pthread_mutex_t render_lock;
	pthread_mutex_t lock;

	struct ctl_node *nodes; /* fixed: the table's, then the directives */
	int n_nodes;

	/* Protected by lock. */
	struct ctl_pending *pending;
	struct ctl_dump *dumps;
	struct ctl_waiter *digest_waiters;
	bool digest_running;
	bool ending;

	struct job digest_job;
};

/* Inode numbers: CTL_INO_BIT and the node's index plus this, or CTL_DUMP_BIT
 * and the dump's serial. */
#define CTL_NODE_BASE 16
#define CTL_DUMP_BIT  (UINT64_C(1) << 62)

/* Of dump.rdb, which cannot be written: what cp gives the copy, so that the
 * next copy can replace that. */
enum {
	CTL_DUMP_MODE = 0600,
};

static inline uint64_t ctl_node_ino(const struct ctl *c,
				    const struct ctl_node *n)
{
	return CTL_INO_BIT | (CTL_NODE_BASE + (uint64_t)(n - c->nodes));
}

/* NULL for the root, a dump, or what is no inode of ours. */
struct ctl_node *ctl_node_of(struct ctl *c, uint64_t ino);

/* Gives back one reference to the whole; the last one frees it. */
void ctl_unref(struct ctl *c);

/* Return: NULL without memory. @len bytes copied from @bytes. */
struct ctl_text *ctl_text_new(const char *bytes, size_t len);
void ctl_text_unref(struct ctl_text *t);

/**
 * ctl_node_text() - the rendering that a read is to be served from
 * Makes one if there is none yet.
 * Return: a reference; NULL without memory.
 */
struct ctl_text *ctl_node_text(struct ctl *c, struct ctl_node *n);

/* Now, or a nanosecond after the time it had. Caller holds lock. */
void ctl_touch_locked(struct ctl_node *n);

/* --- operations under way ------------------------------------------------ */

/* An operation that has not been completed. First member of what is allocated
 * for it; freed by whoever does the work, long after an interrupt perhaps. */
struct ctl_pending {
	struct ctl *c;
	struct ctl_op *op;	  /* NULL: completed. Protected by lock */
	struct ctl_node *written; /* write: the node; else NULL */
	struct ctl_pending *prev, *next; /* of those that have an op */
	struct job job;
};

/**
 * ctl_pending_new() - start an operation that will be completed later
 * @size: of the structure that begins with struct ctl_pending; zeroed
 * Return: NULL if it has been completed already: interrupted before it began,
 *         no memory, or ctl_free() under way.
 */
void *ctl_pending_new(struct ctl *c, struct ctl_op *op, size_t size,
		      struct ctl_node *written);

/* Completes it, unless that has been done, and frees @p. */
void ctl_pending_end(struct ctl_pending *p, ssize_t result, const void *data);

/* Completes what was never pending. */
void ctl_op_end(struct ctl *c, struct ctl_op *op, struct ctl_node *written,
		ssize_t result, const void *data);

/* --- dump.rdb ------------------------------------------------------------ */

/**
 * ctl_dump_current() - the dump that the name stands for now
 * @ref: take a reference
 * Context: a few system calls if there has been a save since the last time.
 * Return: 0; -ENOENT; -errno.
 */
MUST_CHECK int ctl_dump_current(struct ctl *c, bool ref,
				struct store_attr *ret_attr);
MUST_CHECK int ctl_dump_attr(struct ctl *c, uint64_t ino,
			     struct store_attr *ret_attr);
void ctl_dump_forget(struct ctl *c, uint64_t ino, uint64_t n);
void ctl_dump_read(struct ctl *c, uint64_t ino, uint64_t off, size_t len,
		   struct ctl_op *op);
void ctl_dumps_free(struct ctl *c);
