/* SPDX-License-Identifier: MIT */

/*
 * The rules of saving. Time is the test's own, so nothing here waits for it; a
 * gate holds the saver at a system call, so what happens "while a save runs"
 * does so for certain.
 */

#include "persist/persist.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/view.h"
#include "tests/lib/faulty.h"
#include "tests/lib/unit.h"

#define DUMP	"dump.rdb"
#define START_S INT64_C(1700000000)

/* --- the world around ------------------------------------------------- */

/* Stops whoever comes to a named call until it is opened. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	const char *call; /* NULL: open */
	bool reached;
};

/* How saves ended, for those who asked. */
struct done {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int n, result;
};

static struct unit_scratch scratch;
static struct faulty faulty;
static struct store *st;
static struct persist *p;
static struct gate gate;
static struct done done;
static _Atomic int64_t now_ms;
static uint64_t file_ino;
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static char events[4096]; /* "level text\n" each */

static int64_t test_clock(void)
{
	return atomic_load(&now_ms);
}

static void pass_seconds(int64_t s)
{
	atomic_fetch_add(&now_ms, s * 1000);
}

/* Whether the file is written to as soon as the saver has begun. */
static bool write_at_start;

static void note_event(void *arg, enum persist_level level, const char *text)
{
	size_t n;

	ck_assert_ptr_eq(arg, events);
	if (write_at_start && strcmp(text, "save started") == 0)
		ck_assert_int_eq(store_write(st, file_ino, 0, "LATE", 4), 0);
	pthread_mutex_lock(&events_lock);
	n = strlen(events);
	snprintf(events + n, sizeof(events) - n, "%d %s\n", (int)level, text);
	pthread_mutex_unlock(&events_lock);
}

static bool was_told(const char *text)
{
	bool told;

	pthread_mutex_lock(&events_lock);
	told = strstr(events, text) != NULL;
	pthread_mutex_unlock(&events_lock);
	return told;
}

