/* SPDX-License-Identifier: MIT */
/*
 * Handlers for names.
 *
 * Each name given to the kernel (lookup, create and its kin, each entry of a
 * readdirplus but "." and "..") carries one reference, which FORGET gives back.
 * A reply that could not be delivered must give it back here: for readdirplus
 * the finished buffer is read again to find whom, by the layout that the
 * kernel's own header defines.
 *
 * Listing is stateless: the kernel hands back the cookie of the last entry it
 * took. The store's cookies are below 2^63; the largest off_t stands for "after
 * `.ctl`", the last entry of a root that shows it. Entries of control files are
 * listed without an inode (nodeid 0), so they carry no reference and are looked
 * up by name when somebody wants them.
 */
#include "fs/fs.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "fs/log.h"
#include "fs/reply.h"
#include "persist/rdb.h"
#include "store/name.h"

#define COOKIE_END ((uint64_t)INT64_MAX)

bool fs_is_ctl_name(uint64_t parent, const char *name)
{
	return parent == STORE_ROOT_INO && strcmp(name, CTL_DIR_NAME) == 0;
}

int fs_fill_members(struct fs *fs, uint64_t ino)
{
	int r = rdb_members_fill(fs->st, ino);

	if (r == 0 || r == -ESTALE || r == -ENOMEM)
		return r;
	log_msg(LOG_LV_ERROR,
		"fs: a collection cannot be shown, ino=%#llx error=%s",
		(unsigned long long)ino, strerror(-r));
	return -EIO;
}

int fs_lookup(struct fs *fs, uint64_t dir, struct span name,
	      struct store_attr *ret_attr)
{
	int r;

	while ((r = store_lookup(fs->st, dir, name, ret_attr)) == -EAGAIN) {
		r = fs_fill_members(fs, dir);
		if (r < 0)
			return r;
	}
	return r;
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t n)
{
	if (!ctl_owns(ino))
		store_forget(fs->st, ino, n);
	else if (fs->ctl && ino != CTL_ROOT_INO) /* it is given without one */
		ctl_forget(fs->ctl, ino, n);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct store_attr attr;
	int r;

	if (parent == CTL_ROOT_INO && strcmp(name, "..") == 0) {
		parent = STORE_ROOT_INO; /* as asked for a file handle */
		name = ".";
	}
	if (ctl_owns(parent) || fs_is_ctl_name(parent, name)) {
		ops_ctl_lookup(req, parent, name);
		return;
	}
	r = fs_lookup(fs_of(req), parent, span_str(name), &attr);
	if (r == -ENOENT)
		reply_absent(req);
	else if (r < 0)
		reply_err(req, r);
	else
		reply_entry(req, &attr);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	fs_forget(fs_of(req), ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count,
		     struct fuse_forget_data *forgets)
{
	struct fs *fs = fs_of(req);

	for (size_t i = 0; i < count; i++)
		fs_forget(fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* What mknod, mkdir and symlink have in common. */
static void make(fuse_req_t req, fuse_ino_t parent, const char *name,
		 enum store_type type, mode_t mode, struct span target)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct store_cred cred = { ctx->uid, ctx->gid, mode & 07777 };
	struct store_attr attr;
	int r;

	if (ctl_owns(parent) || fs_is_ctl_name(parent, name)) {
		reply_err(req, -EACCES);
		return;
	}
	r = store_create(fs_of(req)->st, parent, span_str(name), type, &cred,
			 target, &attr);
	if (r < 0)
		reply_err(req, r);
	else
		reply_entry(req, &attr);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	(void)rdev;
	if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0) {
		reply_err(req, -EPERM);
		return;
	}
	make(req, parent, name, STORE_FILE, mode, span_of(NULL, 0));
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, STORE_DIR, mode, span_of(NULL, 0));
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name)
{
	make(req, parent, name, STORE_SYMLINK, STORE_LINK_MODE,
	     span_str(target));
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	reply_err(req, -EPERM); /* "does not support hard links", link(2) */
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int r = -EPERM;

	if (!ctl_owns(parent) && !fs_is_ctl_name(parent, name))
		r = store_unlink(fs_of(req)->st, parent, span_str(name));
	reply_err(req, r);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int r = -EPERM;

	if (!ctl_owns(parent) && !fs_is_ctl_name(parent, name))
		r = store_rmdir(fs_of(req)->st, parent, span_str(name));
	reply_err(req, r);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	int r = -EPERM;

	if (!ctl_owns(parent) && !ctl_owns(new_parent) &&
	    !fs_is_ctl_name(parent, name) &&
	    !fs_is_ctl_name(new_parent, new_name))
		r = store_rename(fs_of(req)->st, parent, span_str(name),
				 new_parent, span_str(new_name), flags);
	reply_err(req, r);
}

