/* SPDX-License-Identifier: MIT */
#pragma once

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/ctl.h"
#include "store/store.h"

/*
 * A mounted keyspace as its request handlers see it: the session's userdata.
 *
 * A handler decodes, makes one call below and replies exactly once on every
 * path. Inode numbers with CTL_INO_BIT are control files (ops_ctl.c), all
 * others are the store's. No handler blocks on I/O.
 *
 * The kernel caches names, attributes, content and listings for FS_CACHE_S; a
 * key that has a deadline no longer than until then, control files not at all.
 */
struct fs {
	struct store *st;    /* borrowed, all three */
	struct ctl *ctl;     /* NULL: no control files */
	uint64_t ram_bytes;  /* the size shown without maxmemory */
	uint64_t generation; /* differs from start to start, so that a file
			      * handle of an earlier one is stale */
	bool ctl_listed;     /* .ctl is in the root's listing */
	atomic_bool up;	     /* INIT has been seen */

	/* Operations on control files that are under way: ops_ctl.c. */
	pthread_mutex_t ctl_lock; /* of the two below */
	struct ctl_request *ctl_first;
	uintptr_t ctl_serial;
};

enum {
	FS_CACHE_S = 86400
};

/* The handlers, for fuse_session_new(). */
extern const struct fuse_lowlevel_ops fs_ops;

/* Prepares what is not set by the caller (the lock, the generation, the size of
 * memory); @fs is zeroed but for the borrowed pointers and options. */
void fs_init(struct fs *fs);
void fs_fini(struct fs *fs);

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* --- shared by the handlers ------------------------------------------- */

/* True for the name `.ctl` in the root: no key's path, with or without control
 * files. */
bool fs_is_ctl_name(uint64_t parent, const char *name);

/* store_lookup(), with a collection's members filled in when needed. */
MUST_CHECK int fs_lookup(struct fs *fs, uint64_t dir, struct span name,
			 struct store_attr *ret_attr);

/* Decodes the members of a collection after -EAGAIN. Return: 0; -EIO. */
MUST_CHECK int fs_fill_members(struct fs *fs, uint64_t ino);

/* Gives references back, whoever owns the inode. */
void fs_forget(struct fs *fs, uint64_t ino, uint64_t n);

/* --- ops_dir.c: names -------------------------------------------------- */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count,
		     struct fuse_forget_data *forgets);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t new_parent, const char *new_name, unsigned flags);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

/* --- ops_file.c: content ----------------------------------------------- */

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi);

/* --- ops_attr.c: attributes -------------------------------------------- */

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

/* --- ops_ctl.c: the same, for control files ---------------------------- */

void ops_ctl_lookup(fuse_req_t req, uint64_t parent, const char *name);
void ops_ctl_getattr(fuse_req_t req, uint64_t ino);
void ops_ctl_setattr(fuse_req_t req, uint64_t ino, const struct stat *st,
		     int to_set);
void ops_ctl_read(fuse_req_t req, uint64_t ino, uint64_t off, size_t size);
void ops_ctl_write(fuse_req_t req, uint64_t ino, const void *data, size_t size);

/* The attributes of `.ctl` or something in it, as the kernel is to see them. */
MUST_CHECK int ops_ctl_attr(struct fs *fs, uint64_t ino,
			    struct store_attr *ret_attr);