static void pass_gate(void *arg, const char *call)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	while (g->call && strcmp(g->call, call) == 0) {
		g->reached = true;
		pthread_cond_broadcast(&g->cond);
		pthread_cond_wait(&g->cond, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
}

static void close_gate(const char *call)
{
	pthread_mutex_lock(&gate.lock);
	gate.call = call;
	gate.reached = false;
	pthread_mutex_unlock(&gate.lock);
}

static void wait_at_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	while (!gate.reached)
		pthread_cond_wait(&gate.cond, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.call = NULL;
	pthread_cond_broadcast(&gate.cond);
	pthread_mutex_unlock(&gate.lock);
}

static void note_done(void *arg, int result)
{
	struct done *d = arg;

	pthread_mutex_lock(&d->lock);
	d->n++;
	d->result = result;
	pthread_cond_broadcast(&d->cond);
	pthread_mutex_unlock(&d->lock);
}

/* Waits until @n saves that were asked for have ended. */
static int wait_done(int n)
{
	int r;

	pthread_mutex_lock(&done.lock);
	while (done.n < n)
		pthread_cond_wait(&done.cond, &done.lock);
	ck_assert_int_eq(done.n, n);
	done.n = 0;
	r = done.result;
	pthread_mutex_unlock(&done.lock);
	return r;
}

/* --- one instance ----------------------------------------------------- */

static struct persist_options options(void)
{
	return (struct persist_options){
		.st = st,
		.io = &faulty.io,
		.dirfd = scratch.dirfd,
		.dbfilename = DUMP,
		.compress = true,
		.checksum = true,
		.stop_writes_on_error = true,
		.event = note_event,
		.arg = events,
		.now_ms = test_clock,
	};
}

static void open_persist(void)
{
	struct persist_options opt = options();

	ck_assert_int_eq(persist_open(&opt, &p), 0);
}

static uint64_t make_file(const char *name)
{
	const struct store_cred cred = { .mode = 0644 };
	struct store_attr a;

	ck_assert_int_eq(store_create(st, STORE_ROOT_INO, span_str(name),
				      STORE_FILE, &cred, span_str(""), &a),
			 0);
	return a.ino;
}

static void setup_store(uint64_t max_view)
{
	const struct store_options opt = { .sep = '/', .max_view = max_view };

	ck_assert_int_eq(store_new(&opt, &st), 0);
	file_ino = make_file("file");
}

static void setup(void)
{
	unit_scratch_init(&scratch);
	faulty_init(&faulty, scratch.dirfd);
	pthread_mutex_init(&gate.lock, NULL);
	pthread_cond_init(&gate.cond, NULL);
	pthread_mutex_init(&done.lock, NULL);
	pthread_cond_init(&done.cond, NULL);
	faulty.before = pass_gate;
	faulty.arg = &gate;
	atomic_store(&now_ms, START_S * 1000);
	setup_store(0);
	open_persist();
}

static void teardown(void)
{
	if (p)
		persist_set_save_points(p, NULL, 0);
	ck_assert_int_eq(persist_close(p), 0);
	store_free(st);
	unit_scratch_fini(&scratch);
}

static int close_persist(void)
{
	int r = persist_close(p);

	p = NULL;
	return r;
}

static int try_change(void)
{
	return store_write(st, file_ino, 0, "x", 1);
}

static void change(int n)
{
	struct store_stats before, after;

	store_get_stats(st, &before);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(try_change(), 0);
	store_get_stats(st, &after);
	ck_assert_uint_eq(after.changes, before.changes + (uint64_t)n);
}

static struct persist_status status(void)
{
	struct persist_status s;

	persist_get_status(p, &s);
	return s;
}

static int save(void)
{
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	return wait_done(1);
}

static void set_point(int64_t seconds, uint64_t changes)
{
	const struct persist_save_point point = { seconds, changes };

	persist_set_save_points(p, &point, 1);
}

static void fail_call(const char *call, int error)
{
	faulty.only = call;
	faulty.fail_at = 1;
	faulty.error = error;
	faulty.keep_failing = true;
	faulty_reset(&faulty);
}

static void fail_nothing(void)
{
	faulty.fail_at = 0;
}

/* Runs the cron once. Return: whether it started a save, which has ended. */
static bool cron_saves(void)
{
	uint64_t n = status().n_saves;
	struct persist_status s;

	close_gate("open");
	persist_cron(p);
	if (!status().running) {
		open_gate();
		return false;
	}
	open_gate();
	while ((s = status()).running)
		usleep(500);
	ck_assert_uint_eq(s.n_saves, n + (s.last_result == 0));
	return true;
}

static bool dump_holds(const char *text)
{
	size_t len;
	char *bytes = unit_scratch_read(&scratch, DUMP, &len);
	bool found = memmem(bytes, len, text, strlen(text)) != NULL;

	free(bytes);
	return found;
}

/* --- save points ------------------------------------------------------ */

START_TEST(a_save_point_needs_changes_and_time)
{
	static const struct {
		int changes;
		int64_t seconds;
		bool due;
	} t[] = {
		/* against 100 seconds, 3 changes */
		{ 0, 1000, false }, { 2, 1000, false }, { 3, 99, false },
		{ 3, 100, false },  { 3, 101, true },	{ 100, 100, false },
		{ 100, 101, true },
	};

	ck_assert_int_eq(save(), 0);
	set_point(100, 3);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		ck_assert_int_eq(save(), 0); /* both start from 0 */
		change(t[i].changes);
		pass_seconds(t[i].seconds);
		ck_assert_msg(cron_saves() == t[i].due,
			      "%d changes, %d seconds", t[i].changes,
			      (int)t[i].seconds);
		ck_assert_uint_eq(status().changes_since_save,
				  t[i].due ? 0u : (unsigned)t[i].changes);
	}
}
END_TEST

START_TEST(any_one_of_several_save_points_is_enough)
{
	static const struct persist_save_point points[] = { { 3600, 1 },
							    { 300, 100 },
							    { 60, 10000 } };
	static const struct {
		int changes;
		int64_t seconds;
		bool due;
	} t[] = {
		{ 1, 3600, false }, { 1, 3601, true },	 { 99, 301, false },
		{ 100, 301, true }, { 9999, 61, false }, { 10000, 61, true },
	};

	persist_set_save_points(p, points, 3);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		ck_assert_int_eq(save(), 0);
		change(t[i].changes);
		pass_seconds(t[i].seconds);
		ck_assert_msg(cron_saves() == t[i].due,
			      "%d changes, %d seconds", t[i].changes,
			      (int)t[i].seconds);
	}
}
END_TEST

START_TEST(without_save_points_nothing_is_due)
{
	change(10);
	pass_seconds(1000000);
	ck_assert(!cron_saves());
	set_point(1, 1);
	ck_assert(cron_saves());
	change(10);
	pass_seconds(1000000);
	persist_set_save_points(p, NULL, 0);
	ck_assert(!cron_saves());
}
END_TEST

