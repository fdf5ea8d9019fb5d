/* SPDX-License-Identifier: MIT */
/*
 * How long a writer can be kept waiting: several processes overwrite, delete
 * and create small values over a large data set, and each duration counts.
 * Prints JSON: the whole, and second by second.
 *
 *   stall [-w WRITERS] [-k KEYS] [-t SECONDS] DIR
 *   stall [...] -r SOCKET
 *
 * The target must hold the first KEYS keys of the data set in WRITERS
 * directories: each writer has one of its own, since the kernel lets just one
 * process at a time change a directory, and that wait is not the target's.
 *
 * Durations go to one logarithmic histogram per writer and second, in memory
 * shared with the parent: 16 steps per octave, so a quantile is right within
 * 6 %; the longest is kept as it is. The first second is not counted: writers
 * do not start at the same moment.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/dataset.h"
#include "tests/bench/sample.h"
#include "tests/bench/target.h"

enum {
	STEP_BITS = 4,
	STEPS = 1 << STEP_BITS, /* per octave */
	OCTAVES = 37,		/* up to 2^40 ns, 18 minutes */
	HISTOGRAM = OCTAVES * STEPS,
	SECONDS_MAX = 600,
	WRITERS_MAX = 64,
	DELETE_PERCENT = 30, /* of the keys met that exist */
};

enum kind {
	OVERWRITE,
	DELETE,
	CREATE,
	KINDS
};

static const char *const kind_names[KINDS] = { "overwrite", "delete",
					       "create" };

struct second {
	uint64_t max_ns[KINDS];
	uint32_t count[HISTOGRAM];
};

struct stall {
	const struct target_ops *ops;
	const char *where;
	uint64_t keys;
	unsigned writers, seconds;
	uint64_t start_ns;
	struct second *shared; /* [writers][seconds] */
};

static size_t step_of(uint64_t ns)
{
	size_t octave, step;

	if (ns < STEPS)
		return ns;
	octave = 63 - STEP_BITS - (size_t)__builtin_clzll(ns);
	step = octave * STEPS + (ns >> octave);
	return step < HISTOGRAM ? step : HISTOGRAM - 1;
}

/* The largest duration that counts as this step. */
static uint64_t step_end(size_t step)
{
	size_t octave;

	if (step < 2 * STEPS)
		return step;
	octave = step / STEPS - 1;
	return ((uint64_t)(step % STEPS + STEPS + 1) << octave) - 1;
}

/* --- a writer --------------------------------------------------------- */

static struct second *second_of(const struct stall *st, unsigned writer,
				unsigned second)
{
	return &st->shared[(size_t)writer * st->seconds + second];
}

/* Returns false when the time is over. */
static bool record(const struct stall *st, unsigned writer, enum kind kind,
		   uint64_t begin, uint64_t end)
{
	uint64_t ns = end - begin, at;
	struct second *s;

	if (begin < st->start_ns)
		return true;
	/* It counts for the second it began in. */
	at = (begin - st->start_ns) / 1000000000;
	if (at >= st->seconds)
		return false;
	s = second_of(st, writer, (unsigned)at);
	s->count[step_of(ns)]++;
	if (ns > s->max_ns[kind])
		s->max_ns[kind] = ns;
	return true;
}

static int step(const struct stall *st, struct target *t, enum kind kind,
		const char *key, const void *value)
{
	switch (kind) {
	case OVERWRITE:
		return st->ops->overwrite(t, key, value, DATASET_VALUE_LEN);
	case DELETE:
		return st->ops->remove(t, key);
	default:
		return st->ops->create(t, key, value, DATASET_VALUE_LEN);
	}
}

static int write_on(const struct stall *st, struct target *t, unsigned writer,
		    bool *absent)
{
	uint64_t own = st->keys / st->writers, state = writer + 1, j, i, begin;
	unsigned char value[DATASET_VALUE_LEN];
	char key[DATASET_NAME_MAX];
	unsigned gen = 0;
	enum kind kind;
	int r;

	do {
		j = dataset_random(&state) % own;
		i = j * st->writers + writer;
		if (absent[j])
			kind = CREATE;
		else if (dataset_random(&state) % 100 < DELETE_PERCENT)
			kind = DELETE;
		else
			kind = OVERWRITE;
		dataset_name(key, st->writers, i);
		dataset_value(value, i, ++gen);
		begin = now_ns();
		r = step(st, t, kind, key, value);
		if (r < 0) {
			(void)fprintf(stderr, "stall: cannot %s '%s': %s\n",
				      kind_names[kind], key, strerror(-r));
			return r;
		}
		absent[j] = kind == DELETE;
	} while (record(st, writer, kind, begin, now_ns()));
	return 0;
}

