/* SPDX-License-Identifier: MIT */

/*
 * The calls of the model disk: descriptors, plans, the trace. What files and
 * directories hold and what a crash leaves of them is in disk_node.c.
 *
 * Each call is: begin() takes the lock and looks the plans up; then the call
 * does its work, unless it is to fail; then end() switches the power off if
 * that is planned, remembers the call and lets go of the lock.
 */

#include "tests/lib/disk.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/disk_node.h"
#include "tests/lib/unit.h"

enum {
	PAGE = 4096,
};

struct disk_descriptor {
	struct disk_descriptor *next;
	struct disk_node *node;
	int fd, flags;
	off_t pos;
};

static inline void unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static inline pthread_mutex_t *lock(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	return &d->lock;
}

/* Holds the lock to the end of the block. */
#define HOLD_DISK(d)                                                           \
	pthread_mutex_t *held __attribute__((cleanup(unlock), unused)) = lock(d)

/* What was decided about a call. */
struct turn {
	const char *call;
	int refuse; /* -errno: do nothing */
	int lie;    /* -errno: do it, and say this */
	bool cut_write;
	bool off_after;
};

static void *must(void *p)
{
	if (!p) {
		(void)fprintf(stderr, "model disk: no memory\n");
		abort();
	}
	return p;
}

/* --- plans ------------------------------------------------------------ */

static bool meets(struct disk_plan *p, const char *call)
{
	if (!p->at || (p->only && strcmp(p->only, call) != 0))
		return false;
	p->n++;
	if (p->n != p->at && !(p->keep && p->fired))
		return false;
	p->fired = true;
	return true;
}

static void apply_plan(struct disk *d, struct turn *t,
		       const struct disk_plan *p)
{
	if (p->fault == DISK_SHORT)
		t->cut_write = true;
	if (t->refuse || t->lie || t->off_after)
		return;
	switch (p->fault) {
	case DISK_FAIL:
		t->refuse = -p->error;
		break;
	case DISK_DONE_FAIL:
		t->lie = -p->error;
		break;
	case DISK_OFF:
		d->off = true;
		t->refuse = -EIO;
		break;
	case DISK_OFF_AFTER:
		t->off_after = true;
		break;
	case DISK_SHORT:
		break;
	}
}

static struct disk_descriptor *find_fd(struct disk *d, int fd)
{
	struct disk_descriptor *f;

	for (f = d->open; f; f = f->next)
		if (f->fd == fd)
			break;
	return f;
}

/* Begins a call on a descriptor: takes the lock, which end() gives back. */
static struct disk_descriptor *begin(struct disk *d, const char *call, int fd,
				     struct turn *t)
{
	struct disk_descriptor *f;

	if (d->before)
		d->before(d->arg, call);
	pthread_mutex_lock(&d->lock);
	*t = (struct turn){ .call = call };
	f = find_fd(d, fd);
	if (d->off) {
		t->refuse = -EIO;
		return f;
	}
	if (f && f->node->is_dir && strstr(call, "sync"))
		t->call = "fsync-dir";
	for (int i = 0; i < DISK_PLANS_MAX; i++)
		if (meets(&d->plan[i], t->call))
			apply_plan(d, t, &d->plan[i]);
	if (!f) {
		d->n_wrong++;
		t->refuse = -EBADF;
	}
	return f;
}

/* Ends a call that had the result @r. Return: what it says. */
static int64_t end(struct disk *d, const struct turn *t, const char *name,
		   int64_t r)
{
	bool was_on = !d->off || t->off_after;
	struct disk_call *c = &d->trace[d->n_calls % DISK_TRACE_MAX];

	if (t->lie && r >= 0)
		r = t->lie;
	if (was_on) {
		c->call = t->call;
		(void)snprintf(c->name, sizeof(c->name), "%s", name);
		c->result = r;
		d->n_calls++;
	}
	if (t->off_after)
		d->off = true;
	pthread_mutex_unlock(&d->lock);
	return r;
}