START_TEST(start_up_counts_as_a_save_for_the_save_points)
{
	ck_assert_int_eq(status().last_save_s, START_S);
	set_point(10, 1);
	change(1);
	pass_seconds(10);
	ck_assert(!cron_saves());
	pass_seconds(1);
	ck_assert(cron_saves());
	ck_assert_int_eq(status().last_save_s, START_S + 11);
}
END_TEST

START_TEST(a_failed_save_is_tried_again_after_more_than_five_seconds)
{
	set_point(1, 1);
	change(1);
	pass_seconds(2);
	fail_call("write", EIO);
	ck_assert(cron_saves());
	ck_assert_int_eq(status().last_result, -EIO);
	for (int round = 0; round < 3; round++) {
		pass_seconds(5);
		ck_assert(!cron_saves());
		pass_seconds(1);
		ck_assert(cron_saves());
		ck_assert_int_eq(status().last_result, -EIO);
	}
	fail_nothing();
	pass_seconds(6);
	ck_assert(cron_saves());
	ck_assert_int_eq(status().last_result, 0);
	ck_assert_uint_eq(status().changes_since_save, 0);
}
END_TEST

START_TEST(a_clock_that_is_set_back_does_not_stop_the_saves)
{
	set_point(10, 1);
	change(1);
	pass_seconds(-100000);
	ck_assert(!cron_saves());
	pass_seconds(11);
	ck_assert(cron_saves());
}
END_TEST

/* --- asking for a save ------------------------------------------------ */

START_TEST(one_background_save_at_a_time)
{
	close_gate("fsync");
	ck_assert_int_eq(persist_bgsave(p, note_done, &done), 0);
	ck_assert(status().running);
	ck_assert_int_eq(persist_bgsave(p, note_done, &done), -EALREADY);
	wait_at_gate();
	ck_assert_int_eq(persist_bgsave(p, NULL, NULL), -EALREADY);
	ck_assert(!status().scheduled);
	open_gate();
	ck_assert_int_eq(wait_done(1), 0);
	ck_assert(!status().running);
	ck_assert_int_eq(persist_bgsave(p, NULL, NULL), 0);
	while (status().running)
		usleep(500);
	ck_assert_uint_eq(status().n_saves, 2);
}
END_TEST

START_TEST(a_save_shows_what_was_there_when_it_was_asked_for)
{
	close_gate("fsync"); /* the cut of the first is made */
	ck_assert_int_eq(persist_bgsave(p, NULL, NULL), 0);
	wait_at_gate();
	make_file("made-late");
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	ck_assert(status().scheduled);
	open_gate();
	ck_assert_int_eq(wait_done(1), 0);
	ck_assert(dump_holds("made-late"));
	ck_assert_uint_eq(status().n_saves, 2);
}
END_TEST

START_TEST(those_who_wait_share_one_save)
{
	close_gate("fsync");
	ck_assert_int_eq(persist_bgsave(p, note_done, &done), 0);
	wait_at_gate();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	ck_assert_uint_eq(status().n_saves, 0);
	open_gate();
	ck_assert_int_eq(wait_done(6), 0);
	while (status().running)
		usleep(500);
	ck_assert_uint_eq(status().n_saves, 2);
	ck_assert_uint_eq(status().serial, 2);
}
END_TEST

START_TEST(each_waits_for_the_result_of_its_own_save)
{
	close_gate("fsync");
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	wait_at_gate();
	faulty.only = "rename";
	faulty.fail_at = 2;
	faulty.error = EROFS;
	faulty_reset(&faulty);
	open_gate();
	ck_assert_int_eq(wait_done(1), 0);
	ck_assert_int_eq(save(), -EROFS);
	ck_assert_int_eq(save(), 0);
}
END_TEST

START_TEST(changes_during_a_save_are_not_saved)
{
	change(5);
	close_gate("fsync");
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	wait_at_gate();
	change(3);
	open_gate();
	ck_assert_int_eq(wait_done(1), 0);
	ck_assert_uint_eq(status().changes_since_save, 3);
}
END_TEST

