/* SPDX-License-Identifier: MIT */
/*
 * Times single operations, one client, 100-byte values, and prints JSON.
 *
 *   client [-n FILES] [-c PRELOADED] [-m MIB] DIR
 *   client [...] -r SOCKET
 *
 * The target should hold the first PRELOADED keys of the data set (in one
 * directory) from before it was started: those are what is read and looked up
 * cold. If they are missing they are written first, and "preloaded" is false:
 * nothing is cold then but what the target does without a cache.
 *
 * A duration is that of a whole job, open and close included. What is read is
 * compared with what was written, outside the time taken. All but the creation
 * goes in random order (the same in each run), because names in the order of
 * their making flatter every index.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/dataset.h"
#include "tests/bench/sample.h"
#include "tests/bench/target.h"

enum {
	LISTINGS = 20, /* a directory is listed this often */
	PAGE = 4096,
	MIB = 1 << 20,
	RANDOM_MIB = 16, /* size of the file that is written at random */
	READ_SIZE = PAGE,
};

/* Which write of a key left what there is. */
enum {
	GEN_PRELOADED,
	GEN_CREATED,
	GEN_OVERWRITTEN,
	GEN_APPENDED,
	GEN_REPLACED
};

struct client {
	const struct target_ops *ops;
	struct target *t;
	size_t files, preloaded, mib;
	uint32_t *order; /* 0..files-1, shuffled */
	struct samples s;
	unsigned char *large; /* MIB bytes */
	uint64_t bytes;	      /* moved by the phase; 0: not what it is about */
	bool first_row;
};

typedef int (*write_fn)(struct target *t, const char *key, const void *data,
			size_t len);
typedef void (*name_fn)(char ret[DATASET_NAME_MAX], uint64_t i);

static void file_name(char ret[DATASET_NAME_MAX], uint64_t i)
{
	(void)snprintf(ret, DATASET_NAME_MAX, "work/file%06" PRIu64, i);
}

static void absent_name(char ret[DATASET_NAME_MAX], uint64_t i)
{
	(void)snprintf(ret, DATASET_NAME_MAX, "work/none%06" PRIu64, i);
}

static void preloaded_name(char ret[DATASET_NAME_MAX], uint64_t i)
{
	dataset_name(ret, 1, i);
}

static int failed(const char *what, const char *key, int r)
{
	(void)fprintf(stderr, "client: cannot %s '%s': %s\n", what, key,
		      strerror(-r));
	return r;
}

/* --- loops over many keys --------------------------------------------- */

static int run_writes(struct client *c, const char *what, write_fn fn,
		      unsigned gen)
{
	unsigned char value[DATASET_VALUE_LEN];
	char key[DATASET_NAME_MAX];
	uint64_t start;
	size_t k, i;
	int r;

	for (k = 0; k < c->files; k++) {
		i = gen == GEN_CREATED ? k : c->order[k];
		file_name(key, i);
		dataset_value(value, i, gen);
		start = now_ns();
		r = fn(c->t, key, value, sizeof(value));
		samples_add(&c->s, now_ns() - start);
		if (r < 0)
			return failed(what, key, r);
	}
	return 0;
}

static int run_reads(struct client *c, name_fn name, size_t first, size_t end,
		     unsigned gen)
{
	unsigned char want[DATASET_VALUE_LEN], got[READ_SIZE];
	char key[DATASET_NAME_MAX];
	uint64_t start;
	size_t k, i;
	ssize_t n;

	for (k = 0; k < c->files; k++) {
		i = c->order[k];
		if (i < first || i >= end)
			continue;
		name(key, i);
		dataset_value(want, i, gen);
		start = now_ns();
		n = c->ops->read(c->t, key, got, sizeof(got));
		samples_add(&c->s, now_ns() - start);
		if (n < 0)
			return failed("read", key, (int)n);
		if (n != sizeof(want) || memcmp(got, want, sizeof(want)) != 0)
			return failed("find what was written in", key, -EIO);
	}
	return 0;
}

