/* SPDX-License-Identifier: MIT */

/*
 * Requests, rules and life; saver.h has the state and how it is shared.
 *
 * Save points follow Redis: enough changes, more than so many seconds since the
 * last good save, and more than RETRY_S seconds since the last try if that
 * failed. A clock that is set back would postpone them, so times that lie in
 * the future are pulled to the present. Unlike Redis, while growth is refused a
 * save is always due: changes that are refused cannot add up to a save point,
 * so what ended the trouble would go unnoticed.
 *
 * A dump that could not be loaded is never overwritten: after a failed
 * persist_load() every save fails.
 */

#include "persist/persist.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "persist/saver.h"

enum {
	RETRY_S = 5, /* Redis' CONFIG_BGSAVE_RETRY_DELAY */
};

static int64_t wall_clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t changes_of(const struct persist *p)
{
	struct store_stats s;

	store_get_stats(p->st, &s);
	return s.changes;
}

/* --- life ------------------------------------------------------------- */

static bool is_plain_name(const char *name)
{
	return name && *name && strlen(name) <= DB_NAME_MAX &&
	       !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0 && strcmp(name, RDB_TMP_NAME) != 0;
}

static void free_persist(struct persist *p)
{
	rdb_extras_fini(&p->extras);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->dump_lock);
	free(p);
}

int persist_open(const struct persist_options *opt, struct persist **ret)
{
	struct persist *p;
	int r;

	if (!is_plain_name(opt->dbfilename))
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->st = opt->st;
	p->io = opt->io ? opt->io : &io_system;
	p->dirfd = opt->dirfd;
	(void)strcpy(p->dbfilename, opt->dbfilename);
	p->incremental_sync = opt->incremental_sync;
	p->event = opt->event;
	p->arg = opt->arg;
	p->now_ms = opt->now_ms ? opt->now_ms : wall_clock_ms;
	pthread_mutex_init(&p->dump_lock, NULL);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->idle, NULL);
	p->compress = opt->compress;
	p->checksum = opt->checksum;
	p->stop_writes = opt->stop_writes_on_error;
	persist_set_save_points(p, opt->points, opt->n_points);
	p->saved_changes = changes_of(p);
	p->since_ms = p->now_ms();
	p->status.last_save_s = p->since_ms / 1000;
	p->status.last_duration_ms = -1;
	r = saver_start(p);
	if (r < 0) {
		free_persist(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* Removes what a save left that was cut short. If that fails the next save,
 * which takes the same name, will say why. */
static void sweep(struct persist *p)
{
	if (p->io->unlinkat(p->io->ctx, p->dirfd, RDB_TMP_NAME) == 0)
		saver_tell(p, PERSIST_INFO,
			   "removed %s, left by a save that was cut short",
			   RDB_TMP_NAME);
}

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "directory";
	case S_IFIFO:
		return "fifo";
	case S_IFCHR:
	case S_IFBLK:
		return "device";
	default:
		return "special file";
	}
}

/* Opens the dump if it is a regular file; a fifo must not keep us waiting.
 * Return: a descriptor; -errno, -EINVAL for another kind of file. */
