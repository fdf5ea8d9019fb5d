/* SPDX-License-Identifier: MIT */

/*
 * Snapshot isolation at size: four writers and a sweeper change a store of many
 * keys without a pause while it is saved, again and again. Each save must be
 * what the store was at its cut: every key, content, deadline, time and fact,
 * and nothing else.
 *
 *	isolation
 *
 * Environment: KEYFS_ISOLATION_KEYS, how many keys; KEYFS_QUICK, fewer of them
 * unless that says how many; KEYFS_SLOW, a factor for how long a save may take;
 * KEYFS_SEED repeats the operations (not how the threads meet); TMPDIR is where
 * the dumps go.
 *
 * How the expectation is known: each writer owns a part of the names and keeps
 * a model of it. A writer holds world.ops for reading during an operation; a
 * cut holds it for writing, so every writer is then between two operations. It
 * copies the models (plain arrays), makes the cut, and lets go. All comparing
 * happens later, with the copies.
 *
 * Half of the saves are compared as the view delivers them, one half of these
 * slowly, so that the writers get at nearly all nodes first. The other half go
 * through a dump on disk into a fresh store, which is compared by listing and
 * reading it. Writers wait while a dump is loaded and compared: what they would
 * do then tests nothing.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "persist/rdb.h"
#include "tests/model/expect.h"
#include "tests/model/writer.h"

/* The build says how many its sanitizer can bear. */
#ifndef ISOLATION_KEYS
#define ISOLATION_KEYS 1000000
#endif

enum {
	SAVES = 20,
	QUICK_KEYS = 50000,
	CHECK_KEYS = 100000, /* up to these, store_check() after every save */
	BETWEEN_US = 150 * 1000, /* of undisturbed work between two saves */
	REST_US =
		1000, /* with more than CHECK_KEYS: else writers that outnumber
			 * the cores leave the save too little of them */
	HANG_S = 120, /* for one save; times KEYFS_SLOW */
	SWEEP_US = 300,
	SWEEP_MAX = 64,
};

/* Long ago, so that deadlines pass by the test's clock alone. */
#define CLOCK_START_MS INT64_C(1700000000000)
#define DUMP_NAME      "dump.rdb"

struct run {
	struct world world;
	struct writer w[WRITERS];
	struct expect x;
	pthread_t sweeper;
	_Atomic uint64_t view_bytes; /* most in this save */
	uint64_t ops_at_cut;
	uint64_t cut_ns, held_ns, start_ns;
	struct latency latency[2];
};

/* --- where dumps go --------------------------------------------------- */

static char scratch_path[256];
static int scratch_fd = -1;

static void scratch_remove(void)
{
	(void)unlinkat(scratch_fd, DUMP_NAME, 0);
	(void)unlinkat(scratch_fd, RDB_TMP_NAME, 0);
	if (rmdir(scratch_path) < 0)
		fprintf(stderr, "%s: %s\n", scratch_path, strerror(errno));
}

static void scratch_make(void)
{
	const char *tmp = getenv("TMPDIR");
	int n;

	n = snprintf(scratch_path, sizeof(scratch_path),
		     "%s/keyfs-isolation-XXXXXX",
		     tmp && *tmp == '/' ? tmp : "/tmp");
	if (n < 0 || (size_t)n >= sizeof(scratch_path) ||
	    !mkdtemp(scratch_path))
		test_fail("%s: %s", scratch_path, strerror(errno));
	test_on_fail(scratch_remove);
	scratch_fd = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scratch_fd < 0)
		test_fail("%s: %s", scratch_path, strerror(errno));
}

/* A damaged store may also hang, with its lock held. */
static void on_signal(int sig)
{
	static const char text[] = "FAILED: a save does not end\n";

	if (sig == SIGALRM)
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)unlinkat(scratch_fd, DUMP_NAME, 0);
	(void)unlinkat(scratch_fd, RDB_TMP_NAME, 0);
	(void)rmdir(scratch_path);
	_exit(1);
}

/* --- deadlines -------------------------------------------------------- */