START_TEST(the_status_tells_of_the_running_save)
{
	struct persist_status s = status();

	ck_assert_int_eq(s.current_start_ms, 0);
	ck_assert_int_eq(s.last_end_ms, 0);
	ck_assert_int_eq(s.last_duration_ms, -1);
	for (int i = 0; i < 99; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		make_file(name);
	}
	close_gate("fsync");
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	wait_at_gate();
	s = status();
	ck_assert(s.running && s.progress == 1.0);
	ck_assert_int_eq(s.current_start_ms, START_S * 1000);
	ck_assert_uint_eq(s.current_total, 100);
	ck_assert_uint_eq(s.current_keys, 100);
	pass_seconds(2);
	open_gate();
	ck_assert_int_eq(wait_done(1), 0);
	s = status();
	ck_assert(!s.running && s.progress == 0.0);
	ck_assert_int_eq(s.current_start_ms, 0);
	ck_assert_uint_eq(s.current_total, 0);
	ck_assert_int_eq(s.last_end_ms, START_S * 1000 + 2000);
	ck_assert_int_eq(s.last_duration_ms, 2000);
	ck_assert_uint_eq(s.last_keys, 100);
	ck_assert(was_told("2 save started\n2 saved 100 keys, 0.0 MB in "
			   "2.000 s\n"));
}
END_TEST

/* --- failure ---------------------------------------------------------- */

START_TEST(a_failed_save_says_what_failed)
{
	static const struct {
		const char *call;
		int error;
		const char *clause;
	} t[] = {
		{ "open", EACCES,
		  "Permission denied while creating temp-keyfs.rdb" },
		{ "write", ENOSPC,
		  "No space left on device while writing temp-keyfs.rdb" },
		{ "fsync", EIO,
		  "Input/output error while syncing temp-keyfs.rdb" },
		{ "close", EDQUOT,
		  "Disk quota exceeded while closing temp-keyfs.rdb" },
		{ "rename", EROFS,
		  "Read-only file system while renaming temp-keyfs.rdb" },
		{ "fsync-dir", EIO,
		  "Input/output error while syncing the data directory" },
	};
	struct persist_status s;
	char told[256];

	fail_call(t[_i].call, t[_i].error);
	change(1);
	ck_assert_int_eq(save(), -t[_i].error);
	s = status();
	ck_assert_int_eq(s.last_result, -t[_i].error);
	ck_assert_str_eq(s.last_error, t[_i].clause);
	ck_assert_int_eq(s.last_save_s, START_S);
	ck_assert_uint_eq(s.n_saves, 0);
	ck_assert_uint_gt(s.changes_since_save, 0);
	/* what has been renamed is there, durable or not */
	ck_assert_uint_eq(s.serial, strcmp(t[_i].call, "fsync-dir") == 0);
	snprintf(told, sizeof(told), "0 save failed: %s\n", t[_i].clause);
	ck_assert(was_told(told));

	fail_nothing();
	ck_assert_int_eq(save(), 0);
	s = status();
	ck_assert_int_eq(s.last_result, 0);
	ck_assert_str_eq(s.last_error, "");
	ck_assert_uint_eq(s.changes_since_save, 0);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

START_TEST(after_a_failed_save_growth_is_refused_until_a_good_one)
{
	static const struct {
		int error, refused;
	} t[] = { { ENOSPC, -ENOSPC },
		  { EDQUOT, -EDQUOT },
		  { EROFS, -EROFS },
		  { EIO, -EIO },
		  { EACCES, -EIO } };

	set_point(1000, 1);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		fail_call("write", t[i].error);
		ck_assert_int_eq(save(), -t[i].error);
		ck_assert_int_eq(try_change(), t[i].refused);
		fail_nothing();
		ck_assert_int_eq(save(), 0);
		ck_assert_int_eq(try_change(), 0);
	}
}
END_TEST

START_TEST(growth_is_refused_just_with_the_option_and_save_points)
{
	fail_call("write", EIO);
	ck_assert_int_eq(save(), -EIO);
	ck_assert_int_eq(try_change(), 0); /* no save points */
	set_point(1000, 1);
	ck_assert_int_eq(try_change(), -EIO);
	persist_set_stop_writes(p, false);
	ck_assert_int_eq(try_change(), 0);
	persist_set_stop_writes(p, true);
	ck_assert_int_eq(try_change(), -EIO);
	persist_set_save_points(p, NULL, 0);
	ck_assert_int_eq(try_change(), 0);
}
END_TEST

