/* SPDX-License-Identifier: MIT */
/*
 * What is asked of the kernel at the start (INIT), and the table of handlers.
 *
 * open and opendir answer ENOSYS: the kernel then opens without asking, caches
 * content and listings across opens, and never tells of a close. With it goes a
 * trap: with ATOMIC_O_TRUNC the O_TRUNC of such an open would be lost, so that
 * is switched off and the kernel sends a truncation of its own.
 *
 * Left out of the table, and what follows from that: flush (errors are told by
 * write), access (default_permissions), getxattr and the like (asking would
 * cost a round trip before each write), fsync and fsyncdir (without a log there
 * is nothing to wait for; the kernel answers 0), getlk, setlk and flock (the
 * kernel keeps locks by itself, which is right for one mount), fallocate, lseek,
 * copy_file_range, ioctl, poll: all are ENOSYS, which the kernel remembers.
 */
#include "fs/fs.h"

#include <time.h>
#include <unistd.h>

#include "fs/log.h"

enum {
	MAX_WRITE = 1024 * 1024,     /* the most that 256 pages hold */
	MAX_READAHEAD = 1024 * 1024, /* the kernel cuts it to its own limit */
};

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
			FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS |
			FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
			FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;

	/* All that libfuse proposes goes: ATOMIC_O_TRUNC (above), splice (our
	 * data is in memory: pipes would only add system calls), and no cache
	 * of writes (a write that was acknowledged has reached us). */
	conn->want = want & conn->capable;
	conn->max_write = MAX_WRITE;
	conn->max_readahead = MAX_READAHEAD;
	conn->time_gran = 1;
	log_msg(LOG_LV_DEBUG, "fs: init, protocol=%u.%u want=%#x",
		conn->proto_major, conn->proto_minor, conn->want);
	atomic_store(&fs->up, true);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.opendir = op_opendir,
	.releasedir = op_releasedir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
};

void fs_init(struct fs *fs)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	fs->ram_bytes =
		pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
	fs->generation = (uint64_t)time(NULL);
	pthread_mutex_init(&fs->ctl_lock, NULL);
}

void fs_fini(struct fs *fs)
{
	pthread_mutex_destroy(&fs->ctl_lock);
}