/* @want: the size each must have, or -ENOENT. */
static int run_sizes(struct client *c, name_fn name, size_t first, size_t end,
		     int64_t want)
{
	char key[DATASET_NAME_MAX];
	uint64_t start;
	int64_t got;
	size_t k, i;

	for (k = 0; k < c->files; k++) {
		i = c->order[k];
		if (i < first || i >= end)
			continue;
		name(key, i);
		start = now_ns();
		got = c->ops->size(c->t, key);
		samples_add(&c->s, now_ns() - start);
		if (got != want)
			return failed("find the right size of", key,
				      got < 0 ? (int)got : -EIO);
	}
	return 0;
}

/* --- phases, in order ------------------------------------------------- */

static int stat_cold(struct client *c)
{
	return run_sizes(c, preloaded_name, 0, c->preloaded / 2,
			 DATASET_VALUE_LEN);
}

static int read_cold(struct client *c)
{
	return run_reads(c, preloaded_name, c->preloaded / 2, c->preloaded,
			 GEN_PRELOADED);
}

static int create(struct client *c)
{
	return run_writes(c, "create", c->ops->create, GEN_CREATED);
}

/* Lists the directory of all files; first changes it, so that the kernel has
 * no listing of it, if @changed. */
static int run_listings(struct client *c, bool changed)
{
	uint64_t start;
	ssize_t n;
	int i, r;

	for (i = 0; i < LISTINGS; i++) {
		if (changed) {
			r = c->ops->create(c->t, "work/more", "1", 1);
			if (r < 0)
				return failed("create", "work/more", r);
			r = c->ops->remove(c->t, "work/more");
			if (r < 0)
				return failed("remove", "work/more", r);
		}
		start = now_ns();
		n = c->ops->list(c->t, "work");
		samples_add(&c->s, now_ns() - start);
		if (n != (ssize_t)c->files)
			return failed("list all of", "work",
				      n < 0 ? (int)n : -EIO);
	}
	return 0;
}

static int list_changed(struct client *c)
{
	return c->ops->list ? run_listings(c, true) : 0;
}

static int list_again(struct client *c)
{
	return c->ops->list ? run_listings(c, false) : 0;
}

static int overwrite(struct client *c)
{
	return run_writes(c, "overwrite", c->ops->overwrite, GEN_OVERWRITTEN);
}

static int append(struct client *c)
{
	return run_writes(c, "append to", c->ops->append, GEN_APPENDED);
}

static int stat_written(struct client *c)
{
	return run_sizes(c, file_name, 0, c->files, 2 * DATASET_VALUE_LEN);
}

static int replace(struct client *c)
{
	return run_writes(c, "replace", c->ops->replace, GEN_REPLACED);
}

/* The first time after a write, then the second. */
static int read_files(struct client *c)
{
	return run_reads(c, file_name, 0, c->files, GEN_REPLACED);
}

/* The first pass is not counted: it fetches what the last phase made stale. */
static int stat_hot(struct client *c)
{
	int r = run_sizes(c, file_name, 0, c->files, DATASET_VALUE_LEN);

	c->s.n = 0;
	return r < 0 ? r
		     : run_sizes(c, file_name, 0, c->files, DATASET_VALUE_LEN);
}

static int stat_absent(struct client *c)
{
	return run_sizes(c, absent_name, 0, c->files, -ENOENT);
}

static int remove_files(struct client *c)
{
	char key[DATASET_NAME_MAX];
	uint64_t start;
	size_t k;
	int r;

	for (k = 0; k < c->files; k++) {
		file_name(key, c->order[k]);
		start = now_ns();
		r = c->ops->remove(c->t, key);
		samples_add(&c->s, now_ns() - start);
		if (r < 0)
			return failed("remove", key, r);
	}
	return 0;
}

/* --- one large file --------------------------------------------------- */

static int write_part(struct client *c, size_t len, uint64_t off)
{
	ssize_t n = c->ops->large_write(c->t, c->large, len, off);

	if (n == (ssize_t)len)
		return 0;
	return failed("write", "large", n < 0 ? (int)n : -EIO);
}