/* Nothing has changed and nothing can: a save point would never be due. */
START_TEST(it_heals_by_itself_though_nothing_can_change)
{
	ck_assert_int_eq(save(), 0);
	set_point(3600, 1);
	fail_call("write", ENOSPC);
	ck_assert_int_eq(save(), -ENOSPC);
	ck_assert_uint_eq(status().changes_since_save, 0);
	ck_assert_int_eq(try_change(), -ENOSPC);
	fail_nothing();
	pass_seconds(5);
	ck_assert(!cron_saves());
	pass_seconds(1);
	ck_assert(cron_saves());
	ck_assert_int_eq(try_change(), 0);
}
END_TEST

/* A snapshot that would pin too much gives up; the dump stays the old one. */
START_TEST(a_snapshot_that_gives_up_says_so)
{
	enum {
		N = 3000,
		SIZE = 1000
	};
	static uint64_t ino[N];
	static char value[SIZE];
	struct unit_rng rng = unit_rng(9);

	ck_assert_int_eq(close_persist(), 0);
	store_free(st);
	setup_store(100000);
	open_persist();
	unit_bytes(&rng, value, sizeof(value));
	for (int i = 0; i < N; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		ino[i] = make_file(name);
		ck_assert_int_eq(store_write(st, ino[i], 0, value, SIZE), 0);
	}
	close_gate("write"); /* the first of three or so */
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	wait_at_gate();
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(store_write(st, ino[i], 0, "new", 3), 0);
	(void)status(); /* looks at the extra memory */
	open_gate();
	ck_assert_int_eq(wait_done(1), -ENOBUFS);
	ck_assert_str_eq(status().last_error,
			 "snapshot gave up: changes since the cut pinned more "
			 "than snapshot-memory-limit");
	ck_assert_uint_gt(status().last_view_bytes, 100000);
	ck_assert_int_eq(unit_scratch_count(&scratch), 0);
	ck_assert_int_eq(save(), 0);
	ck_assert_int_eq(store_check(st), 0);
}
END_TEST

/* --- begin and end ---------------------------------------------------- */

START_TEST(closing_saves_if_there_are_save_points_and_changes)
{
	static const struct {
		bool points, changes, saved;
	} t[] = { { true, true, true },
		  { true, false, false },
		  { false, true, false },
		  { false, false, false } };

	ck_assert_int_eq(save(), 0);
	ck_assert_int_eq(unlinkat(scratch.dirfd, DUMP, 0), 0);
	if (t[_i].points)
		set_point(1000000, 1000000);
	if (t[_i].changes)
		change(1);
	ck_assert_int_eq(close_persist(), 0);
	ck_assert_int_eq(unit_scratch_count(&scratch), t[_i].saved);
}
END_TEST

START_TEST(closing_tells_that_the_last_save_failed)
{
	set_point(1000000, 1000000);
	change(1);
	fail_call("fsync", ENOSPC);
	ck_assert_int_eq(close_persist(), -ENOSPC);
	ck_assert_int_eq(unit_scratch_count(&scratch), 0);
}
END_TEST

static void *close_in_thread(void *arg)
{
	*(int *)arg = close_persist();
	return NULL;
}

START_TEST(closing_waits_for_the_running_save_and_those_who_asked)
{
	pthread_t thread;
	int result = 1;

	close_gate("fsync");
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	wait_at_gate();
	ck_assert_int_eq(persist_save(p, note_done, &done), 0);
	ck_assert_int_eq(
		pthread_create(&thread, NULL, close_in_thread, &result), 0);
	usleep(20000);
	ck_assert_int_eq(done.n, 0);
	open_gate();
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(wait_done(2), 0);
}
END_TEST

/* The second request comes before the saver has even begun with the first. */
START_TEST(a_save_behind_a_bgsave_has_a_cut_of_its_own)
{
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(store_write(st, file_ino, 0, "EARLY", 5), 0);
		ck_assert_int_eq(persist_bgsave(p, NULL, NULL), 0);
		ck_assert_int_eq(store_write(st, file_ino, 0, "LATER", 5), 0);
		ck_assert_int_eq(persist_save(p, note_done, &done), 0);
		ck_assert_int_eq(wait_done(1), 0);
		ck_assert(dump_holds("LATER"));
		ck_assert(!dump_holds("EARLY"));
	}
}
END_TEST

static int load_here(void)
{
	const struct rdb_load_options opt = { .verify = true };
	struct rdb_load_stats stats;
	struct rdb_error err;

	return persist_load(p, &opt, &stats, &err);
}

