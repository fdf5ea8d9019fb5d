/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "persist/io.h"

/*
 * A table of system calls that does what the real one does, but for the one
 * call that is to fail, and that remembers what was called in which order.
 *
 * A fault loop sees every call that is there; it cannot see one that is
 * missing. So a test also compares `trace` with the order that must be.
 *
 * Thread-safety: `io` may be used by several threads; the fields are to be read
 * and changed while nobody does.
 */
struct faulty {
	struct io io; /* hand this to what is tested */
	int dirfd;    /* fsync() of it is traced as "fsync-dir" */

	/* Which call fails and how: the fail_at-th, from 1 (0: none), of those
	 * called `only` (NULL: of all). A close() that fails has closed. */
	int fail_at;
	const char *only;
	int error;	   /* positive errno */
	bool keep_failing; /* all later ones fail as well */
	size_t write_max;  /* a write() takes at most so many bytes; 0: all */
	void (*before)(void *arg, const char *call); /* each call; may block */
	void *arg;

	/* What happened. */
	pthread_mutex_t lock;
	int n_calls; /* of those that count for fail_at */
	bool fired;
	char fired_call[16];
	int n_open;	 /* descriptors opened and not closed */
	char trace[512]; /* "open write fsync close ...": a run of equal calls
			  * is one word; full: the rest is left out */
};

/* Starts with nothing to fail and an empty trace. */
void faulty_init(struct faulty *f, int dirfd);

/* Forgets what happened; the plan stays. */
void faulty_reset(struct faulty *f);
