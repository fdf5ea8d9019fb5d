/* SPDX-License-Identifier: MIT */
/*
 * Handlers for content. There is no open file here: an inode number is all the
 * kernel sends, and the store keeps an unlinked node for as long as the kernel
 * refers to it. A range that is being sent is pinned, so a write that comes in
 * meanwhile changes a copy and not the reply.
 */
#include "fs/fs.h"

#include <errno.h>
#include <limits.h>

#include "fs/reply.h"

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct store_cred cred = { ctx->uid, ctx->gid, mode & 07777 };
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct store_attr attr;
	int r = -EACCES;

	if (!ctl_owns(parent) && !fs_is_ctl_name(parent, name))
		r = store_create(fs->st, parent, span_str(name), STORE_FILE,
				 &cred, span_of(NULL, 0), &attr);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	e = reply_param(fs, &attr);
	fi->keep_cache = 1;
	if (fuse_reply_create(req, &e, fi) < 0)
		store_forget(fs->st, attr.ino, 1);
}

/* See ops.c: ENOSYS ends these questions. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply_err(req, -ENOSYS);
}

/* Of a create that came before the first open. */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply_err(req, 0);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct store_range range;
	int r;

	(void)fi;
	if (ctl_owns(ino)) {
		ops_ctl_read(req, ino, (uint64_t)off, size);
		return;
	}
	r = store_read(fs_of(req)->st, ino, (uint64_t)off, size, &range);
	if (r < 0)
		reply_err(req, r);
	else
		reply_range(req, &range);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct store_range range;
	int r;

	/* The kernel's own limit; and what a link holds need not be text. */
	r = store_read(fs_of(req)->st, ino, 0, PATH_MAX - 1, &range);
	if (r < 0)
		reply_err(req, r);
	else
		reply_range(req, &range);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi)
{
	int r;

	(void)fi;
	if (ctl_owns(ino)) {
		ops_ctl_write(req, ino, buf, size);
		return;
	}
	r = store_write(fs_of(req)->st, ino, (uint64_t)off, buf, size);
	if (r < 0)
		reply_err(req, r);
	else
		(void)fuse_reply_write(req, size);
}
