/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "store/defs.h"

/*
 * The lock that keeps a DATADIR to one daemon: DATADIR/keyfs.lock. The lock
 * itself is the kernel's (it goes with the process, however that ends); the
 * text in the file is for those who find it taken:
 *
 *	pid 4711
 *	state starting|running|ending
 *
 * A holder that is ending needs no more than patience, so it is waited for.
 */
#define LOCKFILE_NAME "keyfs.lock"

struct lockfile {
	int dirfd; /* borrowed */
	int fd;	   /* -1: not held */
};

#define LOCKFILE_INIT                                                          \
	{                                                                      \
		-1, -1                                                         \
	}

/* How to tell a holder that serves from one that is about to end. */
struct lockfile_wait {
	/* True if the holder's mount can be seen. Asked when it says that it
	 * runs: after an umount it takes a moment to find out. */
	bool (*is_mounted)(void *arg);
	/* Called once, if there is something to wait for. */
	void (*waiting)(void *arg, pid_t pid);
	void *arg;
};

/**
 * lockfile_lock() - take the lock; wait for a holder that is ending
 * @dirfd:   DATADIR; borrowed until lockfile_release()
 * @ret_pid: set if somebody else has it; 0 if the file does not say who
 * Return: 0; -EBUSY: a daemon serves (or loads) this DATADIR; -errno.
 */
MUST_CHECK int lockfile_lock(struct lockfile *l, int dirfd,
			     const struct lockfile_wait *wait, pid_t *ret_pid);

/* Writes the state, one of the words above. Failure is harmless. */
void lockfile_set_state(struct lockfile *l, const char *state);

/* Removes the file and gives the lock back. Not held: nothing happens. */
void lockfile_release(struct lockfile *l);