static int random_open(struct client *c)
{
	uint64_t i;
	int r = c->ops->large_open(c->t, "work/random");

	for (i = 0; i < RANDOM_MIB && !r; i++)
		r = write_part(c, MIB, i * MIB);
	return r;
}

static int run_random_writes(struct client *c, size_t len)
{
	const uint64_t places = (uint64_t)RANDOM_MIB * MIB / PAGE;
	uint64_t state = len, off, start;
	size_t k;
	int r;

	for (k = 0; k < c->files; k++) {
		off = dataset_random(&state) % places * PAGE;
		start = now_ns();
		r = write_part(c, len, off);
		samples_add(&c->s, now_ns() - start);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pwrite_100(struct client *c)
{
	int r = random_open(c);

	return r < 0 ? r : run_random_writes(c, DATASET_VALUE_LEN);
}

static int pwrite_4k(struct client *c)
{
	int r = run_random_writes(c, PAGE);

	if (!r)
		r = c->ops->large_close(c->t);
	return r < 0 ? r : c->ops->remove(c->t, "work/random");
}

static int seq_write(struct client *c)
{
	uint64_t i, start;
	int r = c->ops->large_open(c->t, "work/large");

	for (i = 0; i < c->mib && !r; i++) {
		memcpy(c->large, &i, sizeof(i));
		start = now_ns();
		r = write_part(c, MIB, i * MIB);
		samples_add(&c->s, now_ns() - start);
	}
	c->bytes = c->mib * MIB;
	return r;
}

static int seq_read(struct client *c)
{
	uint64_t i, start;
	ssize_t n;

	for (i = 0; i < c->mib; i++) {
		start = now_ns();
		n = c->ops->large_read(c->t, c->large, MIB, i * MIB);
		samples_add(&c->s, now_ns() - start);
		if (n != MIB || memcmp(c->large, &i, sizeof(i)) != 0)
			return failed("read", "large", n < 0 ? (int)n : -EIO);
	}
	c->bytes = c->mib * MIB;
	return 0;
}

static int seq_read_cold(struct client *c)
{
	int r = c->ops->large_forget_cache(c->t);

	return r < 0 ? failed("drop the cache of", "large", r) : seq_read(c);
}

static int seq_read_hot(struct client *c)
{
	int r = seq_read(c);

	if (!r)
		r = c->ops->large_close(c->t);
	return r < 0 ? r : c->ops->remove(c->t, "work/large");
}

static const struct phase {
	const char *name;
	int (*run)(struct client *c);
} phases[] = {
	{ "stat_cold", stat_cold },
	{ "read_cold", read_cold },
	{ "create", create },
	{ "list_changed", list_changed },
	{ "list_again", list_again },
	{ "overwrite", overwrite },
	{ "append", append },
	{ "stat_written", stat_written },
	{ "replace", replace },
	{ "read_written", read_files },
	{ "read_hot", read_files },
	{ "stat_hot", stat_hot },
	{ "absent_cold", stat_absent },
	{ "absent_hot", stat_absent },
	{ "pwrite_100", pwrite_100 },
	{ "pwrite_4k", pwrite_4k },
	{ "unlink", remove_files },
	{ "seq_write", seq_write },
	{ "seq_read_cold", seq_read_cold },
	{ "seq_read_hot", seq_read_hot },
};

/* --- the run ---------------------------------------------------------- */

static void print_row(struct client *c, const char *name)
{
	struct summary sum = samples_summary(&c->s);

	if (!sum.n)
		return;
	printf("%s\n  \"%s\": {\"n\": %zu, \"median_ns\": %" PRIu64
	       ", \"p99_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64
	       ", \"mean_ns\": %" PRIu64,
	       c->first_row ? "" : ",", name, sum.n, sum.median_ns, sum.p99_ns,
	       sum.max_ns, sum.total_ns / sum.n);
	if (c->bytes)
		printf(", \"gb_s\": %.3f",
		       (double)c->bytes / (double)sum.total_ns);
	printf("}");
	c->first_row = false;
}

static int run_phases(struct client *c)
{
	size_t i;
	int r;

	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		c->s.n = 0;
		c->bytes = 0;
		r = phases[i].run(c);
		if (r < 0) {
			(void)fprintf(stderr, "client: %s failed\n",
				      phases[i].name);
			return r;
		}
		print_row(c, phases[i].name);
	}
	return 0;
}

/* Writes the preloaded keys if they are not there; *ret: they were. */
static int ensure_preloaded(struct client *c, bool *ret)
{
	unsigned char value[DATASET_VALUE_LEN];
	char key[DATASET_NAME_MAX];
	uint64_t i;
	int r;

	*ret = true;
	if (!c->preloaded)
		return 0;
	/* Not one of those measured, whose lookup must be the first. */
	preloaded_name(key, c->preloaded);
	if (c->ops->size(c->t, key) == DATASET_VALUE_LEN)
		return 0;
	*ret = false;
	r = c->ops->make_dir(c->t, "d0");
	for (i = 0; i <= c->preloaded && !r; i++) {
		preloaded_name(key, i);
		dataset_value(value, i, GEN_PRELOADED);
		r = c->ops->create(c->t, key, value, sizeof(value));
	}
	return r < 0 ? failed("preload", key, r) : 0;
}

static int client_init(struct client *c)
{
	size_t n = c->files > c->mib ? c->files : c->mib, i, k;
	uint64_t state = 1;
	uint32_t swap;

	c->order = malloc(n * sizeof(*c->order));
	c->large = malloc(MIB);
	if (!c->order || !c->large ||
	    samples_init(&c->s, n > LISTINGS ? n : LISTINGS) < 0)
		return -ENOMEM;
	for (i = 0; i < MIB / sizeof(uint64_t); i++)
		((uint64_t *)c->large)[i] = dataset_random(&state);
	for (i = 0; i < c->files; i++)
		c->order[i] = (uint32_t)i;
	for (i = c->files - 1; i > 0; i--) {
		k = dataset_random(&state) % (i + 1);
		swap = c->order[i];
		c->order[i] = c->order[k];
		c->order[k] = swap;
	}
	return 0;
}

static void client_fini(struct client *c)
{
	free(c->order);
	free(c->large);
	samples_fini(&c->s);
	if (c->t)
		c->ops->close(c->t);
}

static int run(struct client *c, const char *where)
{
	bool preloaded;
	int r = client_init(c);

	if (!r)
		r = c->ops->open(where, &c->t);
	if (r < 0)
		return failed("open", where, r);
	r = ensure_preloaded(c, &preloaded);
	if (r < 0)
		return r;
	r = c->ops->make_dir(c->t, "work");
	if (r < 0)
		return failed("make", "work", r);
	printf("{\"preloaded\": %s, \"ops\": {", preloaded ? "true" : "false");
	r = run_phases(c);
	if (!r)
		printf("\n}}\n");
	return r;
}

static bool parse(const char *text, size_t min, size_t max, size_t *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return end != text && !*end && *ret >= min && *ret <= max;
}

int main(int argc, char **argv)
{
	struct client c = { .ops = &target_file,
			    .files = 10000,
			    .preloaded = 10000,
			    .mib = 256,
			    .first_row = true };
	bool ok = true;
	int opt, r;

	while ((opt = getopt(argc, argv, "n:c:m:r")) != -1) {
		if (opt == 'n')
			ok &= parse(optarg, 2, 999999, &c.files);
		else if (opt == 'c')
			ok &= parse(optarg, 0, 999999, &c.preloaded);
		else if (opt == 'm')
			ok &= parse(optarg, 1, 500, &c.mib);
		else if (opt == 'r')
			c.ops = &target_redis;
		else
			ok = false;
	}
	if (!ok || optind != argc - 1 || c.preloaded > c.files) {
		(void)fprintf(stderr, "usage: client [-n FILES] [-c PRELOADED] "
				      "[-m MIB] {DIR | -r SOCKET}\n"
				      "PRELOADED must not exceed FILES\n");
		return 1;
	}
	r = run(&c, argv[optind]);
	client_fini(&c);
	return r < 0;
}
