/* SPDX-License-Identifier: MIT */
/*
 * Handlers for attributes and for the size of the whole.
 *
 * The kernel sets the NOW bits together with the plain ones; "now" must win, as
 * a time that nobody chose is not a fact to be kept (store.h).
 */
#include "fs/fs.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "fs/reply.h"
#include "store/name.h"

enum {
	BLOCK_SIZE = 4096
};

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct store_attr attr;
	int r;

	(void)fi;
	if (ctl_owns(ino)) {
		ops_ctl_getattr(req, ino);
		return;
	}
	r = store_getattr(fs_of(req)->st, ino, &attr);
	if (r < 0)
		reply_err(req, r);
	else
		reply_attr(req, &attr);
}

static int64_t to_ns(struct timespec ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts.tv_sec, INT64_C(1000000000),
				   &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static unsigned to_mask(int to_set)
{
	static const struct {
		int fuse;
		unsigned store;
	} map[] = {
		{ FUSE_SET_ATTR_MODE, STORE_SET_MODE },
		{ FUSE_SET_ATTR_UID, STORE_SET_UID },
		{ FUSE_SET_ATTR_GID, STORE_SET_GID },
		{ FUSE_SET_ATTR_SIZE, STORE_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, STORE_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, STORE_SET_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, STORE_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, STORE_SET_MTIME_NOW },
		{ FUSE_SET_ATTR_CTIME, STORE_SET_CTIME },
	};
	unsigned mask = 0;

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (to_set & map[i].fuse)
			mask |= map[i].store;
	if (mask & STORE_SET_ATIME_NOW)
		mask &= ~(unsigned)STORE_SET_ATIME;
	if (mask & STORE_SET_MTIME_NOW)
		mask &= ~(unsigned)STORE_SET_MTIME;
	return mask;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi)
{
	struct store_attr attr, in = {
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime_ns = to_ns(st->st_atim),
		.mtime_ns = to_ns(st->st_mtim),
	};
	int r;

	(void)fi;
	if (ctl_owns(ino)) {
		ops_ctl_setattr(req, ino, st, to_set);
		return;
	}
	r = store_setattr(fs_of(req)->st, ino, to_mask(to_set), &in, &attr);
	if (r < 0)
		reply_err(req, r);
	else
		reply_attr(req, &attr);
}

/* As large as maxmemory, or the machine's memory, allows. */
void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct store_stats stats;
	struct statvfs out;
	uint64_t total, used;

	(void)ino;
	store_get_stats(fs->st, &stats);
	total = stats.max_memory ? stats.max_memory : fs->ram_bytes;
	used = MIN(stats.used_bytes, total);
	out = (struct statvfs){
		.f_bsize = BLOCK_SIZE,
		.f_frsize = BLOCK_SIZE,
		.f_blocks = total / BLOCK_SIZE,
		.f_bfree = (total - used) / BLOCK_SIZE,
		.f_bavail = (total - used) / BLOCK_SIZE,
		.f_files = stats.n_keys + stats.n_dirs + UINT32_MAX,
		.f_ffree = UINT32_MAX, /* no limit of their own */
		.f_favail = UINT32_MAX,
		.f_namemax = NAME_MAX_BYTES,
	};
	(void)fuse_reply_statfs(req, &out);
}
