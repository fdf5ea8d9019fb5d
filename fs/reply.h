/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>
#include <string.h>
#include <time.h>

#include "fs/fs.h"

/*
 * From what the layers below answer to what libfuse sends. A reply that fails
 * means that the caller is gone (interrupted, or the mount is): nothing to be
 * done, except that references meant for the kernel must come back.
 */

/* Replies success (0) or an error (-errno). */
static inline void reply_err(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, -r);
}

static inline struct timespec reply_time(int64_t ns)
{
	struct timespec ts = {
		.tv_sec = ns / 1000000000,
		.tv_nsec = ns % 1000000000,
	};

	if (ts.tv_nsec < 0) { /* before 1970: division rounds towards 0 */
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	return ts;
}

static inline struct stat reply_stat(const struct store_attr *a)
{
	return (struct stat){
		.st_ino = a->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_size = (off_t)a->size,
		.st_blocks = (blkcnt_t)a->blocks,
		.st_blksize = 4096,
		.st_atim = reply_time(a->atime_ns),
		.st_mtim = reply_time(a->mtime_ns),
		.st_ctim = reply_time(a->ctime_ns),
	};
}

/* Seconds for which the kernel may go on without asking. */
static inline double reply_timeout(const struct store_attr *a)
{
	struct timespec now;
	double left;

	if (a->expire_ms == 0)
		return FS_CACHE_S;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	left = (double)a->expire_ms / 1e3 - (double)now.tv_sec -
	       (double)now.tv_nsec / 1e9;
	return left < 0 ? 0 : MIN(left, FS_CACHE_S);
}

/* An entry of the store, to be cached. */
static inline struct fuse_entry_param reply_param(const struct fs *fs,
						  const struct store_attr *a)
{
	double timeout = reply_timeout(a);

	return (struct fuse_entry_param){
		.ino = a->ino,
		/* The kernel made the root itself, with 0, and would take
		 * another generation for another file in its place. */
		.generation = a->ino == STORE_ROOT_INO ? 0 : fs->generation,
		.attr = reply_stat(a),
		.attr_timeout = timeout,
		.entry_timeout = timeout,
	};
}

/* Replies a name for which the store has given a reference. */
static inline void reply_entry(fuse_req_t req, const struct store_attr *a)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e = reply_param(fs, a);

	if (fuse_reply_entry(req, &e) < 0)
		store_forget(fs->st, a->ino, 1);
}

/* Replies that a name is not there, for the kernel to remember. */
static inline void reply_absent(fuse_req_t req)
{
	struct fuse_entry_param e = { .ino = 0, .entry_timeout = FS_CACHE_S };

	(void)fuse_reply_entry(req, &e);
}

/* Replies attributes of the store. */
static inline void reply_attr(fuse_req_t req, const struct store_attr *a)
{
	struct stat st = reply_stat(a);

	(void)fuse_reply_attr(req, &st, reply_timeout(a));
}

/* Replies a pinned range and gives it back. */
static inline void reply_range(fuse_req_t req, struct store_range *range)
{
	struct store *st = fs_of(req)->st;

	(void)fuse_reply_iov(req, range->iov, range->n_iov);
	store_range_put(st, range);
}