/* Every name begins with `w` and its writer's number. */
static void note_expired(void *arg, uint64_t parent, uint64_t ino,
			 struct span name)
{
	struct run *run = arg;
	int owner = ((const char *)name.ptr)[1] - '0';

	(void)parent;
	if (owner < 0 || owner >= WRITERS)
		test_fail("\"%.*s\" was swept", (int)name.len,
			  (const char *)name.ptr);
	writer_swept(&run->w[owner], ino);
}

/* Moves the clock, and removes what it has passed. */
static void *sweep(void *arg)
{
	struct run *run = arg;
	struct world *world = &run->world;
	struct store_stats stats;

	while (!atomic_load(&world->stop)) {
		pthread_rwlock_rdlock(&world->ops);
		writer_set_clock(atomic_fetch_add(&world->clock_ms, 1) *
				 1000000);
		(void)store_expire(world->st, SWEEP_MAX, note_expired, run,
				   NULL);
		store_get_stats(world->st, &stats);
		if (stats.view_bytes > atomic_load(&run->view_bytes))
			atomic_store(&run->view_bytes, stats.view_bytes);
		pthread_rwlock_unlock(&world->ops);
		usleep(SWEEP_US);
	}
	return NULL;
}

/* --- the cut ---------------------------------------------------------- */

/* Stops all writers between two operations, and lets them go on. */
static void hold_writers(struct run *run)
{
	pthread_rwlock_wrlock(&run->world.ops);
	for (int i = 0; i < WRITERS; i++)
		writer_settle(&run->w[i]);
	writer_set_clock(atomic_load(&run->world.clock_ms) * 1000000);
}

static void let_writers_go(struct run *run)
{
	pthread_rwlock_unlock(&run->world.ops);
}

static uint64_t count_ops(const struct run *run)
{
	uint64_t n = 0;

	for (int i = 0; i < WRITERS; i++)
		n += run->w[i].n_ops;
	return n;
}

static struct view *cut(struct run *run)
{
	uint64_t t0, t1, t2, keys, expires;
	struct view *v;
	int r;

	hold_writers(run);
	t0 = latency_now();
	expect_take(&run->x, run->w);
	run->ops_at_cut = count_ops(run);
	atomic_store(&run->view_bytes, 0);
	atomic_store(&run->world.saving, true);
	t1 = latency_now();
	r = view_begin(run->world.st, NULL, NULL, &v);
	t2 = latency_now();
	let_writers_go(run);
	if (r < 0)
		test_fail("view_begin: %s", strerror(-r));
	view_db_size(v, 0, &keys, &expires);
	if (keys != run->x.n_keys)
		test_fail("keys at the cut: wanted %" PRIu64 ", found %" PRIu64,
			  run->x.n_keys, keys);
	run->start_ns = t2;
	run->cut_ns = t2 - t1;
	run->held_ns = t2 - t0;
	return v;
}

/* --- kinds of saves --------------------------------------------------- */

/* A view that is not read to the end must not harm the next one. */
static void abandon_one(struct run *run)
{
	struct view_entry e;
	struct view *v = cut(run);
	uint64_t n = run->x.n_keys / 3;

	while (n-- && view_next(v, &e) == 1)
		;
	view_end(v);
}

static void save_by_view(struct run *run, bool slowly)
{
	struct view *v = cut(run);
	struct view_entry e;
	uint64_t n = 0, keys, expires;
	int r;

	expect_index(&run->x);
	view_db_size(v, 0, &keys, &expires);
	if (expires != run->x.n_expires)
		test_fail("deadlines at the cut: wanted %" PRIu64
			  ", found %" PRIu64,
			  run->x.n_expires, expires);
	expect_start(&run->x, "view");
	while ((r = view_next(v, &e)) == 1) {
		expect_entry(&run->x, &e);
		if (slowly && ++n % (keys / 400 + 1) == 0)
			usleep(1000);
	}
	if (r < 0)
		test_fail("view_next: %s", strerror(-r));
	expect_no_more_entries(&run->x);
	view_end(v);
}