/* See ops.c: ENOSYS ends these questions and lets listings be cached. */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply_err(req, -ENOSYS);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply_err(req, 0);
}

/* A reply to readdir or readdirplus in the making. */
struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, used;
	bool plus, full;
};

static bool is_dots(struct span name)
{
	const char *s = name.ptr;

	return s[0] == '.' && (name.len == 1 || (name.len == 2 && s[1] == '.'));
}

static bool add_entry(void *arg, struct span name,
		      const struct store_attr *attr, uint64_t cookie)
{
	struct listing *l = arg;
	char text[NAME_MAX_BYTES + 1]; /* the library wants a string */
	struct fuse_entry_param e = reply_param(fs_of(l->req), attr);
	size_t room = l->size - l->used, need;

	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	if (ctl_owns(attr->ino) || is_dots(name))
		e.ino = 0; /* no reference */
	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->buf + l->used, room,
					      text, &e, (off_t)cookie);
	else
		need = fuse_add_direntry(l->req, l->buf + l->used, room, text,
					 &e.attr, (off_t)cookie);
	l->full = need > room;
	if (!l->full)
		l->used += need;
	return !l->full;
}

/* Takes back the references in a readdirplus reply that was not delivered. */
static void forget_listing(struct fs *fs, const struct listing *l)
{
	const struct fuse_direntplus *d;

	for (size_t at = 0; at < l->used; at += FUSE_DIRENTPLUS_SIZE(d)) {
		d = (const void *)(l->buf + at);
		if (d->entry_out.nodeid != 0)
			fs_forget(fs, d->entry_out.nodeid, 1);
	}
}

static int list(struct fs *fs, uint64_t dir, uint64_t cookie, struct listing *l)
{
	struct store_attr attr;
	int r;

	if (ctl_owns(dir))
		return fs->ctl ? ctl_readdir(fs->ctl, dir, cookie, add_entry, l)
			       : -ESTALE;
	if (cookie == COOKIE_END)
		return 0;
	while ((r = store_readdir(fs->st, dir, cookie, l->plus, add_entry,
				  l)) == -EAGAIN) {
		r = fs_fill_members(fs, dir);
		if (r < 0)
			return r;
	}
	if (r == 0 && !l->full && dir == STORE_ROOT_INO && fs->ctl_listed &&
	    ops_ctl_attr(fs, CTL_ROOT_INO, &attr) == 0)
		(void)add_entry(l, span_str(CTL_DIR_NAME), &attr, COOKIE_END);
	return r;
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size,
			  off_t off, bool plus)
{
	struct listing l = { .req = req, .size = size, .plus = plus };
	struct fs *fs = fs_of(req);
	int r;

	l.buf = malloc(size);
	if (!l.buf) {
		reply_err(req, -ENOMEM);
		return;
	}
	r = list(fs, ino, (uint64_t)off, &l);
	if (r < 0)
		reply_err(req, r);
	else if (fuse_reply_buf(req, l.buf, l.used) < 0 && plus)
		forget_listing(fs, &l);
	free(l.buf);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	(void)fi;
	reply_listing(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)fi;
	reply_listing(req, ino, size, off, true);
}
