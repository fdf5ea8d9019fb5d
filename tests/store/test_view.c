/* SPDX-License-Identifier: MIT */

/*
 * The promise of view.h: what a view delivers is the keyspace at the cut,
 * whatever happens meanwhile. The expectation is a walk of the live store at
 * the moment of the cut, through the same calls that a mount uses.
 */

#include "store/view.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/lib/listing.h"
#include "tests/lib/unit.h"
#include "tests/lib/workload.h"

static struct store *new_store(void)
{
	const struct store_options opt = { .sep = '/',
					   .now_ns = workload_clock };
	struct store *st;

	ck_assert_int_eq(store_new(&opt, &st), 0);
	return st;
}

static void run(struct workload *w, int steps)
{
	int r;

	for (int i = 0; i < steps; i++) {
		r = workload_step(w);
		ck_assert_msg(r != -ENOMEM && r != -ESTALE, "step said %d", r);
	}
}

static struct workload small(struct store *st, uint64_t salt)
{
	return (struct workload){ .st = st,
				  .rng = unit_rng(salt),
				  .n_names = 12,
				  .max_depth = 4,
				  .max_size = 150000 };
}

START_TEST(a_quiet_store_is_delivered_whole)
{
	struct store *st = new_store();
	struct workload w = small(st, 1);
	struct listing want, got;
	struct view *v;

	run(&w, 3000);
	listing_of_store(st, &want);
	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	listing_of_view(v, &got);
	view_end(v);
	listing_assert_eq(&want, &got);
	listing_fini(&want);
	listing_fini(&got);
	workload_fini(&w);
	ck_assert_int_eq(store_check(st), 0);
	store_free(st);
}
END_TEST

/* Operations between every two entries, more or fewer of them by round. */
START_TEST(what_changes_after_the_cut_does_not_show)
{
	struct store *st = new_store();
	struct workload w = small(st, 100 + (uint64_t)_i);
	struct listing want, got;
	struct view_entry e;
	struct view *v;
	int r;

	for (int round = 0; round < 12; round++) {
		run(&w, 600);
		listing_of_store(st, &want);
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		run(&w, round * 20);
		got = (struct listing){ 0 };
		while ((r = view_next(v, &e)) == 1) {
			listing_add_entry(&got, &e);
			run(&w, (int)unit_below(&w.rng, (uint64_t)round + 1));
		}
		ck_assert_int_eq(r, 0);
		run(&w, 50);
		view_end(v);
		listing_sort(&got);
		listing_assert_eq(&want, &got);
		listing_fini(&want);
		listing_fini(&got);
		ck_assert_int_eq(store_check(st), 0);
	}
	workload_fini(&w);
	store_free(st);
}
END_TEST

START_TEST(an_abandoned_view_leaves_no_trace)
{
	struct store *st = new_store();
	struct workload w = small(st, 300 + (uint64_t)_i);
	struct listing want, got;
	struct view_entry e;
	struct view *v;

	for (int round = 0; round < 20; round++) {
		run(&w, 300);
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), -EBUSY);
		for (int i = 0; i < round * 5 && view_next(v, &e) == 1; i++)
			run(&w, 3);
		if (round % 2) {
			view_cancel(v);
			while (view_next(v, &e) == 1)
				;
			ck_assert_int_eq(view_next(v, &e), -ECANCELED);
		}
		view_end(v);
		ck_assert_int_eq(store_check(st), 0);
	}
	listing_of_store(st, &want);
	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	listing_of_view(v, &got);
	view_end(v);
	listing_assert_eq(&want, &got);
	listing_fini(&want);
	listing_fini(&got);
	workload_fini(&w);
	store_free(st);
}
END_TEST

/* --- writers in other threads ----------------------------------------- */

struct writer {
	struct workload w;
	pthread_t thread;
	pthread_barrier_t *paused, *resume;
	_Atomic bool *pause, *stop;
	uint64_t steps;
};

static void *write_on(void *arg)
{
	struct writer *wr = arg;

	while (!atomic_load(wr->stop)) {
		if (atomic_load(wr->pause)) {
			pthread_barrier_wait(wr->paused);
			pthread_barrier_wait(wr->resume);
		}
		(void)workload_step(&wr->w);
		wr->steps++;
	}
	return NULL;
}

enum {
	WRITERS = 4,
	SAVES = 20
};

struct stage_of_writers {
	struct writer wr[WRITERS];
	pthread_barrier_t paused, resume;
	_Atomic bool pause, stop;
};