static void save_by_dump(struct run *run, bool compress)
{
	const struct rdb_save_options opt = { .compress = compress,
					      .checksum = true,
					      .incremental_sync = true };
	const struct rdb_extras extras = { 0 };
	struct rdb_save_stats stats;
	struct view *v = cut(run);
	int r;

	r = rdb_save(&io_system, scratch_fd, DUMP_NAME, v, &extras, &opt,
		     &stats);
	if (r < 0)
		test_fail("rdb_save: %s", strerror(-r));
	view_end(v);
}

static void compare_dump(struct run *run)
{
	const struct store_options sopt = { .sep = '/',
					    .now_ns = writer_clock };
	const struct rdb_load_options opt = { .verify = true };
	struct rdb_extras extras = { 0 };
	struct rdb_load_stats stats;
	struct rdb_error err;
	struct store *st;
	int fd, r;

	writer_set_clock(CLOCK_START_MS * 1000000); /* nothing has expired */
	r = store_new(&sopt, &st);
	if (r < 0)
		test_fail("store_new: %s", strerror(-r));
	fd = openat(scratch_fd, DUMP_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		test_fail("%s: %s", DUMP_NAME, strerror(errno));
	r = rdb_load(&io_system, fd, st, &opt, &extras, &stats, &err);
	if (r < 0)
		test_fail("rdb_load: at %" PRIu64 ": %s: %s", err.offset,
			  err.what, strerror(-r));
	close(fd);
	rdb_extras_fini(&extras);
	expect_index(&run->x);
	expect_start(&run->x, "dump");
	expect_store(&run->x, st);
	if (store_check(st) < 0)
		test_fail("the loaded store is inconsistent");
	store_free(st);
}

static void report(const struct run *run, int i, const char *kind,
		   uint64_t end_ns)
{
	printf("save %2d, %-15s %" PRIu64 " keys, %.2f s, %" PRIu64
	       " operations meanwhile, images %.1f MB, cut %" PRIu64
	       " us (writers held %.1f ms)\n",
	       i + 1, kind, run->x.n_keys,
	       (double)(end_ns - run->start_ns) / 1e9,
	       count_ops(run) - run->ops_at_cut,
	       (double)atomic_load(&run->view_bytes) / 1e6, run->cut_ns / 1000,
	       (double)run->held_ns / 1e6);
}

static void save(struct run *run, int i)
{
	static const char *const kinds[] = { "view", "dump", "view, slowly",
					     "dump, compressed" };
	struct store_stats stats;
	uint64_t end_ns;

	if (i == SAVES / 2)
		abandon_one(run);
	if (i % 2)
		save_by_dump(run, i % 4 == 3);
	else
		save_by_view(run, i % 4 == 2);
	end_ns = latency_now();
	hold_writers(run);
	atomic_store(&run->world.saving, false);
	report(run, i, kinds[i % 4], end_ns);
	store_get_stats(run->world.st, &stats);
	if (stats.view_bytes)
		test_fail("%" PRIu64 " bytes of images are left",
			  stats.view_bytes);
	if (i % 2)
		compare_dump(run);
	if (run->world.n_keys <= CHECK_KEYS && store_check(run->world.st) < 0)
		test_fail("the store is inconsistent");
	let_writers_go(run);
	usleep(BETWEEN_US);
}

/* --- the whole -------------------------------------------------------- */

static void start_threads(struct run *run)
{
	bool ok = true;

	for (int i = 0; i < WRITERS; i++)
		ok = ok && !pthread_create(&run->w[i].thread, NULL, writer_main,
					   &run->w[i]);
	ok = ok && !pthread_create(&run->sweeper, NULL, sweep, run);
	if (!ok)
		test_fail("a thread cannot be made");
}

static void stop_threads(struct run *run)
{
	atomic_store(&run->world.stop, true);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(run->w[i].thread, NULL);
	pthread_join(run->sweeper, NULL);
}

/* The models are right only if the store is what they say, also outside of
 * saves. */
static void compare_live(struct run *run)
{
	hold_writers(run);
	let_writers_go(run);
	writer_set_clock(CLOCK_START_MS * 1000000);
	expect_take(&run->x, run->w);
	expect_index(&run->x);
	expect_start(&run->x, "live store");
	expect_store(&run->x, run->world.st);
	if (store_check(run->world.st) < 0)
		test_fail("the store is inconsistent");
}

static void report_latency(const char *when, const struct latency *l)
{
	printf("%s: %" PRIu64 " operations, longest %.3f ms, all but 1 in "
	       "100 below %.1f us, in 10000 below %.1f us\n",
	       when, l->n, (double)l->max_ns / 1e6,
	       (double)latency_but(l, 100) / 1e3,
	       (double)latency_but(l, 10000) / 1e3);
}

static void report_all(struct run *run)
{
	struct latency all[2] = { 0 };
	struct rusage usage;

	for (int i = 0; i < WRITERS; i++) {
		if (!run->w[i].latency[0].n || !run->w[i].latency[1].n)
			test_fail("writer %d did nothing", i);
		latency_merge(&all[0], &run->w[i].latency[0]);
		latency_merge(&all[1], &run->w[i].latency[1]);
	}
	report_latency("during saves", &all[1]);
	report_latency("outside of saves", &all[0]);
	getrusage(RUSAGE_SELF, &usage);
	printf("most memory: %.1f MB\n", (double)usage.ru_maxrss * 1024 / 1e6);
}

static void world_init(struct world *world, uint64_t n_keys)
{
	const struct store_options opt = { .sep = '/', .now_ns = writer_clock };
	pthread_rwlockattr_t attr;
	int r;

	*world = (struct world){
		.n_keys = n_keys,
		.rest_us = n_keys > CHECK_KEYS ? REST_US : 0,
	};
	atomic_init(&world->clock_ms, CLOCK_START_MS);
	writer_set_clock(CLOCK_START_MS * 1000000);
	/* A cut does not wait until all four happen to rest at once. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&world->ops, &attr);
	pthread_rwlockattr_destroy(&attr);
	r = store_new(&opt, &world->st);
	if (r < 0)
		test_fail("store_new: %s", strerror(-r));
}

/* A number from the environment. */
static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);
	uint64_t n;
	char *end;

	if (!s || !*s)
		return otherwise;
	errno = 0;
	n = strtoull(s, &end, 0);
	if (errno || *end)
		test_fail("%s: \"%s\" is no number", name, s);
	return n;
}