static int open_dump(struct persist *p, struct stat *ret_stat)
{
	int fd, r;

	fd = p->io->openat(p->io->ctx, p->dirfd, p->dbfilename,
			   O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = p->io->fstat(p->io->ctx, fd, ret_stat);
	if (r == 0 && !S_ISREG(ret_stat->st_mode))
		r = -EINVAL;
	if (r < 0) {
		(void)p->io->close(p->io->ctx, fd);
		return r;
	}
	return fd;
}

static int refuse_kind(const char *kind, struct rdb_error *err)
{
	*err = (struct rdb_error){ .code = -EBADMSG };
	(void)snprintf(err->what, sizeof(err->what),
		       "it is a %s, not a regular file", kind);
	return -EBADMSG;
}

static int load_file(struct persist *p, const struct rdb_load_options *opt,
		     struct rdb_load_stats *stats, struct rdb_error *err)
{
	struct stat st = { 0 };
	char buf[96];
	int fd, r;

	fd = open_dump(p, &st);
	if (fd == -ENOENT)
		return 0;
	if (fd == -EINVAL && st.st_mode && !S_ISREG(st.st_mode))
		return refuse_kind(kind_of(st.st_mode), err);
	if (fd == -ENXIO) /* what opening a socket says */
		return refuse_kind("socket", err);
	if (fd < 0) {
		*err = (struct rdb_error){ .code = fd };
		(void)snprintf(err->what, sizeof(err->what),
			       "cannot be opened: %s",
			       strerror_r(-fd, buf, sizeof(buf)));
		return fd;
	}
	r = rdb_load(p->io, fd, p->st, opt, &p->extras, stats, err);
	(void)p->io->close(p->io->ctx, fd);
	return r;
}

int persist_load(struct persist *p, const struct rdb_load_options *opt,
		 struct rdb_load_stats *ret_stats, struct rdb_error *err)
{
	struct rdb_load_stats stats = { 0 };
	int64_t start_ms = p->now_ms();
	int r;

	r = load_file(p, opt, &stats, err);
	*ret_stats = stats;
	if (r == 0) /* a start that is refused changes nothing */
		sweep(p);
	HOLD(&p->lock);
	p->load_failed = r < 0;
	p->status.load = stats;
	p->status.load_ms = MAX(p->now_ms() - start_ms, INT64_C(0));
	p->saved_changes = changes_of(p);
	return r;
}

/* --- requests --------------------------------------------------------- */

/* Starts a save here and now, by making its cut. Return: false if it cannot be,
 * also for lack of memory: then the saver will try again, and tell. */
static bool start_save_locked(struct persist *p, struct waiter *w)
{
	if (p->running || p->wanted || p->digesting || p->load_failed)
		return false;
	if (view_begin(p->st, NULL, NULL, &p->cut) < 0)
		return false;
	saver_note_start_locked(p, w);
	return true;
}

static void want_save_locked(struct persist *p, struct waiter *w)
{
	if (!start_save_locked(p, w)) {
		if (w) {
			w->next = p->next;
			p->next = w;
		}
		p->wanted = true;
	}
	pthread_cond_signal(&p->wake);
}

static struct waiter *new_waiter(persist_done_fn done, void *arg)
{
	struct waiter *w = malloc(sizeof(*w));

	if (w)
		*w = (struct waiter){ .done = done, .arg = arg };
	return w;
}

int persist_bgsave(struct persist *p, persist_done_fn done, void *arg)
{
	struct waiter *w = NULL;

	if (done) {
		w = new_waiter(done, arg);
		if (!w)
			return -ENOMEM;
	}
	HOLD(&p->lock);
	if (p->running || p->wanted) {
		free(w);
		return -EALREADY;
	}
	want_save_locked(p, w);
	return 0;
}

int persist_save(struct persist *p, persist_done_fn done, void *arg)
{
	struct waiter *w = new_waiter(done, arg);

	if (!w)
		return -ENOMEM;
	HOLD(&p->lock);
	want_save_locked(p, w);
	return 0;
}

static bool is_due_locked(struct persist *p)
{
	int64_t now_ms = p->now_ms();
	uint64_t changes = changes_of(p) - p->saved_changes;

	p->since_ms = MIN(p->since_ms, now_ms);
	p->try_ms = MIN(p->try_ms, now_ms);
	if (p->status.last_result < 0 &&
	    now_ms / 1000 - p->try_ms / 1000 <= RETRY_S)
		return false;
	if (p->growth_error)
		return true;
	for (int i = 0; i < p->n_points; i++)
		if (changes >= p->points[i].changes &&
		    now_ms / 1000 - p->since_ms / 1000 > p->points[i].seconds)
			return true;
	return false;
}

void persist_cron(struct persist *p)
{
	HOLD(&p->lock);
	if (p->view)
		saver_note_view_bytes_locked(p);
	if (!p->running && !p->wanted && is_due_locked(p))
		want_save_locked(p, NULL);
}

int persist_close(struct persist *p)
{
	int r = 0;

	if (!p)
		return 0;
	pthread_mutex_lock(&p->lock);
	while (p->running || p->wanted || p->digesting)
		pthread_cond_wait(&p->idle, &p->lock);
	if (p->n_points > 0 && changes_of(p) != p->saved_changes &&
	    !p->load_failed) {
		want_save_locked(p, NULL);
		while (p->running || p->wanted)
			pthread_cond_wait(&p->idle, &p->lock);
		r = p->status.last_result;
	}
	p->quit = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->saver, NULL);
	free_persist(p);
	return r;
}

static void begin_digest(struct persist *p)
{
	HOLD(&p->lock);
	while (p->running || p->wanted || p->digesting)
		pthread_cond_wait(&p->idle, &p->lock);
	p->digesting = true;
}

static void end_digest(struct persist *p)
{
	HOLD(&p->lock);
	p->digesting = false;
	pthread_cond_signal(&p->wake);
	pthread_cond_broadcast(&p->idle);
}

int persist_digest(struct persist *p, char hex[RDB_DIGEST_HEX + 1])
{
	struct view *v;
	int r;

	begin_digest(p);
	r = view_begin(p->st, NULL, NULL, &v);
	if (r == 0) {
		r = rdb_digest(v, hex);
		view_end(v);
	}
	end_digest(p);
	return r;
}

int persist_dump_open(struct persist *p, uint64_t *ret_size,
		      int64_t *ret_mtime_ns, uint64_t *ret_serial)
{
	struct stat st;
	int fd;

	HOLD(&p->dump_lock);
	fd = open_dump(p, &st);
	if (fd < 0)
		return fd;
	*ret_size = (uint64_t)st.st_size;
	*ret_mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	*ret_serial = atomic_load(&p->serial);
	return fd;
}

/* --- settings and state ----------------------------------------------- */

void persist_set_save_points(struct persist *p,
			     const struct persist_save_point *v, int n)
{
	assert(n >= 0 && n <= PERSIST_SAVE_POINTS_MAX);
	HOLD(&p->lock);
	if (n)
		memcpy(p->points, v, (size_t)n * sizeof(*v));
	p->n_points = n;
	saver_apply_growth_error_locked(p);
}

void persist_set_compress(struct persist *p, bool on)
{
	HOLD(&p->lock);
	p->compress = on;
}

void persist_set_checksum(struct persist *p, bool on)
{
	HOLD(&p->lock);
	p->checksum = on;
}

void persist_set_stop_writes(struct persist *p, bool on)
{
	HOLD(&p->lock);
	p->stop_writes = on;
	saver_apply_growth_error_locked(p);
}

void persist_get_status(struct persist *p, struct persist_status *ret)
{
	HOLD(&p->lock);
	*ret = p->status;
	ret->running = p->running || p->wanted;
	ret->scheduled = p->running && p->wanted;
	ret->serial = atomic_load(&p->serial);
	ret->changes_since_save = changes_of(p) - p->saved_changes;
	if (!p->view)
		return;
	saver_note_view_bytes_locked(p);
	/* The part of the slots that was passed is that of the keys, but for
	 * how directories are spread; counting would cost each key a shared
	 * cache line. */
	ret->progress = view_progress(p->view);
	ret->current_keys =
		(uint64_t)(ret->progress * (double)ret->current_total);
	ret->current_keys = MIN(ret->current_keys, ret->current_total);
}
