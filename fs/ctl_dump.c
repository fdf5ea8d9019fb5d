/* SPDX-License-Identifier: MIT */
/*
 * dump.rdb: one name, and an inode of its own for each dump.
 *
 * A save replaces the file by rename, so a descriptor of the old one still
 * shows all of it. The inode number carries persist's serial of the dump; its
 * descriptor is kept open while the kernel references the inode or a read is
 * under way. So whoever has opened a dump reads that dump to its end, whatever
 * is saved meanwhile, and the kernel may cache it all, since it never changes.
 *
 * Reads are done by jobs: the disk may be slow, and a request must not be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/ctl_impl.h"

enum {
	READ_MAX = 1024 * 1024
}; /* what the kernel asks for at most */

/* Protected by ctl.lock, but for what never changes. */
struct ctl_dump {
	uint64_t serial, size; /* fixed */
	int64_t mtime_ns;      /* fixed */
	int fd;		       /* fixed; ours */
	uint64_t n_lookup;
	int n_pins; /* reads under way, and lookups that look at it */
	struct ctl_dump *next;
};

static struct ctl_dump *find_locked(struct ctl *c, uint64_t serial)
{
	struct ctl_dump *d = c->dumps;

	while (d && d->serial != serial)
		d = d->next;
	return d;
}

static uint64_t serial_of(uint64_t ino)
{
	return ino & ~(CTL_INO_BIT | CTL_DUMP_BIT);
}

static void dump_free(struct ctl_dump *d)
{
	if (!d)
		return;
	(void)close(d->fd); /* open for reading: nothing can be lost */
	free(d);
}

/* Takes @d off the list if nobody needs it. Return: it, to be freed once the
 * lock has been given back; NULL if it stays. */
static struct ctl_dump *drop_locked(struct ctl *c, struct ctl_dump *d)
{
	struct ctl_dump **at = &c->dumps;

	if (d->n_lookup > 0 || d->n_pins > 0)
		return NULL;
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	return d;
}

static void unpin(struct ctl *c, struct ctl_dump *d)
{
	pthread_mutex_lock(&c->lock);
	d->n_pins--;
	d = drop_locked(c, d);
	pthread_mutex_unlock(&c->lock);
	dump_free(d);
}

static struct ctl_dump *pin(struct ctl *c, uint64_t serial)
{
	struct ctl_dump *d;

	pthread_mutex_lock(&c->lock);
	d = find_locked(c, serial);
	if (d)
		d->n_pins++;
	pthread_mutex_unlock(&c->lock);
	return d;
}

/* Opens the dump that is there now and pins it. */
static int open_current(struct ctl *c, struct ctl_dump **ret)
{
	struct ctl_dump *d = calloc(1, sizeof(*d)), *known;

	if (!d)
		return -ENOMEM;
	d->fd = persist_dump_open(c->src.opt.p, &d->size, &d->mtime_ns,
				  &d->serial);
	if (d->fd < 0) {
		int r = d->fd;

		free(d);
		return r;
	}
	pthread_mutex_lock(&c->lock);
	known = find_locked(c, d->serial); /* somebody else was faster */
	if (!known) {
		d->next = c->dumps;
		c->dumps = d;
		known = d;
		d = NULL;
	}
	known->n_pins++;
	pthread_mutex_unlock(&c->lock);
	dump_free(d);
	*ret = known;
	return 0;
}

static void fill_attr(const struct ctl *c, const struct ctl_dump *d,
		      struct store_attr *ret)
{
	*ret = (struct store_attr){
		.ino = CTL_INO_BIT | CTL_DUMP_BIT | d->serial,
		.size = d->size,
		.blocks = (d->size + 511) / 512,
		.atime_ns = d->mtime_ns,
		.mtime_ns = d->mtime_ns,
		.ctime_ns = d->mtime_ns,
		.mode = S_IFREG | CTL_DUMP_MODE,
		.uid = c->src.opt.owner_uid,
		.gid = c->src.opt.owner_gid,
		.nlink = 1,
		.type = STORE_FILE,
	};
}

int ctl_dump_current(struct ctl *c, bool ref, struct store_attr *ret_attr)
{
	struct persist_status s;
	struct ctl_dump *d;
	int r;

	persist_get_status(c->src.opt.p, &s);
	d = pin(c, s.serial);
	if (!d) {
		r = open_current(c, &d);
		if (r < 0)
			return r;
	}
	fill_attr(c, d, ret_attr);
	if (ref) {
		pthread_mutex_lock(&c->lock);
		d->n_lookup++;
		pthread_mutex_unlock(&c->lock);
	}
	unpin(c, d);
	return 0;
}

int ctl_dump_attr(struct ctl *c, uint64_t ino, struct store_attr *ret_attr)
{
	struct ctl_dump *d = pin(c, serial_of(ino));

	if (!d)
		return -ESTALE;
	fill_attr(c, d, ret_attr);
	unpin(c, d);
	return 0;
}

void ctl_dump_forget(struct ctl *c, uint64_t ino, uint64_t n)
{
	struct ctl_dump *d;

	pthread_mutex_lock(&c->lock);
	d = find_locked(c, serial_of(ino));
	if (d) {
		d->n_lookup -= MIN(n, d->n_lookup);
		d = drop_locked(c, d);
	}
	pthread_mutex_unlock(&c->lock);
	dump_free(d);
}

/* --- reading ------------------------------------------------------------ */

struct dump_read {
	struct ctl_pending p; /* first: see ctl_impl.h */
	struct ctl_dump *d;   /* pinned */
	uint64_t off;
	size_t len;
};

/* Return: bytes read, fewer than asked for only at the end; -errno. */
static ssize_t read_full(int fd, char *buf, size_t len, uint64_t off)
{
	size_t n = 0;

	while (n < len) {
		ssize_t r = pread(fd, buf + n, len - n, (off_t)(off + n));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

static void run_read(struct job *job, bool cancelled)
{
	struct ctl_pending *p =
		(void *)((char *)job - offsetof(struct ctl_pending, job));
	struct dump_read *rd = (struct dump_read *)p;
	_cleanup_free_ char *buf = NULL;
	ssize_t r = -EINTR;

	if (!cancelled) {
		buf = malloc(rd->len);
		r = buf ? read_full(rd->d->fd, buf, rd->len, rd->off) : -ENOMEM;
	}
	unpin(p->c, rd->d);
	ctl_pending_end(p, r, buf);
}

void ctl_dump_read(struct ctl *c, uint64_t ino, uint64_t off, size_t len,
		   struct ctl_op *op)
{
	struct ctl_dump *d = pin(c, serial_of(ino));
	struct dump_read *rd;
	int r;

	if (!d) {
		ctl_op_end(c, op, NULL, -ESTALE, NULL);
		return;
	}
	if (off >= d->size || len == 0) {
		unpin(c, d);
		ctl_op_end(c, op, NULL, 0, NULL);
		return;
	}
	rd = ctl_pending_new(c, op, sizeof(*rd), NULL);
	if (!rd) {
		unpin(c, d);
		return;
	}
	rd->d = d;
	rd->off = off;
	rd->len = (size_t)MIN(MIN(len, (size_t)READ_MAX), d->size - off);
	rd->p.job.run = run_read;
	r = job_submit(c->jobs, &rd->p.job);
	if (r < 0) {
		unpin(c, d);
		ctl_pending_end(&rd->p, r, NULL);
	}
}

void ctl_dumps_free(struct ctl *c)
{
	struct ctl_dump *d;

	while ((d = c->dumps)) {
		c->dumps = d->next;
		dump_free(d);
	}
}
