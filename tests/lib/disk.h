/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persist/io.h"

/*
 * A disk in memory under persist/'s table of system calls, that loses power.
 *
 * It promises what POSIX and Linux' file systems promise, and nothing more:
 *
 *   D1  fsync() and fdatasync() of a file make its content and size durable;
 *       not its name.
 *   D2  fsync() of a directory makes its entries durable; not what the files
 *       hold, nor the directory's own name.
 *   D3  sync_range() makes nothing durable.
 *   D4  A rename happens as a whole or not at all.
 *   D5  All else is in doubt until then: any part of what was written may be on
 *       the disk, in any order, within a file and between files.
 *   D6  After a sync that failed (sync_range() with an error that says that
 *       data were lost included) the kernel takes for written what was not:
 *       the next sync succeeds and leaves that in doubt.
 *
 *	disk_init(&d);
 *	... run what is to be tested on &d.io and disk_root(&d) ...
 *	disk_after_crash(&d, seed, DISK_HARSH, &after);
 *	... see that it copes with what is left in &after ...
 *	disk_fini(&after);
 *	disk_fini(&d);
 *
 * Calls can be made to fail, and the power to go, at the n-th call.
 *
 * Names are single components: no paths, no links, no special files. A
 * descriptor's number is never used twice, so that one that is used after its
 * close fails for certain; they start at DISK_FD_FIRST, where no real one is.
 *
 * Thread-safety: all functions, and the calls, from any thread.
 */
enum {
	DISK_PLANS_MAX = 4,
	DISK_FD_FIRST = 1 << 20,
	DISK_TRACE_MAX = 64, /* calls that are remembered */
};

enum disk_fault {
	DISK_FAIL,	/* the call does nothing and fails. A sync: D6; a
			 * close has closed */
	DISK_SHORT,	/* a write takes a part, at least a byte; other calls
			 * are not touched, but count */
	DISK_DONE_FAIL, /* the call is done, yet told as failed */
	DISK_OFF,	/* the power goes before the call */
	DISK_OFF_AFTER, /* it goes after the call was done, which says so */
};

/* When the power is off all calls fail with -EIO and do nothing. */
struct disk_plan {
	uint64_t at;	  /* the at-th call from the time the plan is made, from
			   * 1; 0: none */
	const char *only; /* of the calls of this name (below); NULL: of all */
	enum disk_fault fault;
	int error; /* DISK_FAIL, DISK_DONE_FAIL: positive errno */
	bool keep; /* that call and all later ones */
	/* What became of it. */
	uint64_t n; /* calls that counted */
	bool fired;
};

/* Which directory operations a crash keeps. Files: see D5. */
enum disk_mode {
	DISK_ORDERED, /* in each directory a prefix of those not synced: what
		       * file systems with a journal do */
	DISK_HARSH,   /* any subset */
	DISK_N_MODES
};

struct disk_node;
struct disk_descriptor;

/* A call that was made. Names: open close pread write fstat fsync fsync-dir
 * fdatasync sync-range truncate rename unlink mkdir; a sync of a directory is
 * "fsync-dir", whichever call it was. */
struct disk_call {
	const char *call;
	char name[32]; /* file, cut; a rename: the new name */
	int64_t result;
};

struct disk {
	struct io io; /* hand this to what is tested */

	/* Called before each call, without a lock held; may block. To be set
	 * while nobody calls. */
	void (*before)(void *arg, const char *call);
	void *arg;

	/* The rest is the disk's own, but for tests that look at it while
	 * nobody calls. */
	pthread_mutex_t lock;
	struct disk_plan plan[DISK_PLANS_MAX];
	bool off;
	uint64_t n_calls;  /* made, with the power on */
	uint64_t n_wrong;  /* with a descriptor that is not open */
	uint64_t capacity; /* bytes in all files, in pages; 0: no limit */
	uint64_t last_ino;
	int last_fd;
	struct disk_node *root;
	struct disk_descriptor *open;
	int root_fd;
	struct disk_call trace[DISK_TRACE_MAX]; /* a ring: n_calls is next */
};

/* An empty disk. Ends with disk_fini(). It must stay where it is. */
void disk_init(struct disk *d);
void disk_fini(struct disk *d);

/* A descriptor of the root directory, the disk's own: not to be closed. */
int disk_root(struct disk *d);

/* Descriptors that were opened and not closed, but for the root's. */
int disk_n_open(struct disk *d);

/**
 * disk_plan() - what is to go wrong from now on; replaces earlier plans
 * @plans: @n of them, at most DISK_PLANS_MAX; copied, but for `only`. If
 *         several meet at one call, the first that is not DISK_SHORT rules.
 */
void disk_plan(struct disk *d, const struct disk_plan *plans, int n);

/* True if the n-th plan has met its call. */
bool disk_fired(struct disk *d, int n);

/* True if the power is off. */
bool disk_is_off(struct disk *d);

/* Limits what files may hold; beyond it writes are short, then -ENOSPC. */
void disk_set_capacity(struct disk *d, uint64_t bytes);

/* Bytes that count for the capacity: of files that have a name or are open. */
uint64_t disk_used(struct disk *d);

/**
 * disk_after_crash() - a disk as the next start finds it
 * @seed: the same seed, the same state
 * @ret:  initialised; with power, no plans and no limit. Ends with
 *        disk_fini().
 * @d is not changed and can be asked again, also while its power is on.
 */
void disk_after_crash(struct disk *d, uint64_t seed, enum disk_mode mode,
		      struct disk *ret);

/* --- looking, without a call ------------------------------------------ */

/* Names in the root directory. */
int disk_count(struct disk *d);

/* Return: the size of a file in the root; -1 if there is none. */
int64_t disk_size(struct disk *d, const char *name);

/* Copies a file of the root out. Return: its bytes, the caller's to free, or
 * NULL if there is none. */
void *disk_read(struct disk *d, const char *name, size_t *ret_len);

/* Makes a durable file in the root, or replaces it. */
void disk_put(struct disk *d, const char *name, const void *p, size_t len);

/**
 * disk_trace() - the calls in a line: "open a, write a, fsync a, ..."
 * A run of equal ones is one; results are shown if negative. The last
 * DISK_TRACE_MAX calls.
 * Return: text, the caller's to free.
 */
char *disk_trace(struct disk *d);
