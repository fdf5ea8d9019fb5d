/* SPDX-License-Identifier: MIT */

/*
 * Power loss. Lives of a data directory run on the model disk (disk.h), through
 * the facade, as the daemon does it; the power goes at every call, calls fail,
 * and then several of the states that the disk may be left in are started from.
 *
 * What must hold, whatever happened:
 *
 *   - the next start loads: a dump that can be seen is whole;
 *   - it shows the last save whose success was told, or one that was asked for
 *     after it: nothing else, nothing older;
 *   - afterwards no temporary is left;
 *   - a dump that could not be read is not written over, so a start that failed
 *     changes nothing of this.
 *
 * Each state that a save may leave is known by a hash of the whole keyspace,
 * taken when the save is asked for. A life is a table of steps; it ends early
 * when the power goes.
 */

#include "persist/persist.h"

#include <inttypes.h>
#include <isa-l.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/lib/disk.h"
#include "tests/lib/listing.h"
#include "tests/lib/unit.h"
#include "tests/lib/workload.h"

#define DUMP "dump.rdb"
#define TEMP "temp-keyfs.rdb"

enum {
	MAX_STATES = 256,
	RANDOM_CRASHES = 24000,
	CRASHES_PER_END = 12, /* of each random life's end */
};

struct life {
	struct disk disk[2]; /* a crash moves from one to the other */
	struct disk *d;
	struct store *st;
	struct persist *p;
	bool refused; /* the dump could not be loaded */
	bool clean;   /* nothing is going to fail: results are asserted */
	bool met;     /* a step has met the failure */
	int gen;      /* makes each state differ from all before */
	const char *step;

	/* What the dump may hold: state[durable] was told, the later ones were
	 * asked for. */
	uint64_t state[MAX_STATES];
	int n_states, durable;
};

static int n_crashes; /* of this test */

static void report(const char *what)
{
	printf("# %s: %d states after a crash tried\n", what, n_crashes);
	fflush(stdout);
}

/* --- waiting for saves ------------------------------------------------ */

struct ticket {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int result;
};