static const char *name_of(const struct disk_descriptor *f)
{
	return f ? f->node->name : "?";
}

/* --- space ------------------------------------------------------------ */

static uint64_t pages_of(uint64_t len)
{
	return (len + PAGE - 1) / PAGE * PAGE;
}

static uint64_t used_below(const struct disk_node *dir)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < dir->names.n; i++) {
		const struct disk_node *n = dir->names.v[i].node;

		sum += n->is_dir ? used_below(n) : pages_of(n->now.len);
	}
	return sum;
}

static uint64_t used_locked(struct disk *d)
{
	uint64_t sum = used_below(d->root);
	struct disk_descriptor *f, *g;

	for (f = d->open; f; f = f->next) {
		if (f->node->n_links)
			continue;
		for (g = d->open; g->node != f->node; g = g->next)
			;
		if (g == f) /* count each node once */
			sum += pages_of(f->node->now.len);
	}
	return sum;
}

/* How much of a write there is room for. */
static size_t room_for(struct disk *d, const struct disk_node *n, size_t off,
		       size_t len)
{
	uint64_t others;
	size_t limit;

	if (!d->capacity || off + len <= pages_of(n->now.len))
		return len;
	others = used_locked(d) - pages_of(n->now.len);
	limit = others >= d->capacity
			? 0
			: (size_t)((d->capacity - others) / PAGE * PAGE);
	limit = MAX(limit, pages_of(n->now.len));
	return limit <= off ? 0 : MIN(len, limit - off);
}

/* --- descriptors ------------------------------------------------------ */

static int open_node(struct disk *d, struct disk_node *n, int flags)
{
	struct disk_descriptor *f = must(malloc(sizeof(*f)));

	*f = (struct disk_descriptor){
		.next = d->open,
		.node = disk_node_ref(n),
		.fd = ++d->last_fd,
		.flags = flags,
	};
	n->n_open++;
	d->open = f;
	return f->fd;
}

static void close_descriptor(struct disk *d, struct disk_descriptor *f)
{
	struct disk_descriptor **at = &d->open;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->node->n_open--;
	disk_node_put(f->node);
	free(f);
}

static bool can_write(const struct disk_descriptor *f)
{
	return (f->flags & O_ACCMODE) != O_RDONLY;
}

/* Return: the new node, borrowed: the directory has it. */
static struct disk_node *make_node(struct disk *d, struct disk_node *dir,
				   const char *name, bool is_dir, mode_t mode)
{
	struct disk_node *n;

	n = disk_node_new(is_dir, (is_dir ? S_IFDIR : S_IFREG) | (mode & 0777),
			  ++d->last_ino);
	n->mtime_s = (int64_t)d->n_calls;
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	disk_node_change(dir, NULL, name, n);
	disk_node_put(n);
	return n;
}

/* 0 if a name can be one in this directory. */
static int check_name(const struct disk_descriptor *dir, const char *name)
{
	if (!dir->node->is_dir)
		return -ENOTDIR;
	if (!*name)
		return -ENOENT;
	if (strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	return strchr(name, '/') || strcmp(name, ".") == 0 ||
			       strcmp(name, "..") == 0
		       ? -EINVAL
		       : 0;
}

static int open_name(struct disk *d, struct disk_descriptor *dir,
		     const char *name, int flags, mode_t mode)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	struct disk_node *n;
	int r = check_name(dir, name);

	if (r < 0)
		return r;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return -EOPNOTSUPP;
	n = disk_node_find(dir->node, name);
	if (n && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (!n && !(flags & O_CREAT))
		return -ENOENT;
	if (!n)
		n = make_node(d, dir->node, name, false, mode);
	if (n->is_dir && (writes || flags & O_CREAT))
		return -EISDIR;
	if (!n->is_dir && flags & O_DIRECTORY)
		return -ENOTDIR;
	if (flags & O_TRUNC)
		disk_node_truncate(n, 0);
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	return open_node(d, n, flags);
}

static int disk_openat(void *ctx, int dirfd, const char *name, int flags,
		       mode_t mode)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *dir = begin(d, "open", dirfd, &t);
	int r = t.refuse, fd;

	if (r == 0)
		r = open_name(d, dir, name, flags, mode);
	fd = (int)end(d, &t, name, r);
	if (fd < 0 && r >= 0) { /* done, but nobody was given the number */
		pthread_mutex_lock(&d->lock);
		close_descriptor(d, find_fd(d, r));
		pthread_mutex_unlock(&d->lock);
	}
	return fd;
}

