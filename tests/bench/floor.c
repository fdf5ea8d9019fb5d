/* SPDX-License-Identifier: MIT */
/*
 * The floor: the least a FUSE server can do and still hold files, as the limit
 * that keyfs is compared with.
 *
 *   floor [-n KEYS] [-d DIRS] MOUNTPOINT
 *
 * stays in the foreground and serves a tree in memory until it is unmounted;
 * with -n the tree starts with that many keys of the benchmark's data set.
 *
 * Every request that can be avoided is: open, opendir, flush, fsync and
 * getxattr answer ENOSYS once, after which the kernel does without them (the
 * operations that are missing in the table below get that answer from
 * libfuse); names, attributes and absences are valid for a day. O_TRUNC must
 * then arrive as SETATTR, or the kernel would drop it with the open. The rest
 * is answered by one thread, with one read(2) and one writev(2) each: no
 * splice, which costs two system calls more, and no write-back cache, which
 * would answer writes before the server has them. An inode number is the
 * node's address. Small requests go through no allocation but libfuse's own.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/bench/dataset.h"
#include "tests/bench/floor_tree.h"

enum {
	REQUEST_MAX = 1 << 20, /* the kernel's largest, by default */
	/* Cookies of readdir: "." and "..", then the slots. */
	COOKIE_DOT = 1,
	COOKIE_DOTDOT = 2,
	COOKIE_FIRST_SLOT = 3,
};

static const double forever = 86400; /* seconds */

struct floor {
	struct tree tree;
	char listing[REQUEST_MAX];
};

static struct floor *floor_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct node *node_of(struct floor *fl, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &fl->tree.root : (struct node *)ino;
}

static void reply(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, -r);
}

static void fill_entry(struct floor *fl, struct node *n,
		       struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = (uintptr_t)n;
	ret->attr_timeout = ret->entry_timeout = forever;
	tree_stat(&fl->tree, n, &ret->attr);
}

static void reply_entry(fuse_req_t req, struct floor *fl, struct node *n)
{
	struct fuse_entry_param e;

	fill_entry(fl, n, &e);
	n->n_lookup++;
	if (fuse_reply_entry(req, &e) == -ENOENT)
		tree_forget(n, 1); /* the caller was interrupted */
}