static void ticket_init(struct ticket *t)
{
	*t = (struct ticket){ 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
}

static void note_done(void *arg, int result)
{
	struct ticket *t = arg;

	pthread_mutex_lock(&t->lock);
	unit_check(!t->done);
	t->done = true;
	t->result = result;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

static int ticket_wait(struct ticket *t)
{
	pthread_mutex_lock(&t->lock);
	while (!t->done)
		pthread_cond_wait(&t->cond, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return t->result;
}

/* --- opening and states ----------------------------------------------- */

static int64_t test_clock_ms(void)
{
	return INT64_C(1700000000000);
}

static struct store *new_store(void)
{
	const struct store_options opt = { .sep = '/',
					   .now_ns = workload_clock };
	struct store *st;

	unit_check(store_new(&opt, &st) == 0);
	return st;
}

static uint64_t hash_store(struct store *st)
{
	XXH64_hash_t h = 0;
	struct listing l;

	listing_of_store(st, &l);
	for (size_t i = 0; i < l.n; i++)
		h = XXH3_64bits_withSeed(l.line[i], strlen(l.line[i]) + 1, h);
	listing_fini(&l);
	return h;
}

/* With a save point, so that the end saves; none comes due by itself. */
static struct persist *open_persist(struct disk *d, struct store *st)
{
	const struct persist_options opt = {
		.st = st,
		.io = &d->io,
		.dirfd = disk_root(d),
		.dbfilename = DUMP,
		.compress = true,
		.checksum = true,
		.incremental_sync = true,
		.points = { { .seconds = 1, .changes = 1 } },
		.n_points = 1,
		.now_ms = test_clock_ms,
	};
	struct persist *p;

	unit_check(persist_open(&opt, &p) == 0);
	return p;
}

static int load(struct persist *p, struct rdb_error *err)
{
	const struct rdb_load_options opt = { .verify = true };
	struct rdb_load_stats stats;

	return persist_load(p, &opt, &stats, err);
}

/* Whether a hash is that of a state that may be there. */
static bool is_allowed(const struct life *l, uint64_t hash)
{
	for (int i = l->durable; i < l->n_states; i++)
		if (l->state[i] == hash)
			return true;
	return false;
}

static void check_allowed(struct life *l, uint64_t hash, const char *when)
{
	int which = -1;
	char *trace;

	if (is_allowed(l, hash))
		return;
	for (int i = 0; i < l->durable; i++)
		if (l->state[i] == hash)
			which = i;
	trace = disk_trace(l->d);
	ck_abort_msg("%s, after \"%s\": save %d was told to be durable, but "
		     "what is there is that of save %d (-1: of none); %s",
		     when, l->step, l->durable, which, trace);
}

static void life_init(struct life *l)
{
	*l = (struct life){ .step = "start" };
	disk_init(&l->disk[0]);
	l->d = &l->disk[0];
	l->st = new_store();
	l->state[l->n_states++] = hash_store(l->st); /* no dump, no keys */
	store_free(l->st);
	l->st = NULL;
}

/* Opens and loads. What was loaded must be allowed. */
static void begin(struct life *l)
{
	struct rdb_error err = { 0 };
	int r;

	l->st = new_store();
	l->p = open_persist(l->d, l->st);
	r = load(l->p, &err);
	unit_check_msg(!l->clean || r == 0, "load: %d %s", r, err.what);
	l->refused = r < 0;
	if (r == 0)
		check_allowed(l, hash_store(l->st), "reopened");
}

static int ask(struct life *l)
{
	unit_check(l->n_states < MAX_STATES);
	if (!l->refused)
		l->state[l->n_states++] = hash_store(l->st);
	return l->n_states - 1;
}

/* A save that was asked for by ask() has ended. */
static void told(struct life *l, int state, int result)
{
	unit_check_msg(!l->refused || result < 0,
		       "%s: a dump that did not load was written over",
		       l->step);
	unit_check_msg(!l->clean || result == 0, "%s: save: %d", l->step,
		       result);
	if (result == 0 && state > l->durable)
		l->durable = state;
}

/* Ends by the rule, perhaps with a save. */
static void end(struct life *l)
{
	struct persist_status s;
	bool saves;
	int r, state = 0;

	if (!l->p)
		return;
	persist_get_status(l->p, &s);
	saves = !l->refused && s.changes_since_save;
	if (saves)
		state = ask(l);
	r = persist_close(l->p);
	unit_check_msg(!l->clean || r == 0, "%s: close: %d", l->step, r);
	if (saves)
		told(l, state, r);
	l->p = NULL;
	store_free(l->st);
	l->st = NULL;
	unit_check_msg(disk_n_open(l->d) == 0, "%d descriptors left open",
		       disk_n_open(l->d));
	unit_check_msg(l->d->n_wrong == 0, "a closed descriptor was used");
}

static void life_fini(struct life *l)
{
	if (l->p)
		persist_set_save_points(l->p, NULL, 0);
	end(l);
	disk_fini(l->d);
}

/* --- what a crash may leave ------------------------------------------- */

/* Sees that a disk that was recovered is as good as any. */
static void check_goes_on(struct disk *d, struct store *st, struct persist *p,
			  uint64_t seed)
{
	const struct store_cred cred = { .mode = 0644 };
	struct rdb_error err = { 0 };
	struct store_attr a;
	struct ticket t;
	struct disk after;
	struct store *again = new_store();
	struct persist *q;

	unit_check(store_create(st, STORE_ROOT_INO, span_str("went on"),
				STORE_FILE, &cred, span_str(""), &a) == 0);
	ticket_init(&t);
	unit_check(persist_save(p, note_done, &t) == 0);
	unit_check(ticket_wait(&t) == 0);
	disk_after_crash(d, seed, DISK_HARSH, &after);
	q = open_persist(&after, again);
	unit_check_msg(load(q, &err) == 0, "second crash: %s", err.what);
	unit_check_msg(hash_store(again) == hash_store(st),
		       "what was saved after the first crash is gone after "
		       "the second");
	unit_check(persist_close(q) == 0);
	store_free(again);
	disk_fini(&after);
}

/* The dump is that of one save to its last byte. A load alone does not tell: it
 * ends where the dump says that it ends. */
static void check_whole(struct disk *d, const char *when)
{
	size_t len;
	uint8_t *p = disk_read(d, DUMP, &len);
	uint64_t crc;

	if (!p)
		return;
	unit_check(len > 9);
	memcpy(&crc, p + len - 8, 8);
	unit_check_msg(
		p[len - 9] == 0xff &&
			(crc == 0 ||
			 crc == ~crc64_jones_refl(~UINT64_C(0), p, len - 8)),
		"%s: there is more behind the dump", when);
	free(p);
}

/* Lets the power go and starts again, on a copy. Return: the state's hash. */
static uint64_t crash(struct life *l, uint64_t seed, enum disk_mode mode)
{
	struct disk after;
	struct store *st = new_store();
	struct rdb_error err = { 0 };
	struct persist *p;
	uint64_t hash;
	char when[64];
	int r;

	n_crashes++;
	disk_after_crash(l->d, seed, mode, &after);
	(void)snprintf(when, sizeof(when), "crash %d, seed %" PRIu64, (int)mode,
		       seed);
	p = open_persist(&after, st);
	r = load(p, &err);
	if (r < 0)
		ck_abort_msg("%s, after \"%s\": does not load: %s; %s", when,
			     l->step, err.what, disk_trace(l->d));
	hash = hash_store(st);
	check_allowed(l, hash, when);
	check_whole(&after, when);
	unit_check_msg(disk_size(&after, TEMP) < 0, "%s: temporary left", when);
	unit_check_msg(disk_count(&after) <= 1, "%s: %d names left", when,
		       disk_count(&after));
	if (seed % 16 == 0)
		check_goes_on(&after, st, p, seed);
	persist_set_save_points(p, NULL, 0);
	unit_check(persist_close(p) == 0);
	unit_check(disk_n_open(&after) == 0);
	store_free(st);
	disk_fini(&after);
	return hash;
}

static void crash_often(struct life *l, struct unit_rng *rng, int times)
{
	for (int i = 0; i < times; i++)
		for (int mode = 0; mode < DISK_N_MODES; mode++)
			(void)crash(l, unit_rand(rng), (enum disk_mode)mode);
}

/* --- steps ------------------------------------------------------------ */

/* Writes a file, made if need be; @kind: a byte to repeat, or -1: noise. */
static void put(struct life *l, const char *name, size_t len, int kind)
{
	const struct store_cred cred = { .mode = 0644 };
	struct unit_rng rng = unit_rng((uint64_t)++l->gen);
	struct store_attr a;
	uint8_t *buf = malloc(len + 8);
	int r;

	ck_assert_ptr_nonnull(buf);
	if (kind < 0)
		unit_bytes(&rng, buf, len);
	else
		memset(buf, kind, len);
	memcpy(buf, &l->gen, sizeof(l->gen));
	r = store_lookup(l->st, STORE_ROOT_INO, span_str(name), &a);
	if (r == -ENOENT)
		r = store_create(l->st, STORE_ROOT_INO, span_str(name),
				 STORE_FILE, &cred, span_str(""), &a);
	unit_check(r == 0);
	unit_check(store_write(l->st, a.ino, 0, buf,
			       MAX(len, sizeof(l->gen))) == 0);
	store_forget(l->st, a.ino, 1);
	free(buf);
}

static void remove_if_there(struct life *l, const char *name)
{
	int r = store_unlink(l->st, STORE_ROOT_INO, span_str(name));

	unit_check(r == 0 || r == -ENOENT);
}

static void save(struct life *l)
{
	struct ticket t;
	int state = ask(l);

	ticket_init(&t);
	unit_check(persist_save(l->p, note_done, &t) == 0);
	told(l, state, ticket_wait(&t));
}

static void step_first_save(struct life *l)
{
	put(l, "a", 100, 'a');
	put(l, "b", 700, -1);
	save(l);
}

/* What is written while a save runs is not in it. */
static void step_bgsave(struct life *l)
{
	struct ticket t;
	int state;

	put(l, "large", 60000, 'L');
	put(l, "noise", 30000, -1);
	state = ask(l);
	ticket_init(&t);
	unit_check(persist_bgsave(l->p, note_done, &t) == 0);
	put(l, "a", 50, -1);
	put(l, "later", 5000, -1);
	told(l, state, ticket_wait(&t));
}

static void step_uncompressed_save(struct life *l)
{
	persist_set_compress(l->p, false);
	put(l, "large", 9000, 'M');
	save(l);
	persist_set_compress(l->p, true);
}

/* The dump shrinks: nothing of the longer one may shine through. */
static void step_smaller_save(struct life *l)
{
	unit_check(store_unlink(l->st, STORE_ROOT_INO, span_str("noise")) == 0);
	save(l);
}

static void step_full_disk(struct life *l)
{
	struct ticket t;
	int state, r;

	put(l, "noise", 40000, -1);
	disk_set_capacity(l->d, disk_used(l->d) + 8192);
	state = ask(l);
	ticket_init(&t);
	unit_check(persist_save(l->p, note_done, &t) == 0);
	r = ticket_wait(&t);
	unit_check_msg(!l->clean || r == -ENOSPC, "full disk: %d", r);
	unit_check(r < 0);
	unit_check(!l->clean || disk_size(l->d, TEMP) < 0);
	if (l->refused) /* told() wants what ask() gave */
		unit_check(state == l->n_states - 1);
	disk_set_capacity(l->d, 0);
	save(l);
}

/* Holds the saver at its first call until both saves are asked for. */
struct hold {
	struct ticket reached, go;
};

static void hold_saver(void *arg, const char *call)
{
	struct hold *h = arg;

	(void)call;
	if (!h->reached.done)
		note_done(&h->reached, 0);
	(void)ticket_wait(&h->go);
}

/* Who asks while a save runs gets one of his own. */
static void step_two_saves(struct life *l)
{
	struct ticket first, second;
	struct hold hold;
	int state;

	put(l, "b", 3000, -1);
	state = ask(l);
	ticket_init(&first);
	ticket_init(&second);
	ticket_init(&hold.reached);
	ticket_init(&hold.go);
	l->d->arg = &hold;
	l->d->before = hold_saver;
	unit_check(persist_save(l->p, note_done, &first) == 0);
	if (!l->refused) /* else it makes no call */
		(void)ticket_wait(&hold.reached);
	unit_check(persist_save(l->p, note_done, &second) == 0);
	note_done(&hold.go, 0);
	told(l, state, ticket_wait(&first));
	told(l, state, ticket_wait(&second));
	l->d->before = NULL;
}

static void step_final_save(struct life *l)
{
	put(l, "last", 2000, 'z');
	end(l);
}

static void step_large_save(struct life *l)
{
	static const char *const names[] = { "n0", "n1", "n2", "n3", "n4" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		put(l, names[i], 1000000, -1);
	save(l);
}

/* Compression of noise would take most of a large life's time. */
static void begin_plain(struct life *l)
{
	begin(l);
	persist_set_compress(l->p, false);
}

struct step {
	const char *name;
	void (*run)(struct life *);
};

static const struct step small_life[] = {
	{ "open", begin },
	{ "first save", step_first_save },
	{ "bgsave", step_bgsave },
	{ "uncompressed save", step_uncompressed_save },
	{ "smaller save", step_smaller_save },
	{ "full disk", step_full_disk },
	{ "final save", step_final_save },
	{ "reopen", begin },
	{ "two saves", step_two_saves },
	{ "end without a change", end },
	{ "third open", begin },
	{ "last save", step_first_save },
	{ NULL, NULL },
};

static const struct step large_life[] = {
	{ "open", begin_plain },	   { "first save", step_first_save },
	{ "large save", step_large_save }, { "end without a change", end },
	{ "reopen", begin_plain },	   { NULL, NULL },
};

/* --- every call ------------------------------------------------------- */

/* Runs a life; @after_step may be NULL. Return: calls made. */
static uint64_t run_life(struct life *l, const struct step *steps,
			 const struct disk_plan *plan,
			 void (*after_step)(struct life *, struct unit_rng *),
			 struct unit_rng *rng)
{
	life_init(l);
	l->clean = !plan;
	disk_plan(l->d, plan, plan ? 1 : 0);
	for (; steps->name && !disk_is_off(l->d); steps++) {
		l->step = steps->name;
		steps->run(l);
		if (after_step)
			after_step(l, rng);
	}
	return l->d->n_calls;
}

static void crash_at_every_call(const struct step *steps, int times)
{
	static const enum disk_fault faults[] = { DISK_OFF, DISK_OFF_AFTER };
	struct unit_rng rng = unit_rng(1);
	uint64_t n_calls;
	struct life l;

	n_calls = run_life(&l, steps, NULL, NULL, NULL);
	ck_assert_uint_gt(n_calls, 20);
	l.clean = false;
	life_fini(&l);
	for (uint64_t at = 1; at <= n_calls; at++)
		for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
			const struct disk_plan plan = { .at = at,
							.fault = faults[i] };

			(void)run_life(&l, steps, &plan, NULL, NULL);
			unit_check(disk_is_off(l.d));
			crash_often(&l, &rng, times);
			life_fini(&l);
		}
}

START_TEST(power_may_go_at_every_call)
{
	crash_at_every_call(small_life, 16);
	report("power, small");
}
END_TEST

START_TEST(power_may_go_at_every_call_of_large_saves)
{
	crash_at_every_call(large_life, 3);
	report("power, large");
}
END_TEST

/* --- every call fails ------------------------------------------------- */

/* After each step from the failure on. */
static void crash_from_then_on(struct life *l, struct unit_rng *rng)
{
	if (disk_fired(l->d, 0))
		crash_often(l, rng, 1);
}

/* After the step that met the failure. */
static void crash_there(struct life *l, struct unit_rng *rng)
{
	if (disk_fired(l->d, 0) && !l->met)
		crash_often(l, rng, 2);
	l->met = disk_fired(l->d, 0);
}

/* The disk is well again: so must keyfs be, without being asked. */
static void check_healed(struct life *l)
{
	disk_plan(l->d, NULL, 0);
	disk_set_capacity(l->d, 0);
	l->step = "healed";
	if (l->refused)
		end(l);
	if (!l->p)
		begin_plain(l);
	unit_check(!l->refused);
	/* The new dump is shorter than what a failure may have left. */
	remove_if_there(l, "noise");
	remove_if_there(l, "n0");
	put(l, "healed", 100, 'h');
	save(l);
	unit_check_msg(l->durable == l->n_states - 1, "it does not heal");
}

static void fail_every_call(const struct step *steps, int times,
			    void (*after_step)(struct life *,
					       struct unit_rng *))
{
	static const struct disk_plan plans[] = {
		{ .fault = DISK_FAIL, .error = EIO },
		{ .fault = DISK_FAIL, .error = ENOSPC },
		{ .fault = DISK_FAIL, .error = EIO, .keep = true },
		{ .fault = DISK_DONE_FAIL, .error = EIO },
		{ .fault = DISK_SHORT },
	};
	struct unit_rng rng = unit_rng(2);
	bool fired = true;
	struct life l;

	for (uint64_t at = 1; fired; at++) {
		fired = false;
		for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
			struct disk_plan plan = plans[i];

			plan.at = at;
			(void)run_life(&l, steps, &plan, after_step, &rng);
			fired |= disk_fired(l.d, 0);
			check_healed(&l);
			crash_often(&l, &rng, times);
			life_fini(&l);
		}
	}
}

START_TEST(every_call_may_fail)
{
	fail_every_call(small_life, 2, crash_from_then_on);
	report("failures, small");
}
END_TEST

START_TEST(every_call_of_large_saves_may_fail)
{
	fail_every_call(large_life, 1, crash_there);
	report("failures, large");
}
END_TEST

/* --- random lives ----------------------------------------------------- */

static void random_plan(struct life *l, struct unit_rng *rng)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EROFS };
	struct disk_plan plan[2] = {
		{ .at = 1 + unit_below(rng, 40),
		  .fault = unit_below(rng, 2) ? DISK_OFF : DISK_OFF_AFTER },
		{ .at = 1 + unit_below(rng, 30),
		  .fault = (enum disk_fault)unit_below(rng, DISK_OFF),
		  .error = errors[unit_below(rng, ARRAY_LEN(errors))],
		  .keep = unit_below(rng, 8) == 0 },
	};

	disk_plan(l->d, plan, unit_below(rng, 2) ? 2 : 1);
}