static int disk_close(void *ctx, int fd)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "close", fd, &t);
	char name[sizeof(f->node->name)];

	memcpy(name, f ? f->node->name : "?", f ? sizeof(name) : 2);
	assert(fd != d->root_fd);
	if (f)
		close_descriptor(d, f);
	return (int)end(d, &t, name, t.refuse);
}

/* --- content ---------------------------------------------------------- */

static ssize_t disk_pread(void *ctx, int fd, void *buf, size_t len, off_t off)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "pread", fd, &t);
	int64_t r = t.refuse;

	if (r == 0 && f->node->is_dir)
		r = -EISDIR;
	else if (r == 0 && (f->flags & O_ACCMODE) == O_WRONLY)
		r = -EBADF;
	else if (r == 0 && off < 0)
		r = -EINVAL;
	else if (r == 0 && (size_t)off < f->node->now.len) {
		r = (int64_t)MIN(len, f->node->now.len - (size_t)off);
		memcpy(buf, f->node->now.p + off, (size_t)r);
	}
	return (ssize_t)end(d, &t, name_of(f), r);
}

static int64_t write_some(struct disk *d, struct disk_descriptor *f,
			  const void *buf, size_t len, bool cut)
{
	size_t off, n;

	if (!can_write(f))
		return -EBADF;
	if (!len)
		return 0;
	off = f->flags & O_APPEND ? f->node->now.len : (size_t)f->pos;
	n = room_for(d, f->node, off, len);
	if (!n)
		return -ENOSPC;
	if (cut)
		n = (n + 1) / 2;
	disk_node_write(f->node, off, buf, n);
	f->node->mtime_s = (int64_t)d->n_calls;
	f->pos = (off_t)(off + n);
	return (int64_t)n;
}

static ssize_t disk_write(void *ctx, int fd, const void *buf, size_t len)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "write", fd, &t);
	int64_t r = t.refuse;

	if (r == 0)
		r = write_some(d, f, buf, len, t.cut_write);
	return (ssize_t)end(d, &t, name_of(f), r);
}

static int disk_ftruncate(void *ctx, int fd, off_t len)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "truncate", fd, &t);
	int r = t.refuse;

	if (r == 0 && (f->node->is_dir || !can_write(f) || len < 0))
		r = -EINVAL;
	if (r == 0)
		disk_node_truncate(f->node, (size_t)len);
	return (int)end(d, &t, name_of(f), r);
}

static int disk_fstat(void *ctx, int fd, struct stat *st)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "fstat", fd, &t);

	if (t.refuse == 0) {
		const struct disk_node *n = f->node;

		*st = (struct stat){
			.st_mode = n->mode,
			.st_ino = (ino_t)n->ino,
			.st_nlink = (nlink_t)n->n_links,
			.st_size = (off_t)n->now.len,
			.st_blksize = PAGE,
			.st_blocks = (blkcnt_t)(pages_of(n->now.len) / 512),
			.st_mtim = { .tv_sec = n->mtime_s },
		};
	}
	return (int)end(d, &t, name_of(f), t.refuse);
}

/* --- syncs ------------------------------------------------------------ */

static int sync_node(void *ctx, const char *call, int fd)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, call, fd, &t);

	if (t.refuse == 0)
		disk_node_sync(f->node);
	else if (!d->off && f)
		disk_node_sync_failed(f->node);
	return (int)end(d, &t, name_of(f), t.refuse);
}