static void reply_attr(fuse_req_t req, struct floor *fl, struct node *n)
{
	struct stat st;

	tree_stat(&fl->tree, n, &st);
	(void)fuse_reply_attr(req, &st, forever);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want = conn->capable &
		     (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
		      FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
		      FUSE_CAP_ASYNC_DIO);
	conn->max_write = REQUEST_MAX;
	conn->time_gran = 1;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	static const struct fuse_entry_param absent = { .entry_timeout =
								86400 };
	struct floor *fl = floor_of(req);
	struct node *n = tree_find(&fl->tree, node_of(fl, parent), name);

	if (n)
		reply_entry(req, fl, n);
	else
		(void)fuse_reply_entry(req, &absent);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	tree_forget(node_of(floor_of(req), ino), nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *forgets)
{
	size_t i;

	for (i = 0; i < count; i++)
		tree_forget(node_of(floor_of(req), forgets[i].ino),
			    forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct floor *fl = floor_of(req);

	(void)fi;
	reply_attr(req, fl, node_of(fl, ino));
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	struct floor *fl = floor_of(req);
	struct node *n = node_of(fl, ino);
	int r = 0;

	(void)fi;
	if (to_set & FUSE_SET_ATTR_SIZE)
		r = tree_resize(n, (size_t)attr->st_size);
	if (r < 0) {
		reply(req, r);
		return;
	}
	tree_touch(n);
	if (to_set & FUSE_SET_ATTR_MODE)
		n->mode = (n->mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		n->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		n->gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_MTIME)
		n->mtime = attr->st_mtim;
	reply_attr(req, fl, n);
}

/* Adds a node that must be new, owned by the caller. NULL: has replied. */
static struct node *add(fuse_req_t req, fuse_ino_t parent, const char *name,
			mode_t mode)
{
	struct floor *fl = floor_of(req);
	struct node *dir = node_of(fl, parent), *n;
	int r = -EEXIST;

	if (!tree_find(&fl->tree, dir, name))
		r = tree_add(&fl->tree, dir, name, mode, &n);
	if (r < 0) {
		reply(req, r);
		return NULL;
	}
	n->uid = fuse_req_ctx(req)->uid;
	n->gid = fuse_req_ctx(req)->gid;
	return n;
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	struct node *n = add(req, parent, name, S_IFDIR | mode);

	if (n)
		reply_entry(req, floor_of(req), n);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	struct node *n;

	(void)rdev;
	if (!S_ISREG(mode)) {
		reply(req, -EPERM);
		return;
	}
	n = add(req, parent, name, mode);
	if (n)
		reply_entry(req, floor_of(req), n);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	struct node *n = add(req, parent, name, S_IFREG | mode);
	struct fuse_entry_param e;

	if (!n)
		return;
	fill_entry(floor_of(req), n, &e);
	fi->keep_cache = 1;
	n->n_lookup++;
	if (fuse_reply_create(req, &e, fi) == -ENOENT)
		tree_forget(n, 1);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct floor *fl = floor_of(req);
	struct node *n = tree_find(&fl->tree, node_of(fl, parent), name);

	reply(req, n ? tree_remove(&fl->tree, n) : -ENOENT);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t newparent, const char *newname, unsigned flags)
{
	struct floor *fl = floor_of(req);
	struct node *n = tree_find(&fl->tree, node_of(fl, parent), name);

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		reply(req, -EINVAL);
	else if (!n)
		reply(req, -ENOENT);
	else
		reply(req, tree_rename(&fl->tree, n, node_of(fl, newparent),
				       newname, flags & RENAME_NOREPLACE));
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct node *n = node_of(floor_of(req), ino);
	size_t at = (size_t)off;

	(void)fi;
	if (at >= n->len) {
		(void)fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > n->len - at)
		size = n->len - at;
	(void)fuse_reply_buf(req, (const char *)n->data + at, size);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = node_of(floor_of(req), ino);

	(void)fi;
	if (tree_write(n, buf, size, (size_t)off) < 0) {
		reply(req, -ENOSPC);
		return;
	}
	tree_touch(n);
	(void)fuse_reply_write(req, size);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	reply(req, -ENOSYS); /* never asked again */
}

/* Adds one entry; false if it does not fit. */
static bool put_name(fuse_req_t req, struct floor *fl, size_t *used,
		     size_t size, const char *name, struct node *n,
		     off_t cookie, bool plus)
{
	char *at = fl->listing + *used;
	size_t room = size - *used, need;
	struct fuse_entry_param e;

	fill_entry(fl, n, &e);
	if (plus)
		need = fuse_add_direntry_plus(req, at, room, name, &e, cookie);
	else
		need = fuse_add_direntry(req, at, room, name, &e.attr, cookie);
	if (need > room)
		return false;
	*used += need;
	if (plus && cookie >= COOKIE_FIRST_SLOT)
		n->n_lookup++;
	return true;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		 bool plus)
{
	struct floor *fl = floor_of(req);
	struct node *dir = node_of(fl, ino), *n;
	struct node *up = dir->parent ? dir->parent : dir;
	bool room = true;
	size_t used = 0;
	off_t i;

	if (size > sizeof(fl->listing))
		size = sizeof(fl->listing);
	if (off < COOKIE_DOT)
		room = put_name(req, fl, &used, size, ".", dir, COOKIE_DOT,
				plus);
	if (room && off < COOKIE_DOTDOT)
		room = put_name(req, fl, &used, size, "..", up, COOKIE_DOTDOT,
				plus);
	i = off < COOKIE_FIRST_SLOT ? 0 : off - COOKIE_FIRST_SLOT + 1;
	for (; room && i < dir->n_slots; i++) {
		n = dir->slots[i].node;
		if (n)
			room = put_name(req, fl, &used, size, n->name, n,
					i + COOKIE_FIRST_SLOT, plus);
	}
	(void)fuse_reply_buf(req, fl->listing, used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096,
			      .f_frsize = 4096,
			      .f_blocks = 1 << 24,
			      .f_bfree = 1 << 23,
			      .f_bavail = 1 << 23,
			      .f_namemax = 255 };

	(void)ino;
	(void)fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mkdir = op_mkdir,
	.mknod = op_mknod,
	.create = op_create,
	.unlink = op_remove,
	.rmdir = op_remove,
	.rename = op_rename,
	.open = op_open,
	.opendir = op_open,
	.read = op_read,
	.write = op_write,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
};

static int preload(struct tree *t, uint64_t keys, unsigned dirs)
{
	char name[DATASET_NAME_MAX], *leaf;
	struct node *dir, *n;
	uint64_t i;
	int r = 0;

	for (i = 0; i < keys && !r; i++) {
		dir = &t->root;
		dataset_name(name, dirs, i);
		leaf = strchr(name, '/');
		if (leaf) {
			*leaf = '\0';
			dir = tree_find(t, &t->root, name);
			if (!dir)
				r = tree_add(t, &t->root, name, S_IFDIR | 0755,
					     &dir);
		}
		if (!r)
			r = tree_add(t, dir, leaf ? leaf + 1 : name,
				     S_IFREG | 0644, &n);
		if (!r)
			r = tree_resize(n, DATASET_VALUE_LEN);
		if (!r)
			dataset_value(n->data, i, 0);
	}
	return r;
}

static int serve(struct floor *fl, const char *mountpoint)
{
	char *argv[] = { (char[]){ "floor" },
			 (char[]){ "-odefault_permissions,nosuid,nodev,"
				   "fsname=floor,subtype=floor" },
			 NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *se;
	int r = 1;

	se = fuse_session_new(&args, &ops, sizeof(ops), fl);
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0) {
		if (fuse_session_mount(se, mountpoint) == 0) {
			r = fuse_session_loop(se) < 0;
			fuse_session_unmount(se);
		}
		fuse_remove_signal_handlers(se);
	}
	fuse_session_destroy(se);
	fuse_opt_free_args(&args);
	return r;
}

int main(int argc, char **argv)
{
	unsigned long keys = 0, dirs = 1;
	struct floor *fl;
	int opt, r;

	while ((opt = getopt(argc, argv, "n:d:")) != -1) {
		if (opt == 'n')
			keys = strtoul(optarg, NULL, 10);
		else if (opt == 'd')
			dirs = strtoul(optarg, NULL, 10);
		else
			optind = argc; /* usage */
	}
	if (optind != argc - 1) {
		(void)fprintf(stderr,
			      "usage: floor [-n KEYS] [-d DIRS] MOUNTPOINT\n");
		return 1;
	}
	fl = malloc(sizeof(*fl));
	if (!fl || tree_init(&fl->tree) < 0 ||
	    preload(&fl->tree, keys, (unsigned)dirs) < 0) {
		(void)fprintf(stderr, "floor: out of memory\n");
		return 1;
	}
	r = serve(fl, argv[optind]);
	free(fl); /* the nodes go with the process */
	return r;
}
