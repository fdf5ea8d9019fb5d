/* SPDX-License-Identifier: MIT */

/*
 * The real table. What is interrupted by a signal before it did anything is
 * called again, except close(): on Linux the descriptor is gone whatever it
 * says, and by the second call another thread may own the number.
 */

#include "persist/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int system_openat(void *ctx, int dirfd, const char *name, int flags,
			 mode_t mode)
{
	int fd;

	(void)ctx;
	do
		fd = openat(dirfd, name, flags, mode);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

static int system_close(void *ctx, int fd)
{
	(void)ctx;
	return close(fd) < 0 ? -errno : 0;
}

static ssize_t system_pread(void *ctx, int fd, void *buf, size_t len, off_t off)
{
	ssize_t n;

	(void)ctx;
	do
		n = pread(fd, buf, len, off);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t system_write(void *ctx, int fd, const void *buf, size_t len)
{
	ssize_t n;

	(void)ctx;
	do
		n = write(fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int system_fstat(void *ctx, int fd, struct stat *st)
{
	(void)ctx;
	return fstat(fd, st) < 0 ? -errno : 0;
}

static int system_fsync(void *ctx, int fd)
{
	int r;

	(void)ctx;
	do
		r = fsync(fd);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int system_fdatasync(void *ctx, int fd)
{
	int r;

	(void)ctx;
	do
		r = fdatasync(fd);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Waiting for the range before keeps at most two of them dirty, so that the
 * fsync() at the end is short and the page cache is not flooded. */
static int system_sync_range(void *ctx, int fd, off_t off, off_t len)
{
	const unsigned start = SYNC_FILE_RANGE_WRITE;
	const unsigned wait = SYNC_FILE_RANGE_WAIT_BEFORE |
			      SYNC_FILE_RANGE_WRITE |
			      SYNC_FILE_RANGE_WAIT_AFTER;

	(void)ctx;
	if (sync_file_range(fd, off, len, start) < 0)
		return -errno;
	if (off >= len && sync_file_range(fd, off - len, len, wait) < 0)
		return -errno;
	return 0;
}

static int system_ftruncate(void *ctx, int fd, off_t len)
{
	int r;

	(void)ctx;
	do
		r = ftruncate(fd, len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int system_renameat(void *ctx, int dirfd, const char *from,
			   const char *to)
{
	(void)ctx;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int system_unlinkat(void *ctx, int dirfd, const char *name)
{
	(void)ctx;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

static int system_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	(void)ctx;
	return mkdirat(dirfd, name, mode) < 0 ? -errno : 0;
}

const struct io io_system = {
	.openat = system_openat,
	.close = system_close,
	.pread = system_pread,
	.write = system_write,
	.fstat = system_fstat,
	.fsync = system_fsync,
	.fdatasync = system_fdatasync,
	.sync_range = system_sync_range,
	.ftruncate = system_ftruncate,
	.renameat = system_renameat,
	.unlinkat = system_unlinkat,
	.mkdirat = system_mkdirat,
};

int io_write_full(const struct io *io, int fd, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;

	for (; len; p += n, len -= (size_t)n) {
		n = io->write(io->ctx, fd, p, len);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO; /* else this would go on for ever */
	}
	return 0;
}

int io_replace(const struct io *io, int dirfd, const char *name,
	       const char *tmp, struct span content, mode_t mode)
{
	int fd, r, closed;

	fd = io->openat(io->ctx, dirfd, tmp,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return fd;
	r = io_write_full(io, fd, content.ptr, content.len);
	if (r == 0)
		r = io->fsync(io->ctx, fd);
	closed = io->close(io->ctx, fd);
	if (r == 0)
		r = closed;
	if (r == 0)
		r = io->renameat(io->ctx, dirfd, tmp, name);
	if (r < 0) {
		(void)io->unlinkat(io->ctx, dirfd, tmp);
		return r;
	}
	return io->fsync(io->ctx, dirfd);
}