static int disk_fsync(void *ctx, int fd)
{
	return sync_node(ctx, "fsync", fd);
}

static int disk_fdatasync(void *ctx, int fd)
{
	return sync_node(ctx, "fdatasync", fd);
}

static int disk_sync_range(void *ctx, int fd, off_t off, off_t len)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *f = begin(d, "sync-range", fd, &t);

	(void)off;
	(void)len;
	if (f && !d->off && io_writeout_failed(t.refuse ? t.refuse : t.lie))
		disk_node_sync_failed(f->node);
	return (int)end(d, &t, name_of(f), t.refuse);
}

/* --- names ------------------------------------------------------------ */

/* 0 if @n may take the place of @over, which may be NULL. */
static int check_replace(const struct disk_node *n,
			 const struct disk_node *over)
{
	if (!over)
		return 0;
	if (over->is_dir && !n->is_dir)
		return -EISDIR;
	if (!over->is_dir && n->is_dir)
		return -ENOTDIR;
	return over->names.n ? -ENOTEMPTY : 0;
}

static int rename_name(const struct disk_descriptor *dir, const char *from,
		       const char *to)
{
	struct disk_node *n, *over;
	int r = check_name(dir, from);

	if (r == 0)
		r = check_name(dir, to);
	if (r < 0)
		return r;
	n = disk_node_find(dir->node, from);
	over = disk_node_find(dir->node, to);
	if (!n)
		return -ENOENT;
	if (n == over)
		return 0;
	r = check_replace(n, over);
	if (r < 0)
		return r;
	(void)snprintf(n->name, sizeof(n->name), "%s", to);
	disk_node_change(dir->node, from, to, n);
	return 0;
}

static int disk_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *dir = begin(d, "rename", dirfd, &t);
	int r = t.refuse;

	if (r == 0)
		r = rename_name(dir, from, to);
	return (int)end(d, &t, to, r);
}

static int disk_unlinkat(void *ctx, int dirfd, const char *name)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *dir = begin(d, "unlink", dirfd, &t);
	struct disk_node *n;
	int r = t.refuse;

	if (r == 0)
		r = check_name(dir, name);
	if (r == 0) {
		n = disk_node_find(dir->node, name);
		if (!n)
			r = -ENOENT;
		else if (n->is_dir)
			r = -EISDIR;
		else
			disk_node_change(dir->node, name, NULL, n);
	}
	return (int)end(d, &t, name, r);
}

static int disk_mkdirat(void *ctx, int dirfd, const char *name, mode_t mode)
{
	struct disk *d = ctx;
	struct turn t;
	struct disk_descriptor *dir = begin(d, "mkdir", dirfd, &t);
	int r = t.refuse;

	if (r == 0)
		r = check_name(dir, name);
	if (r == 0 && disk_node_find(dir->node, name))
		r = -EEXIST;
	if (r == 0)
		(void)make_node(d, dir->node, name, true, mode);
	return (int)end(d, &t, name, r);
}

/* --- life ------------------------------------------------------------- */

/* Takes the reference of @root. */
static void init_with(struct disk *d, struct disk_node *root, uint64_t last_ino)
{
	*d = (struct disk){
		.io = {
			.ctx = d,
			.openat = disk_openat,
			.close = disk_close,
			.pread = disk_pread,
			.write = disk_write,
			.fstat = disk_fstat,
			.fsync = disk_fsync,
			.fdatasync = disk_fdatasync,
			.sync_range = disk_sync_range,
			.ftruncate = disk_ftruncate,
			.renameat = disk_renameat,
			.unlinkat = disk_unlinkat,
			.mkdirat = disk_mkdirat,
		},
		.last_ino = last_ino,
		.last_fd = DISK_FD_FIRST - 1,
		.root = root,
	};
	pthread_mutex_init(&d->lock, NULL);
	d->root_fd = open_node(d, root, O_RDONLY | O_DIRECTORY);
}

