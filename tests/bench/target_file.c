/* SPDX-License-Identifier: MIT */
/*
 * A directory as target: the system calls a program would make, no more. Paths
 * are relative to a descriptor of the directory, so that the depth at which it
 * lies costs nothing.
 */
#include "tests/bench/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct target {
	int dir;
	int large; /* -1: none is open */
};

static int file_open(const char *where, struct target **ret)
{
	struct target *t = malloc(sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->large = -1;
	t->dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0) {
		r = -errno;
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

static int file_large_close(struct target *t)
{
	int r = close(t->large);

	t->large = -1;
	return r < 0 ? -errno : 0;
}

static void file_close(struct target *t)
{
	if (t->large >= 0)
		(void)file_large_close(t);
	(void)close(t->dir);
	free(t);
}

static int file_make_dir(struct target *t, const char *dir)
{
	return mkdirat(t->dir, dir, 0755) < 0 ? -errno : 0;
}

/* open, one write, close. */
static int put(struct target *t, const char *key, int flags, const void *data,
	       size_t len)
{
	int fd = openat(t->dir, key, O_WRONLY | flags, 0644);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, data, len);
	if (n < 0)
		r = -errno;
	else if ((size_t)n != len)
		r = -EIO;
	if (close(fd) < 0 && !r)
		r = -errno;
	return r;
}

static int file_create(struct target *t, const char *key, const void *data,
		       size_t len)
{
	return put(t, key, O_CREAT | O_EXCL, data, len);
}

static int file_overwrite(struct target *t, const char *key, const void *data,
			  size_t len)
{
	return put(t, key, O_TRUNC, data, len);
}

static int file_append(struct target *t, const char *key, const void *data,
		       size_t len)
{
	return put(t, key, O_APPEND, data, len);
}

static int file_replace(struct target *t, const char *key, const void *data,
			size_t len)
{
	char tmp[256];
	size_t n = strlen(key);
	int r;

	if (n + 2 > sizeof(tmp))
		return -ENAMETOOLONG;
	memcpy(tmp, key, n);
	tmp[n] = '~';
	tmp[n + 1] = '\0';
	r = put(t, tmp, O_CREAT | O_EXCL, data, len);
	if (r < 0)
		return r;
	return renameat(t->dir, tmp, t->dir, key) < 0 ? -errno : 0;
}

static ssize_t file_read(struct target *t, const char *key, void *buf,
			 size_t size)
{
	int fd = openat(t->dir, key, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size);
	if (n < 0)
		n = -errno;
	(void)close(fd); /* nothing was written */
	return n;
}

static int64_t file_size(struct target *t, const char *key)
{
	struct stat st;

	if (fstatat(t->dir, key, &st, 0) < 0)
		return -errno;
	return st.st_size;
}

static int file_remove(struct target *t, const char *key)
{
	return unlinkat(t->dir, key, 0) < 0 ? -errno : 0;
}

static ssize_t file_list(struct target *t, const char *dir)
{
	int fd = openat(t->dir, dir, O_RDONLY | O_DIRECTORY);
	struct dirent *e;
	ssize_t n = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		n = -errno;
		(void)close(fd);
		return n;
	}
	errno = 0;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			n++;
	if (errno)
		n = -errno;
	(void)closedir(d);
	return n;
}

static int file_large_open(struct target *t, const char *key)
{
	t->large = openat(t->dir, key, O_RDWR | O_CREAT | O_TRUNC, 0644);
	return t->large < 0 ? -errno : 0;
}

static ssize_t file_large_write(struct target *t, const void *data, size_t len,
				uint64_t off)
{
	ssize_t n = pwrite(t->large, data, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static ssize_t file_large_read(struct target *t, void *buf, size_t len,
			       uint64_t off)
{
	ssize_t n = pread(t->large, buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static int file_large_forget_cache(struct target *t)
{
	return -posix_fadvise(t->large, 0, 0, POSIX_FADV_DONTNEED);
}

const struct target_ops target_file = {
	.open = file_open,
	.close = file_close,
	.make_dir = file_make_dir,
	.create = file_create,
	.overwrite = file_overwrite,
	.append = file_append,
	.replace = file_replace,
	.read = file_read,
	.size = file_size,
	.remove = file_remove,
	.list = file_list,
	.large_open = file_large_open,
	.large_write = file_large_write,
	.large_read = file_large_read,
	.large_forget_cache = file_large_forget_cache,
	.large_close = file_large_close,
};