START_TEST(a_good_load_sweeps_what_a_crash_left)
{
	ck_assert_int_eq(close_persist(), 0);
	unit_scratch_write(&scratch, RDB_TMP_NAME, "half", 4);
	unit_scratch_write(&scratch, "other", "stays", 5);
	open_persist();
	ck_assert_int_eq(unit_scratch_count(&scratch), 2);
	ck_assert_int_eq(load_here(), 0);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
	ck_assert(was_told("removed temp-keyfs.rdb"));
}
END_TEST

START_TEST(a_refused_load_sweeps_nothing)
{
	ck_assert_int_eq(close_persist(), 0);
	unit_scratch_write(&scratch, RDB_TMP_NAME, "half", 4);
	unit_scratch_write(&scratch, "dump.rdb", "garbage here", 12);
	open_persist();
	ck_assert_int_eq(load_here(), -EBADMSG);
	ck_assert_int_eq(unit_scratch_count(&scratch), 2);
}
END_TEST

START_TEST(the_request_makes_the_cut)
{
	ck_assert_int_eq(store_write(st, file_ino, 0, "EARLY", 5), 0);
	write_at_start = true;
	ck_assert_int_eq(persist_bgsave(p, note_done, &done), 0);
	ck_assert_int_eq(wait_done(1), 0);
	write_at_start = false;
	ck_assert(dump_holds("EARLY"));
	ck_assert(!dump_holds("LATE"));
}
END_TEST

START_TEST(a_dump_has_a_plain_name)
{
	static const char *const bad[] = { "",	  ".",	       "..",
					   "a/b", "/dump.rdb", RDB_TMP_NAME };
	struct persist_options opt = options();
	struct persist *q;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		opt.dbfilename = bad[i];
		ck_assert_int_eq(persist_open(&opt, &q), -EINVAL);
	}
}
END_TEST

/* --- loading ---------------------------------------------------------- */

static int load(struct rdb_load_stats *stats, struct rdb_error *err)
{
	const struct rdb_load_options opt = { .verify = true };

	return persist_load(p, &opt, stats, err);
}

START_TEST(no_dump_is_an_empty_start)
{
	struct rdb_load_stats stats = { .keys = 7 };
	struct rdb_error err = { 0 };

	ck_assert_int_eq(load(&stats, &err), 0);
	ck_assert_uint_eq(stats.keys, 0);
	ck_assert_int_eq(stats.version, 0);
	ck_assert_uint_eq(status().changes_since_save, 0);
}
END_TEST

static void make_socket(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(fchdir(scratch.dirfd), 0);
	strcpy(addr.sun_path, DUMP);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
}