static void start_writers(struct stage_of_writers *s, struct store *st)
{
	pthread_barrier_init(&s->paused, NULL, WRITERS + 1);
	pthread_barrier_init(&s->resume, NULL, WRITERS + 1);
	for (int i = 0; i < WRITERS; i++) {
		s->wr[i] = (struct writer){ .paused = &s->paused,
					    .resume = &s->resume,
					    .pause = &s->pause,
					    .stop = &s->stop };
		s->wr[i].w = small(st, 500 + (uint64_t)i);
		s->wr[i].w.n_names = 20;
		s->wr[i].w.max_depth = 2;
		ck_assert_int_eq(pthread_create(&s->wr[i].thread, NULL,
						write_on, &s->wr[i]),
				 0);
	}
}

static void stop_writers(struct stage_of_writers *s)
{
	atomic_store(&s->stop, true);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(s->wr[i].thread, NULL);
		workload_fini(&s->wr[i].w);
		ck_assert_uint_gt(s->wr[i].steps, 0);
	}
}

/* The cut falls between two operations of each writer: all are held for the
 * expectation and the cut, and run on while the view is read. */
START_TEST(four_writers_do_not_disturb_the_cut)
{
	struct store *st = new_store();
	struct stage_of_writers s = { 0 };
	struct listing want, got;
	struct view *v;

	start_writers(&s, st);
	for (int i = 0; i < SAVES; i++) {
		atomic_store(&s.pause, true);
		pthread_barrier_wait(&s.paused);
		listing_of_store(st, &want);
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		atomic_store(&s.pause, false);
		pthread_barrier_wait(&s.resume);
		listing_of_view(v, &got);
		view_end(v);
		listing_assert_eq(&want, &got);
		listing_fini(&want);
		listing_fini(&got);
	}
	stop_writers(&s);
	ck_assert_int_eq(store_check(st), 0);
	store_free(st);
}
END_TEST

START_TEST(images_beyond_the_bound_end_the_view)
{
	const struct store_options opt = { .sep = '/',
					   .now_ns = workload_clock,
					   .max_view = 20000 };
	struct workload w;
	struct view_entry e;
	struct store *st;
	struct view *v;
	int r;

	ck_assert_int_eq(store_new(&opt, &st), 0);
	w = small(st, 700);
	run(&w, 4000);
	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	run(&w, 4000);
	while ((r = view_next(v, &e)) == 1)
		;
	ck_assert_int_eq(r, -ENOBUFS);
	view_end(v);
	ck_assert_int_eq(store_check(st), 0);
	workload_fini(&w);
	store_free(st);
}
END_TEST

static uint64_t extra_bytes(struct store *st)
{
	struct store_stats s;

	store_get_stats(st, &s);
	return s.view_bytes;
}

static uint64_t make_file(struct store *st, const char *name, size_t size)
{
	const struct store_cred cred = { 0, 0, 0644 };
	struct store_attr a, in = { .size = size };

	ck_assert_int_eq(store_create(st, STORE_ROOT_INO, span_str(name),
				      STORE_FILE, &cred, span_str(""), &a),
			 0);
	ck_assert_int_eq(store_setattr(st, a.ino, STORE_SET_SIZE, &in, NULL),
			 0);
	for (size_t at = 0; at < size; at += 4096)
		ck_assert_int_eq(store_write(st, a.ino, at, "data", 4), 0);
	return a.ino;
}

/* Neither more nor less than what the view keeps from being freed. */
START_TEST(what_the_view_pins_is_counted_once)
{
	static const size_t sizes[] = { 3000, 60000, 1 << 20 };
	struct store_attr in = { .size = 0 };
	struct store *st;
	struct view *v;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t ino, low = sizes[i], high = sizes[i] + sizes[i] / 4;

		st = new_store();
		ino = make_file(st, "rewritten", sizes[i]);
		make_file(st, "removed", sizes[i]);
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		for (int n = 0; n < 100; n++) {
			ck_assert_int_eq(store_setattr(st, ino, STORE_SET_SIZE,
						       &in, NULL),
					 0);
			for (size_t at = 0; at < sizes[i]; at += 4096)
				ck_assert_int_eq(
					store_write(st, ino, at, "new", 3), 0);
		}
		ck_assert_uint_ge(extra_bytes(st), low);
		ck_assert_uint_le(extra_bytes(st), high + 1024);
		ck_assert_int_eq(
			store_unlink(st, STORE_ROOT_INO, span_str("removed")),
			0);
		ck_assert_uint_ge(extra_bytes(st), 2 * low);
		ck_assert_uint_le(extra_bytes(st), 2 * high + 2048);
		view_end(v);
		ck_assert_uint_eq(extra_bytes(st), 0);
		store_free(st);
	}
}
END_TEST