void disk_init(struct disk *d)
{
	struct disk_node *root = disk_node_new(true, S_IFDIR | 0755, 1);

	(void)strcpy(root->name, "/");
	init_with(d, root, 1);
}

void disk_fini(struct disk *d)
{
	while (d->open)
		close_descriptor(d, d->open);
	disk_node_put(d->root);
	d->root = NULL;
	pthread_mutex_destroy(&d->lock);
}

int disk_root(struct disk *d)
{
	return d->root_fd;
}

int disk_n_open(struct disk *d)
{
	int n = -1; /* the root */

	HOLD_DISK(d);
	for (const struct disk_descriptor *f = d->open; f; f = f->next)
		n++;
	return n;
}

void disk_plan(struct disk *d, const struct disk_plan *plans, int n)
{
	assert(n >= 0 && n <= DISK_PLANS_MAX);
	HOLD_DISK(d);
	for (int i = 0; i < DISK_PLANS_MAX; i++) {
		d->plan[i] = i < n ? plans[i] : (struct disk_plan){ 0 };
		d->plan[i].n = 0;
		d->plan[i].fired = false;
	}
}

bool disk_fired(struct disk *d, int n)
{
	HOLD_DISK(d);
	return d->plan[n].fired;
}

bool disk_is_off(struct disk *d)
{
	HOLD_DISK(d);
	return d->off;
}

void disk_set_capacity(struct disk *d, uint64_t bytes)
{
	HOLD_DISK(d);
	d->capacity = bytes;
}

uint64_t disk_used(struct disk *d)
{
	HOLD_DISK(d);
	return used_locked(d);
}

void disk_after_crash(struct disk *d, uint64_t seed, enum disk_mode mode,
		      struct disk *ret)
{
	struct unit_rng rng = { seed };
	struct disk_node *root;

	HOLD_DISK(d);
	root = disk_node_after_crash(d->root, &rng, mode == DISK_HARSH);
	init_with(ret, root, d->last_ino);
}

/* --- looking ---------------------------------------------------------- */

int disk_count(struct disk *d)
{
	HOLD_DISK(d);
	return (int)d->root->names.n;
}

int64_t disk_size(struct disk *d, const char *name)
{
	const struct disk_node *n;

	HOLD_DISK(d);
	n = disk_node_find(d->root, name);
	return n ? (int64_t)n->now.len : -1;
}

void *disk_read(struct disk *d, const char *name, size_t *ret_len)
{
	const struct disk_node *n;
	void *copy;

	HOLD_DISK(d);
	n = disk_node_find(d->root, name);
	if (!n)
		return NULL;
	copy = must(malloc(n->now.len + 1));
	if (n->now.len)
		memcpy(copy, n->now.p, n->now.len);
	*ret_len = n->now.len;
	return copy;
}

void disk_put(struct disk *d, const char *name, const void *p, size_t len)
{
	struct disk_node *n;

	HOLD_DISK(d);
	n = make_node(d, d->root, name, false, 0644);
	if (len)
		disk_node_write(n, 0, p, len);
	disk_node_sync(n);
	disk_node_sync(d->root);
}

char *disk_trace(struct disk *d)
{
	uint64_t first = 0;
	char *text = NULL, one[96], last[96] = "";
	size_t size;
	FILE *f = must(open_memstream(&text, &size));

	HOLD_DISK(d);
	if (d->n_calls > DISK_TRACE_MAX)
		first = d->n_calls - DISK_TRACE_MAX;
	for (uint64_t i = first; i < d->n_calls; i++) {
		const struct disk_call *c = &d->trace[i % DISK_TRACE_MAX];

		(void)snprintf(one, sizeof(one), "%s %s", c->call, c->name);
		if (c->result < 0)
			(void)snprintf(one + strlen(one),
				       sizeof(one) - strlen(one), " (%d)",
				       (int)c->result);
		if (strcmp(one, last) != 0)
			(void)fprintf(f, "%s%s", *last ? ", " : "", one);
		(void)strcpy(last, one);
	}
	(void)fclose(f);
	return must(text);
}