static uint64_t pick_keys(void)
{
	const char *quick = getenv("KEYFS_QUICK");
	uint64_t n = ISOLATION_KEYS;

	if (quick && *quick)
		n = MIN(n, (uint64_t)QUICK_KEYS);
	n = number("KEYFS_ISOLATION_KEYS", n);
	if (n < 100 || n > 500000000)
		test_fail("KEYFS_ISOLATION_KEYS: 100 to 500000000");
	return n;
}

int main(void)
{
	static struct run run;
	uint64_t seed;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		test_fail("getrandom: %s", strerror(errno));
	seed = number("KEYFS_SEED", seed);
	world_init(&run.world, pick_keys());
	printf("KEYFS_SEED=%" PRIu64 ", %" PRIu64 " keys\n", seed,
	       run.world.n_keys);
	scratch_make();
	signal(SIGALRM, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (int i = 0; i < WRITERS; i++) {
		writer_init(&run.w[i], &run.world, (unsigned)i, seed);
		writer_fill(&run.w[i]);
	}
	start_threads(&run);
	usleep(BETWEEN_US);
	for (int i = 0; i < SAVES; i++) {
		alarm(HANG_S * (unsigned)number("KEYFS_SLOW", 1));
		save(&run, i);
	}
	stop_threads(&run);
	compare_live(&run);
	report_all(&run);
	for (int i = 0; i < WRITERS; i++)
		writer_fini(&run.w[i]);
	expect_fini(&run.x);
	store_free(run.world.st);
	pthread_rwlock_destroy(&run.world.ops);
	scratch_remove();
	close(scratch_fd);
	return 0;
}