static void work(struct workload *w, struct unit_rng *rng)
{
	for (uint64_t n = unit_below(rng, 6); n; n--)
		(void)workload_step(w); /* may be refused: names meet */
}

static void random_bgsave(struct life *l, struct workload *w,
			  struct unit_rng *rng)
{
	struct ticket t;
	int state = ask(l);

	ticket_init(&t);
	unit_check(persist_bgsave(l->p, note_done, &t) == 0);
	work(w, rng);
	told(l, state, ticket_wait(&t));
}

static void random_step(struct life *l, struct workload *w,
			struct unit_rng *rng)
{
	switch (unit_below(rng, 9)) {
	case 0:
	case 1:
	case 2:
		work(w, rng);
		break;
	case 3:
		random_bgsave(l, w, rng);
		break;
	case 4:
		persist_set_compress(l->p, unit_below(rng, 2));
		persist_set_checksum(l->p, unit_below(rng, 4));
		break;
	case 5:
		disk_set_capacity(
			l->d, unit_below(rng, 3) ? 0 : disk_used(l->d) + 4096);
		break;
	case 6:
		workload_fini(w);
		w->n_held = 0;
		end(l);
		if (!disk_is_off(l->d))
			begin(l);
		w->st = l->st;
		break;
	default:
		save(l);
		break;
	}
}

