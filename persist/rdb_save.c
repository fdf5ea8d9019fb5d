/* SPDX-License-Identifier: MIT */

/*
 * Replacing a dump, so that at every instant the name stands for a complete and
 * durable one:
 *
 *   create temp, write, fsync     the data are on disk before they have a name
 *   close                         some file systems report write errors here
 *   rename                        readers see the old or the new, whole
 *   fsync of the directory        the name is on disk: only now it is told
 *
 * The temporary's name is fixed: one daemon owns the directory, so whatever is
 * there under it is the leftover of a crash, and O_TRUNC disposes of it. After
 * a failed step the temporary is removed; after a failed fsync in particular
 * its pages may be marked clean without being on disk, so it is never retried.
 */

#include "persist/rdb_save.h"

#include <fcntl.h>

enum {
	/* As Redis' fopen(): who may read a dump is the umask's business, e.g.
	 * a redis-server of another user that is to load it. */
	DUMP_MODE = 0666,
};

static int write_and_sync(struct rdb_save *s, int fd, struct view *v,
			  const struct rdb_extras *extras,
			  const struct rdb_save_options *opt,
			  struct rdb_save_stats *ret_stats)
{
	int r;

	s->doing = "writing " RDB_TMP_NAME;
	r = rdb_write(s->io, fd, v, extras, opt, ret_stats);
	if (r < 0)
		return r;
	s->doing = "syncing " RDB_TMP_NAME;
	return s->io->fsync(s->io->ctx, fd);
}

int rdb_save_prepare(struct rdb_save *s, struct view *v,
		     const struct rdb_extras *extras,
		     const struct rdb_save_options *opt,
		     struct rdb_save_stats *ret_stats)
{
	struct rdb_save_stats stats = { 0 };
	int fd, r, closed;

	s->doing = "creating " RDB_TMP_NAME;
	fd = s->io->openat(s->io->ctx, s->dirfd, RDB_TMP_NAME,
			   O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
				   O_CLOEXEC,
			   DUMP_MODE);
	if (fd < 0)
		return fd;
	r = write_and_sync(s, fd, v, extras, opt, &stats);
	closed = s->io->close(s->io->ctx, fd);
	if (r == 0 && closed < 0) {
		s->doing = "closing " RDB_TMP_NAME;
		r = closed;
	}
	if (r < 0) {
		(void)s->io->unlinkat(s->io->ctx, s->dirfd, RDB_TMP_NAME);
		return r;
	}
	*ret_stats = stats;
	return 0;
}

int rdb_save_publish(struct rdb_save *s, const char *name)
{
	int r;

	s->doing = "renaming " RDB_TMP_NAME;
	r = s->io->renameat(s->io->ctx, s->dirfd, RDB_TMP_NAME, name);
	if (r < 0)
		(void)s->io->unlinkat(s->io->ctx, s->dirfd, RDB_TMP_NAME);
	return r;
}

int rdb_save_settle(struct rdb_save *s)
{
	s->doing = "syncing the data directory";
	return s->io->fsync(s->io->ctx, s->dirfd);
}

int rdb_save(const struct io *io, int dirfd, const char *name, struct view *v,
	     const struct rdb_extras *extras,
	     const struct rdb_save_options *opt,
	     struct rdb_save_stats *ret_stats)
{
	struct rdb_save s = { .io = io, .dirfd = dirfd };
	struct rdb_save_stats stats;
	int r;

	r = rdb_save_prepare(&s, v, extras, opt, &stats);
	if (r == 0)
		r = rdb_save_publish(&s, name);
	if (r == 0)
		r = rdb_save_settle(&s);
	if (r == 0)
		*ret_stats = stats;
	return r;
}