static int writer_main(const struct stall *st, unsigned writer)
{
	bool *absent = calloc(st->keys / st->writers, sizeof(*absent));
	struct target *t;
	int r;

	if (!absent)
		return 1;
	r = st->ops->open(st->where, &t);
	if (r < 0) {
		(void)fprintf(stderr, "stall: cannot open '%s': %s\n",
			      st->where, strerror(-r));
	} else {
		r = write_on(st, t, writer, absent);
		st->ops->close(t);
	}
	free(absent);
	return r < 0;
}

/* --- what comes of it ------------------------------------------------- */

struct total {
	uint64_t n;
	uint64_t max_ns[KINDS];
	uint64_t count[HISTOGRAM];
};

static void total_add(struct total *t, const struct second *s)
{
	size_t i;
	int k;

	for (i = 0; i < HISTOGRAM; i++) {
		t->count[i] += s->count[i];
		t->n += s->count[i];
	}
	for (k = 0; k < KINDS; k++)
		if (s->max_ns[k] > t->max_ns[k])
			t->max_ns[k] = s->max_ns[k];
}

static uint64_t total_max(const struct total *t)
{
	uint64_t max = 0;
	int k;

	for (k = 0; k < KINDS; k++)
		if (t->max_ns[k] > max)
			max = t->max_ns[k];
	return max;
}

static uint64_t total_quantile(const struct total *t, double q)
{
	uint64_t rank = (uint64_t)(q * (double)t->n), seen = 0;
	size_t i;

	for (i = 0; i < HISTOGRAM; i++) {
		seen += t->count[i];
		if (seen > rank)
			return step_end(i);
	}
	return 0;
}

static void print_total(const struct total *t)
{
	printf("\"n\": %" PRIu64 ", \"median_ns\": %" PRIu64
	       ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64
	       ", \"max_ns\": %" PRIu64,
	       t->n, total_quantile(t, 0.5), total_quantile(t, 0.99),
	       total_quantile(t, 0.999), total_max(t));
}

static int print_result(const struct stall *st)
{
	struct total *all = calloc(2, sizeof(*all)), *one;
	unsigned s, w;
	int k;

	if (!all)
		return -ENOMEM;
	one = all + 1;
	printf("{\"seconds\": [");
	for (s = 0; s < st->seconds; s++) {
		memset(one, 0, sizeof(*one));
		for (w = 0; w < st->writers; w++) {
			total_add(one, second_of(st, w, s));
			total_add(all, second_of(st, w, s));
		}
		printf("%s\n  {", s ? "," : "");
		print_total(one);
		printf("}");
	}
	printf("],\n \"all\": {");
	print_total(all);
	for (k = 0; k < KINDS; k++)
		printf(", \"%s_max_ns\": %" PRIu64, kind_names[k],
		       all->max_ns[k]);
	printf("}}\n");
	free(all);
	return 0;
}

/* --- the parent ------------------------------------------------------- */

static int run_writers(const struct stall *st)
{
	pid_t parent = getpid(), pid;
	unsigned w, started;
	int status, r = 0;

	for (started = 0; started < st->writers; started++) {
		pid = fork();
		if (pid < 0) {
			r = -errno;
			break;
		}
		if (!pid) {
			/* None may go on without someone to end it. */
			if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
			    getppid() != parent)
				_exit(1);
			_exit(writer_main(st, started));
		}
	}
	for (w = 0; w < started; w++)
		if (wait(&status) < 0 || status != 0)
			r = -EIO;
	return r;
}

static int run(struct stall *st)
{
	size_t size = (size_t)st->writers * st->seconds * sizeof(struct second);
	int r;

	st->shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (st->shared == MAP_FAILED)
		return -errno;
	st->start_ns = now_ns() + 1000000000;
	r = run_writers(st);
	if (!r)
		r = print_result(st);
	(void)munmap(st->shared, size);
	return r;
}

static bool parse(const char *text, unsigned max, unsigned *ret)
{
	unsigned long v;
	char *end;

	v = strtoul(text, &end, 10);
	*ret = (unsigned)v;
	return end != text && !*end && v >= 1 && v <= max;
}

int main(int argc, char **argv)
{
	struct stall st = { .ops = &target_file, .writers = 4, .seconds = 10 };
	unsigned keys = 1000000;
	bool ok = true;
	int opt;

	while ((opt = getopt(argc, argv, "w:k:t:r")) != -1) {
		if (opt == 'w')
			ok &= parse(optarg, WRITERS_MAX, &st.writers);
		else if (opt == 'k')
			ok &= parse(optarg, 1000000000, &keys);
		else if (opt == 't')
			ok &= parse(optarg, SECONDS_MAX, &st.seconds);
		else if (opt == 'r')
			st.ops = &target_redis;
		else
			ok = false;
	}
	if (!ok || optind != argc - 1 || keys < st.writers) {
		(void)fprintf(stderr, "usage: stall [-w WRITERS] [-k KEYS] "
				      "[-t SECONDS] {DIR | -r SOCKET}\n");
		return 1;
	}
	st.where = argv[optind];
	st.keys = keys;
	return run(&st) < 0;
}