/* From opening to the crash. */
static void random_stretch(struct life *l, struct unit_rng *rng)
{
	struct workload w = {
		.rng = { unit_rand(rng) },
		.n_names = 6,
		.max_depth = 1,
		.max_size = 9000,
	};

	l->clean = false;
	l->step = "random";
	random_plan(l, rng);
	begin(l);
	w.st = l->st;
	for (int i = 0; i < 14 && !disk_is_off(l->d); i++)
		random_step(l, &w, rng);
	if (l->st)
		workload_fini(&w);
}

/* The power goes, and what is left becomes the disk of the life. */
static void move_on(struct life *l, struct unit_rng *rng)
{
	struct disk *to = l->d == &l->disk[0] ? &l->disk[1] : &l->disk[0];
	enum disk_mode mode = (enum disk_mode)unit_below(rng, DISK_N_MODES);
	uint64_t seed = unit_rand(rng), hash = crash(l, seed, mode);

	disk_after_crash(l->d, seed, mode, to);
	life_fini(l);
	l->d = to;
	l->state[0] = hash;
	l->n_states = 1;
	l->durable = 0;
}

START_TEST(random_lives_survive)
{
	struct unit_rng rng = unit_rng(3);
	struct life l;

	while (n_crashes < RANDOM_CRASHES) {
		life_init(&l);
		for (int i = 0; i < 20; i++) {
			random_stretch(&l, &rng);
			crash_often(&l, &rng, CRASHES_PER_END / DISK_N_MODES);
			move_on(&l, &rng);
		}
		life_fini(&l);
	}
	report("random lives");
}
END_TEST

/* --- suite ------------------------------------------------------------ */

static Suite *suite(void)
{
	Suite *s = suite_create("crash");
	TCase *tc = tcase_create("every call");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, power_may_go_at_every_call);
	tcase_add_test(tc, power_may_go_at_every_call_of_large_saves);
	tcase_add_test(tc, every_call_may_fail);
	tcase_add_test(tc, every_call_of_large_saves_may_fail);
	suite_add_tcase(s, tc);
	tc = tcase_create("random");
	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, random_lives_survive);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
