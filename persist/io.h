/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "store/defs.h"
#include "store/span.h"

/*
 * The door to the operating system. Every system call of persist/ goes through
 * one table, so that a test can put another disk under it: one that fails the
 * n-th call, writes short, or forgets what was not synced.
 *
 * All entries return what the system call returns, or -errno; none sets errno.
 * `ctx` is handed to each. Thread-safe as the system calls are.
 */
struct io {
	void *ctx;
	int (*openat)(void *ctx, int dirfd, const char *name, int flags,
		      mode_t mode);
	int (*close)(void *ctx, int fd);
	ssize_t (*pread)(void *ctx, int fd, void *buf, size_t len, off_t off);
	ssize_t (*write)(void *ctx, int fd, const void *buf, size_t len);
	int (*fstat)(void *ctx, int fd, struct stat *st);
	int (*fsync)(void *ctx, int fd);
	int (*fdatasync)(void *ctx, int fd);
	/* Starts write-out of [off, off + len) and waits for that of the same
	 * length before it. A hint, but for one thing: the kernel reports a
	 * failed write-out once per descriptor, so fsync() will not tell of
	 * what was told here. io_writeout_failed() says which results count. */
	int (*sync_range)(void *ctx, int fd, off_t off, off_t len);
	int (*ftruncate)(void *ctx, int fd, off_t len);
	int (*renameat)(void *ctx, int dirfd, const char *from, const char *to);
	int (*unlinkat)(void *ctx, int dirfd, const char *name);
	int (*mkdirat)(void *ctx, int dirfd, const char *name, mode_t mode);
};

/* The real one. */
extern const struct io io_system;

/**
 * io_write_full() - write all of a buffer, however many calls it takes
 * Return: 0; -errno of the call that failed (-EIO if one wrote nothing): then
 *         a part may have been written.
 */
MUST_CHECK int io_write_full(const struct io *io, int fd, const void *buf,
			     size_t len);

/* True if a result of sync_range() means that data did not reach the disk; the
 * others say that the file or the kernel does not know the call. */
static inline bool io_writeout_failed(int r)
{
	return r == -EIO || r == -ENOSPC || r == -EDQUOT;
}

/**
 * io_replace() - replace a small file: all of it or nothing, durably
 * @tmp: name for the temporary in the same directory
 * Writes @tmp, syncs it, renames it to @name, syncs the directory.
 * Return: 0; -errno: before the rename nothing has changed and @tmp is gone;
 *         if the last sync of the directory failed the new content is in place
 *         but may not survive a power loss.
 */
MUST_CHECK int io_replace(const struct io *io, int dirfd, const char *name,
			  const char *tmp, struct span content, mode_t mode);
