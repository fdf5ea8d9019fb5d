/* SPDX-License-Identifier: MIT */

#include "tests/lib/faulty.h"

#include <string.h>

static bool was_last(const struct faulty *f, const char *call)
{
	size_t n = strlen(f->trace), len = strlen(call);

	return n >= len && strcmp(f->trace + n - len, call) == 0 &&
	       (n == len || f->trace[n - len - 1] == ' ');
}

static void note(struct faulty *f, const char *call)
{
	size_t n = strlen(f->trace);

	if (was_last(f, call) || n + strlen(call) + 2 > sizeof(f->trace))
		return;
	if (n)
		strcat(f->trace, " ");
	strcat(f->trace, call);
}

/* Return: 0 to go on; -errno that the call is to answer. */
static int enter(struct faulty *f, const char *call)
{
	int r = 0;

	if (f->before)
		f->before(f->arg, call);
	pthread_mutex_lock(&f->lock);
	note(f, call);
	if (!f->only || strcmp(f->only, call) == 0) {
		f->n_calls++;
		if (f->fail_at && (f->n_calls == f->fail_at ||
				   (f->keep_failing && f->fired))) {
			f->fired = true;
			strncpy(f->fired_call, call, sizeof(f->fired_call) - 1);
			r = -f->error;
		}
	}
	pthread_mutex_unlock(&f->lock);
	return r;
}

static void count_open(struct faulty *f, int by)
{
	pthread_mutex_lock(&f->lock);
	f->n_open += by;
	pthread_mutex_unlock(&f->lock);
}

static int faulty_openat(void *ctx, int dirfd, const char *name, int flags,
			 mode_t mode)
{
	int r = enter(ctx, "open");

	if (r < 0)
		return r;
	r = io_system.openat(NULL, dirfd, name, flags, mode);
	if (r >= 0)
		count_open(ctx, 1);
	return r;
}

static int faulty_close(void *ctx, int fd)
{
	int planned = enter(ctx, "close");
	int r = io_system.close(NULL, fd);

	count_open(ctx, -1);
	return planned < 0 ? planned : r;
}

static ssize_t faulty_pread(void *ctx, int fd, void *buf, size_t len, off_t off)
{
	int r = enter(ctx, "pread");

	return r < 0 ? r : io_system.pread(NULL, fd, buf, len, off);
}

static ssize_t faulty_write(void *ctx, int fd, const void *buf, size_t len)
{
	const struct faulty *f = ctx;
	int r = enter(ctx, "write");

	if (f->write_max && len > f->write_max)
		len = f->write_max;
	return r < 0 ? r : io_system.write(NULL, fd, buf, len);
}

static int faulty_fstat(void *ctx, int fd, struct stat *st)
{
	int r = enter(ctx, "fstat");

	return r < 0 ? r : io_system.fstat(NULL, fd, st);
}

static int faulty_fsync(void *ctx, int fd)
{
	const struct faulty *f = ctx;
	int r = enter(ctx, fd == f->dirfd ? "fsync-dir" : "fsync");

	return r < 0 ? r : io_system.fsync(NULL, fd);
}

static int faulty_fdatasync(void *ctx, int fd)
{
	int r = enter(ctx, "fdatasync");

	return r < 0 ? r : io_system.fdatasync(NULL, fd);
}

static int faulty_sync_range(void *ctx, int fd, off_t off, off_t len)
{
	int r = enter(ctx, "sync-range");

	return r < 0 ? r : io_system.sync_range(NULL, fd, off, len);
}

static int faulty_ftruncate(void *ctx, int fd, off_t len)
{
	int r = enter(ctx, "truncate");

	return r < 0 ? r : io_system.ftruncate(NULL, fd, len);
}

static int faulty_renameat(void *ctx, int dirfd, const char *from,
			   const char *to)
{
	int r = enter(ctx, "rename");

	return r < 0 ? r : io_system.renameat(NULL, dirfd, from, to);
}

static int faulty_unlinkat(void *ctx, int dirfd, const char *name)
{
	int r = enter(ctx, "unlink");

	return r < 0 ? r : io_system.unlinkat(NULL, dirfd, name);
}

static int faulty_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	int r = enter(ctx, "mkdir");

	return r < 0 ? r : io_system.mkdirat(NULL, dirfd, name, mode);
}

void faulty_init(struct faulty *f, int dirfd)
{
	*f = (struct faulty){
		.io = {
			.ctx = f,
			.openat = faulty_openat,
			.close = faulty_close,
			.pread = faulty_pread,
			.write = faulty_write,
			.fstat = faulty_fstat,
			.fsync = faulty_fsync,
			.fdatasync = faulty_fdatasync,
			.sync_range = faulty_sync_range,
			.ftruncate = faulty_ftruncate,
			.renameat = faulty_renameat,
			.unlinkat = faulty_unlinkat,
			.mkdirat = faulty_mkdirat,
		},
		.dirfd = dirfd,
	};
	pthread_mutex_init(&f->lock, NULL);
}

void faulty_reset(struct faulty *f)
{
	f->n_calls = 0;
	f->fired = false;
	f->fired_call[0] = '\0';
	f->trace[0] = '\0';
}
