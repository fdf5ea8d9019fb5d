/* SPDX-License-Identifier: MIT */
/*
 * Between FUSE requests and the control files, which know nothing of FUSE and
 * may answer later, from another thread.
 *
 * Interrupts. libfuse calls the interrupt function with the request's lock held,
 * with a data pointer it has read before, perhaps while another thread
 * completes that very request. So the data is a serial number, which is looked
 * up in the list of what is under way; what is found is pinned by a reference
 * for the call to ctl_interrupt(). libfuse may deliver an interrupt at once,
 * within fuse_req_interrupt_func(); ctl takes one that precedes its operation.
 *
 * Caching. There is no open, hence no direct I/O: what a write puts in the page
 * cache must not be read back as the file's text. A read asks for attributes
 * first (their timeout is 0), and the kernel drops its pages if size or
 * modification time differ; the latter grows with each write. A truncation to
 * 0, which opening for `>` sends, is confirmed with size 0, since the kernel
 * then drops all pages.
 */
#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/reply.h"

struct ctl_request {
	struct ctl_request *next, **link; /* fs->ctl_lock */
	uintptr_t serial;
	unsigned refs; /* fs->ctl_lock */
	struct fs *fs;
	fuse_req_t req;
	struct ctl_op op;
	char data[]; /* write: the text, since libfuse's buffer is reused */
};

/* --- names and attributes ---------------------------------------------- */

static double attr_timeout(struct fs *fs, uint64_t ino)
{
	return ctl_is_immutable(fs->ctl, ino) ? FS_CACHE_S : 0;
}

int ops_ctl_attr(struct fs *fs, uint64_t ino, struct store_attr *ret_attr)
{
	return fs->ctl ? ctl_getattr(fs->ctl, ino, ret_attr) : -ESTALE;
}

void ops_ctl_lookup(fuse_req_t req, uint64_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct store_attr attr;
	int r;

	if (!fs->ctl) {
		reply_err(req, -ENOENT);
		return;
	}
	if (ctl_owns(parent))
		r = ctl_lookup(fs->ctl, parent, span_str(name), &attr);
	else
		r = ctl_getattr(fs->ctl, CTL_ROOT_INO, &attr);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	e = (struct fuse_entry_param){
		.ino = attr.ino,
		.generation = fs->generation,
		.attr = reply_stat(&attr),
		.attr_timeout = attr_timeout(fs, attr.ino),
	};
	if (fuse_reply_entry(req, &e) < 0)
		fs_forget(fs, attr.ino, 1);
}

void ops_ctl_getattr(fuse_req_t req, uint64_t ino)
{
	struct fs *fs = fs_of(req);
	struct store_attr attr;
	struct stat st;
	int r;

	r = ops_ctl_attr(fs, ino, &attr);
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	st = reply_stat(&attr);
	(void)fuse_reply_attr(req, &st, attr_timeout(fs, ino));
}

/* A new size or new times are accepted and ignored; the rest is fixed. */
void ops_ctl_setattr(fuse_req_t req, uint64_t ino, const struct stat *st,
		     int to_set)
{
	struct fs *fs = fs_of(req);
	struct store_attr attr;
	struct stat out;
	int r;

	if (to_set &
	    (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
		reply_err(req, -EPERM);
		return;
	}
	r = ops_ctl_attr(fs, ino, &attr);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && !S_ISREG(attr.mode))
		r = -EISDIR;
	if (r < 0) {
		reply_err(req, r);
		return;
	}
	out = reply_stat(&attr);
	if ((to_set & FUSE_SET_ATTR_SIZE) && st->st_size == 0)
		out.st_size = 0;
	(void)fuse_reply_attr(req, &out, 0);
}

/* --- operations that may take their time ------------------------------- */

static void unref(struct ctl_request *cr)
{
	struct fs *fs = cr->fs;
	unsigned left;

	pthread_mutex_lock(&fs->ctl_lock);
	left = --cr->refs;
	pthread_mutex_unlock(&fs->ctl_lock);
	if (left == 0)
		free(cr);
}

/* Takes it off the list: no interrupt finds it any more. */
static void delist(struct ctl_request *cr)
{
	pthread_mutex_lock(&cr->fs->ctl_lock);
	*cr->link = cr->next;
	if (cr->next)
		cr->next->link = cr->link;
	pthread_mutex_unlock(&cr->fs->ctl_lock);
}

static void read_done(struct ctl_op *op, ssize_t result, const void *data)
{
	struct ctl_request *cr = op->arg;

	delist(cr);
	if (result < 0)
		reply_err(cr->req, (int)result);
	else
		(void)fuse_reply_buf(cr->req, data, (size_t)result);
	unref(cr);
}

static void write_done(struct ctl_op *op, ssize_t result, const void *data)
{
	struct ctl_request *cr = op->arg;

	(void)data;
	delist(cr);
	if (result < 0)
		reply_err(cr->req, (int)result);
	else
		(void)fuse_reply_write(cr->req, (size_t)result);
	unref(cr);
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct fs *fs = fs_of(req);
	uintptr_t serial = (uintptr_t)data;
	struct ctl_request *cr;

	pthread_mutex_lock(&fs->ctl_lock);
	for (cr = fs->ctl_first; cr && cr->serial != serial; cr = cr->next)
		;
	if (cr)
		cr->refs++;
	pthread_mutex_unlock(&fs->ctl_lock);
	if (cr) {
		ctl_interrupt(fs->ctl, &cr->op);
		unref(cr);
	}
}

/* Return: a listed request, whose reference its completion gives back; NULL if
 * there is no memory. */
static struct ctl_request *begin(fuse_req_t req, size_t room,
				 void (*done)(struct ctl_op *op, ssize_t result,
					      const void *data))
{
	struct fs *fs = fs_of(req);
	struct ctl_request *cr = malloc(sizeof(*cr) + room);

	if (!cr)
		return NULL;
	*cr = (struct ctl_request){
		.refs = 1, .fs = fs, .req = req, .op = { .done = done }
	};
	cr->op.arg = cr;
	pthread_mutex_lock(&fs->ctl_lock);
	cr->serial = ++fs->ctl_serial;
	cr->next = fs->ctl_first;
	cr->link = &fs->ctl_first;
	if (cr->next)
		cr->next->link = &cr->next;
	fs->ctl_first = cr;
	pthread_mutex_unlock(&fs->ctl_lock);
	fuse_req_interrupt_func(req, on_interrupt, (void *)cr->serial);
	return cr;
}

void ops_ctl_read(fuse_req_t req, uint64_t ino, uint64_t off, size_t size)
{
	struct fs *fs = fs_of(req);
	struct ctl_request *cr = fs->ctl ? begin(req, 0, read_done) : NULL;

	if (!cr) {
		reply_err(req, fs->ctl ? -ENOMEM : -ESTALE);
		return;
	}
	ctl_read(fs->ctl, ino, off, size, &cr->op);
}

void ops_ctl_write(fuse_req_t req, uint64_t ino, const void *data, size_t size)
{
	struct fs *fs = fs_of(req);
	struct ctl_request *cr = fs->ctl ? begin(req, size, write_done) : NULL;

	if (!cr) {
		reply_err(req, fs->ctl ? -ENOMEM : -ESTALE);
		return;
	}
	memcpy(cr->data, data, size);
	ctl_write(fs->ctl, ino, cr->data, size, &cr->op);
}
