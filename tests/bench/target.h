/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What is measured: a directory, or a Redis server. A key is a relative path
 * with at most one slash; the directory before it must have been made.
 * Functions return 0 or a count, or -errno (a Redis error reply or a broken
 * connection is -EIO and said on stderr).
 *
 * Thread-safety: none; one target per process.
 */
struct target; /* each kind has its own */

struct target_ops {
	/* @where: the directory's or the socket's path; borrowed. The target
	 * that is returned is disposed of with close(). */
	int (*open)(const char *where, struct target **ret);
	void (*close)(struct target *t);

	int (*make_dir)(struct target *t, const char *dir);

	/* A whole job with a small value, from open(2) to close(2). */
	int (*create)(struct target *t, const char *key, const void *data,
		      size_t len); /* the key is new */
	int (*overwrite)(struct target *t, const char *key, const void *data,
			 size_t len); /* the key is there */
	int (*append)(struct target *t, const char *key, const void *data,
		      size_t len);
	int (*replace)(struct target *t, const char *key, const void *data,
		       size_t len); /* write beside it, then rename */
	ssize_t (*read)(struct target *t, const char *key, void *buf,
			size_t size);
	int64_t (*size)(struct target *t, const char *key); /* -ENOENT */
	int (*remove)(struct target *t, const char *key);

	/* Lists a directory, returns the number of names. NULL if the kind has
	 * nothing like it. */
	ssize_t (*list)(struct target *t, const char *dir);

	/* One large value at a time: opened (empty) and closed once, then read
	 * and written in parts. forget_cache() makes the next reads come from
	 * the server, where something else would answer them. */
	int (*large_open)(struct target *t, const char *key);
	ssize_t (*large_write)(struct target *t, const void *data, size_t len,
			       uint64_t off);
	ssize_t (*large_read)(struct target *t, void *buf, size_t len,
			      uint64_t off);
	int (*large_forget_cache)(struct target *t);
	int (*large_close)(struct target *t);
};

extern const struct target_ops target_file;

/* open() is -ENOSYS if built without hiredis. */
extern const struct target_ops target_redis;