START_TEST(directories_that_come_and_go_use_one_slot)
{
	const struct store_cred cred = { 0, 0, 0755 };
	struct store *st = new_store();
	struct store_attr a;
	uint64_t first = 0;
	struct view *v;

	for (int view = 0; view < 3; view++) {
		ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		for (int i = 0; i < 100; i++) {
			ck_assert_int_eq(store_create(st, STORE_ROOT_INO,
						      span_str("d"), STORE_DIR,
						      &cred, span_str(""), &a),
					 0);
			store_forget(st, a.ino, 1);
			if (!first)
				first = a.ino & UINT32_MAX;
			ck_assert_uint_le((a.ino & UINT32_MAX) - first, 3);
			ck_assert_int_eq(
				store_rmdir(st, STORE_ROOT_INO, span_str("d")),
				0);
		}
		view_end(v);
	}
	store_free(st);
}
END_TEST

static bool in_cut;

static void note_cut(void *arg)
{
	*(bool *)arg = true;
}

START_TEST(the_cut_is_told_and_counted)
{
	struct store *st = new_store();
	struct workload w = small(st, 800);
	struct store_stats before;
	uint64_t keys, expires;
	struct view *v;

	run(&w, 2000);
	store_get_stats(st, &before);
	in_cut = false;
	ck_assert_int_eq(view_begin(st, note_cut, &in_cut, &v), 0);
	ck_assert(in_cut);
	run(&w, 500);
	ck_assert_uint_eq(view_changes(v), before.changes);
	view_db_size(v, 0, &keys, &expires);
	ck_assert_uint_eq(keys, before.n_keys);
	ck_assert_uint_eq(expires, before.n_expires);
	ck_assert_uint_eq(view_facts_key(v), 0);
	view_end(v);
	workload_fini(&w);
	store_free(st);
}
END_TEST

START_TEST(the_facts_key_avoids_names_in_use)
{
	const struct store_cred cred = { 0, 0, 0644 };
	struct store *st = new_store();
	struct store_attr a;
	struct view *v;

	ck_assert_int_eq(store_create(st, STORE_ROOT_INO, span_str("__keyfs__"),
				      STORE_FILE, &cred, span_str(""), &a),
			 0);
	store_forget(st, a.ino, 1);
	ck_assert_int_eq(store_create(st, STORE_ROOT_INO,
				      span_str("__keyfs__1"), STORE_DIR, &cred,
				      span_str(""), &a),
			 0);
	store_forget(st, a.ino, 1);
	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	ck_assert_uint_eq(view_facts_key(v), 2);
	view_end(v);
	store_free(st);
}
END_TEST

/* Every allocation fails once: the operation says so and nothing breaks. */
START_TEST(running_out_of_memory_changes_nothing)
{
	struct store *st = new_store();
	struct workload w = small(st, 900);
	struct listing before, after;
	struct unit_rng at = unit_rng(901);
	struct view *v;
	int r, failed = 0;

	run(&w, 1500);
	for (int i = 0; i < 1500; i++) {
		v = NULL;
		if (i % 3 == 0)
			ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
		listing_of_store(st, &before);
		atomic_store(&store_mem(st)->fail_after,
			     (long)unit_below(&at, 6));
		r = workload_step(&w);
		atomic_store(&store_mem(st)->fail_after, -1L);
		ck_assert_int_eq(store_check(st), 0);
		if (r == -ENOMEM && !w.half_done) {
			failed++;
			listing_of_store(st, &after);
			listing_assert_eq(&before, &after);
			listing_fini(&after);
		}
		listing_fini(&before);
		view_end(v);
	}
	ck_assert_int_gt(failed, 50);
	workload_fini(&w);
	store_free(st);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("view");
	TCase *tc = tcase_create("view");

	tcase_add_test(tc, a_quiet_store_is_delivered_whole);
	tcase_add_loop_test(tc, what_changes_after_the_cut_does_not_show, 0, 6);
	tcase_add_loop_test(tc, an_abandoned_view_leaves_no_trace, 0, 3);
	tcase_add_test(tc, images_beyond_the_bound_end_the_view);
	tcase_add_test(tc, what_the_view_pins_is_counted_once);
	tcase_add_test(tc, directories_that_come_and_go_use_one_slot);
	tcase_add_test(tc, the_cut_is_told_and_counted);
	tcase_add_test(tc, the_facts_key_avoids_names_in_use);
	tcase_add_test(tc, running_out_of_memory_changes_nothing);
	suite_add_tcase(s, tc);
	tc = tcase_create("threads");
	tcase_add_test(tc, four_writers_do_not_disturb_the_cut);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