START_TEST(what_is_no_file_is_refused_by_name)
{
	static const char *const kinds[] = { "directory", "fifo", "socket" };
	struct rdb_load_stats stats;
	struct rdb_error err = { 0 };
	char want[80];

	if (_i == 0)
		ck_assert_int_eq(mkdirat(scratch.dirfd, DUMP, 0700), 0);
	else if (_i == 1)
		ck_assert_int_eq(mkfifoat(scratch.dirfd, DUMP, 0600), 0);
	else
		make_socket();
	ck_assert_int_eq(load(&stats, &err), -EBADMSG);
	ck_assert_int_eq(err.code, -EBADMSG);
	snprintf(want, sizeof(want), "it is a %s, not a regular file",
		 kinds[_i]);
	ck_assert_str_eq(err.what, want);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

START_TEST(what_cannot_be_opened_says_why)
{
	struct rdb_load_stats stats;
	struct rdb_error err = { 0 };

	fail_call("open", EACCES);
	ck_assert_int_eq(load(&stats, &err), -EACCES);
	ck_assert_int_eq(err.code, -EACCES);
	ck_assert_str_eq(err.what, "cannot be opened: Permission denied");
}
END_TEST

START_TEST(a_dump_that_did_not_load_is_not_overwritten)
{
	struct rdb_load_stats stats;
	struct rdb_error err = { 0 };
	size_t len;
	char *bytes;

	unit_scratch_write(&scratch, DUMP, "REDIS0010\x00", 10);
	ck_assert_int_lt(load(&stats, &err), 0);
	change(1);
	ck_assert_int_eq(save(), -EIO);
	ck_assert_str_eq(status().last_error,
			 "the dump that is there could not be loaded and is "
			 "not overwritten");
	set_point(1000, 1000);
	ck_assert_int_eq(close_persist(), 0);
	bytes = unit_scratch_read(&scratch, DUMP, &len);
	ck_assert_uint_eq(len, 10);
	free(bytes);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

START_TEST(what_was_saved_is_loaded)
{
	struct rdb_load_stats stats;
	struct rdb_error err = { 0 };
	struct store_attr a;

	make_file("second");
	change(1);
	ck_assert_int_eq(save(), 0);
	ck_assert_int_eq(close_persist(), 0);
	store_free(st);
	ck_assert_int_eq(store_new(&(struct store_options){ .sep = '/' }, &st),
			 0);
	open_persist();
	ck_assert_int_eq(load(&stats, &err), 0);
	ck_assert_uint_eq(stats.keys, 2);
	ck_assert_int_eq(stats.version, RDB_VERSION_WRITTEN);
	ck_assert_uint_eq(status().load.keys, 2);
	ck_assert_uint_eq(status().changes_since_save, 0);
	ck_assert_int_eq(
		store_lookup(st, STORE_ROOT_INO, span_str("second"), &a), 0);
	store_forget(st, a.ino, 1);
	file_ino = 0;
}
END_TEST

/* --- reading the dump ------------------------------------------------- */

START_TEST(there_is_no_dump_before_the_first_save)
{
	uint64_t size, serial;
	int64_t mtime;

	ck_assert_int_eq(persist_dump_open(p, &size, &mtime, &serial), -ENOENT);
}
END_TEST

START_TEST(an_open_dump_stays_whole)
{
	uint64_t size, serial, size2, serial2;
	int64_t mtime;
	struct stat s;
	char magic[9];
	int fd, fd2;

	ck_assert_int_eq(save(), 0);
	fd = persist_dump_open(p, &size, &mtime, &serial);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(serial, 1);
	ck_assert_int_eq(fstat(fd, &s), 0);
	ck_assert_uint_eq(size, (uint64_t)s.st_size);
	ck_assert_int_eq(mtime,
			 s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec);
	make_file("another");
	ck_assert_int_eq(save(), 0);
	fd2 = persist_dump_open(p, &size2, &mtime, &serial2);
	ck_assert_int_ge(fd2, 0);
	ck_assert_uint_eq(serial2, 2);
	ck_assert_uint_gt(size2, size);
	ck_assert_int_eq(fstat(fd, &s), 0);
	ck_assert_uint_eq(size, (uint64_t)s.st_size);
	ck_assert_int_eq(pread(fd, magic, 9, 0), 9);
	ck_assert_int_eq(memcmp(magic, "REDIS0010", 9), 0);
	ck_assert_int_eq(faulty.io.close(&faulty, fd), 0);
	ck_assert_int_eq(faulty.io.close(&faulty, fd2), 0);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

START_TEST(a_directory_is_no_dump)
{
	uint64_t size, serial;
	int64_t mtime;

	ck_assert_int_eq(mkdirat(scratch.dirfd, DUMP, 0700), 0);
	ck_assert_int_eq(persist_dump_open(p, &size, &mtime, &serial), -EINVAL);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

static void *save_and_save(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		make_file(name);
		ck_assert_int_eq(persist_save(p, note_done, &done), 0);
		while (status().running)
			sched_yield();
	}
	return NULL;
}

/* Each save has one key more, so a serial stands for one size. */
START_TEST(size_and_serial_belong_to_the_file_that_was_opened)
{
	static uint64_t size_of[256];
	uint64_t size, serial = 0;
	pthread_t thread;
	struct stat s;
	int64_t mtime;
	int fd;

	ck_assert_int_eq(save(), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, save_and_save, NULL), 0);
	while (serial < 201) {
		fd = persist_dump_open(p, &size, &mtime, &serial);
		unit_check(fd >= 0);
		unit_check(fstat(fd, &s) == 0 && (uint64_t)s.st_size == size);
		(void)faulty.io.close(&faulty, fd);
		unit_check(serial < ARRAY_LEN(size_of));
		unit_check(!size_of[serial] || size_of[serial] == size);
		size_of[serial] = size;
		for (uint64_t i = 1; i < serial; i++)
			unit_check(size_of[i] < size);
	}
	pthread_join(thread, NULL);
	wait_done(200);
}
END_TEST

/* --- digest ----------------------------------------------------------- */

static void *digest_in_thread(void *arg)
{
	char hex[RDB_DIGEST_HEX + 1];

	*(int *)arg = persist_digest(p, hex);
	note_done(&done, 0);
	return NULL;
}

START_TEST(a_digest_waits_for_the_save)
{
	pthread_t thread;
	int result = 1;

	close_gate("write");
	ck_assert_int_eq(persist_bgsave(p, NULL, NULL), 0);
	wait_at_gate();
	ck_assert_int_eq(
		pthread_create(&thread, NULL, digest_in_thread, &result), 0);
	usleep(20000);
	ck_assert_int_eq(done.n, 0);
	open_gate();
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(wait_done(1), 0);
}
END_TEST

static void *digest_again_and_again(void *arg)
{
	char hex[RDB_DIGEST_HEX + 1];

	(void)arg;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(persist_digest(p, hex), 0);
	return NULL;
}

/* The store has one view at a time: neither may find it taken. */
START_TEST(saves_and_digests_take_turns)
{
	pthread_t thread[2];

	for (int i = 0; i < 1000; i++) { /* so that each takes its time */
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		make_file(name);
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL,
						digest_again_and_again, NULL),
				 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(save(), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}
END_TEST

/* --- all -------------------------------------------------------------- */

static void add_saving(TCase *tc)
{
	tcase_add_test(tc, a_save_point_needs_changes_and_time);
	tcase_add_test(tc, any_one_of_several_save_points_is_enough);
	tcase_add_test(tc, without_save_points_nothing_is_due);
	tcase_add_test(tc, start_up_counts_as_a_save_for_the_save_points);
	tcase_add_test(
		tc, a_failed_save_is_tried_again_after_more_than_five_seconds);
	tcase_add_test(tc, a_clock_that_is_set_back_does_not_stop_the_saves);
	tcase_add_test(tc, one_background_save_at_a_time);
	tcase_add_test(tc, a_save_shows_what_was_there_when_it_was_asked_for);
	tcase_add_test(tc, those_who_wait_share_one_save);
	tcase_add_test(tc, each_waits_for_the_result_of_its_own_save);
	tcase_add_test(tc, changes_during_a_save_are_not_saved);
	tcase_add_test(tc, the_status_tells_of_the_running_save);
	tcase_add_loop_test(tc, a_failed_save_says_what_failed, 0, 6);
	tcase_add_test(tc,
		       after_a_failed_save_growth_is_refused_until_a_good_one);
	tcase_add_test(tc,
		       growth_is_refused_just_with_the_option_and_save_points);
	tcase_add_test(tc, it_heals_by_itself_though_nothing_can_change);
	tcase_add_test(tc, a_snapshot_that_gives_up_says_so);
}

static void add_life(TCase *tc)
{
	tcase_add_loop_test(
		tc, closing_saves_if_there_are_save_points_and_changes, 0, 4);
	tcase_add_test(tc, closing_tells_that_the_last_save_failed);
	tcase_add_test(tc,
		       closing_waits_for_the_running_save_and_those_who_asked);
	tcase_add_test(tc, a_good_load_sweeps_what_a_crash_left);
	tcase_add_test(tc, a_refused_load_sweeps_nothing);
	tcase_add_test(tc, the_request_makes_the_cut);
	tcase_add_test(tc, a_save_behind_a_bgsave_has_a_cut_of_its_own);
	tcase_add_test(tc, a_dump_has_a_plain_name);
	tcase_add_test(tc, no_dump_is_an_empty_start);
	tcase_add_loop_test(tc, what_is_no_file_is_refused_by_name, 0, 3);
	tcase_add_test(tc, what_cannot_be_opened_says_why);
	tcase_add_test(tc, a_dump_that_did_not_load_is_not_overwritten);
	tcase_add_test(tc, what_was_saved_is_loaded);
}

static void add_reading(TCase *tc)
{
	tcase_add_test(tc, there_is_no_dump_before_the_first_save);
	tcase_add_test(tc, an_open_dump_stays_whole);
	tcase_add_test(tc, a_directory_is_no_dump);
	tcase_add_test(tc, size_and_serial_belong_to_the_file_that_was_opened);
	tcase_add_test(tc, a_digest_waits_for_the_save);
	tcase_add_test(tc, saves_and_digests_take_turns);
}

static Suite *suite(void)
{
	static const struct {
		const char *name;
		void (*add)(TCase *tc);
	} t[] = { { "saving", add_saving },
		  { "life", add_life },
		  { "reading", add_reading } };
	Suite *s = suite_create("persist");

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		TCase *tc = tcase_create(t[i].name);

		tcase_add_checked_fixture(tc, setup, teardown);
		t[i].add(tc);
		suite_add_tcase(s, tc);
	}
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
