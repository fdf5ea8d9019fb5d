/* SPDX-License-Identifier: MIT */
#pragma once

#include <check.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What every unit test needs around Check: a runner that speaks TAP, one seed
 * for all random choices, and directories that vanish however a test ends.
 *
 *	static Suite *suite(void) { ... }
 *
 *	int main(void)
 *	{
 *		static Suite *(*const suites[])(void) = { suite, NULL };
 *
 *		return unit_main(suites);
 *	}
 *
 * Environment: KEYFS_SEED repeats a run (the seed is the first line printed);
 * TMPDIR is where scratch directories go; Check's own CK_RUN_SUITE,
 * CK_RUN_CASE, CK_FORK=no and CK_DEFAULT_TIMEOUT (seconds; here 120 unless
 * set) work as ever.
 */

/**
 * unit_main() - run all suites, TAP on stdout
 * @suites: functions that make them, ended by NULL
 * Return: the exit code: 0 if all passed, else 1; 77 is never used, since TAP
 *         has its own way to skip.
 */
int unit_main(Suite *(*const suites[])(void));

/* For loops that check millions of times: Check writes a note to a file at each
 * ck_assert(), also of those that hold; these cost nothing then. */
#define unit_check(cond) unit_check_msg(cond, "%s", #cond)
#define unit_check_msg(cond, ...)                                              \
	do {                                                                   \
		if (!(cond))                                                   \
			ck_abort_msg(__VA_ARGS__);                             \
	} while (0)

/* The seed of this run, the same in every test of it. Tests that draw numbers
 * start their generator from it, so that each can be repeated alone. */
uint64_t unit_seed(void);

/* A pseudo-random generator (splitmix64): small, fast, any seed is good. */
struct unit_rng {
	uint64_t state;
};

/* A generator for one test: @salt keeps the streams of two tests apart. */
struct unit_rng unit_rng(uint64_t salt);

static inline uint64_t unit_rand(struct unit_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* A number in [0, n), n > 0; the bias of the remainder is below n/2^64. */
static inline uint64_t unit_below(struct unit_rng *rng, uint64_t n)
{
	return unit_rand(rng) % n;
}

/* A number in [lo, hi]. */
static inline uint64_t unit_range(struct unit_rng *rng, uint64_t lo,
				  uint64_t hi)
{
	return lo + unit_below(rng, hi - lo + 1);
}

/* Fills @buf with random bytes. */
void unit_bytes(struct unit_rng *rng, void *buf, size_t len);

/*
 * A directory of its own for one test. What a failed or crashed test leaves,
 * unit_main() removes at the end, since all of them lie in one directory per
 * run.
 */
struct unit_scratch {
	char path[256]; /* absolute */
	int dirfd;
};

/* Makes an empty directory and opens it; fails the test if that fails. */
void unit_scratch_init(struct unit_scratch *s);

/* Removes it with all it holds, also what was made unreadable. */
void unit_scratch_fini(struct unit_scratch *s);

/* Writes a whole file, replacing what was there; fails the test on error. */
void unit_scratch_write(struct unit_scratch *s, const char *name,
			const void *data, size_t len);

/* Reads a whole file; the caller frees it. One NUL follows the @ret_len bytes.
 * Fails the test on error. */
void *unit_scratch_read(struct unit_scratch *s, const char *name,
			size_t *ret_len);

/* The number of names in the directory. */
int unit_scratch_count(struct unit_scratch *s);
