/* SPDX-License-Identifier: MIT */

/*
 * The input is a dump. Whatever it holds, loading it either works or says why
 * it does not, and takes no more memory than its bytes can justify. What has
 * been loaded must hold together: the store's invariants, the digest of every
 * payload that was let in, and a second load of the same bytes.
 */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "persist/rdb.h"

enum {
	/* A record of 4 bytes can be a key with its node, its directory and
	 * their places in the indices; LZF makes 88 bytes of one. */
	MEMORY_BASE = 4 << 20,
	MEMORY_FACTOR = 512,
	HIGHEST_DB = 64, /* databases below cost memory of their own */
};

struct outcome {
	int result;
	struct rdb_load_stats stats;
	char digest[RDB_DIGEST_HEX + 1];
};

static void check_content(struct store *st, struct outcome *o)
{
	struct view *v;
	int r;

	FUZZ_CHECK(store_check(st) == 0);
	FUZZ_CHECK(view_begin(st, NULL, NULL, &v) == 0);
	r = rdb_digest(v, o->digest);
	FUZZ_CHECK(r == 0 || r == -ENOTSUP); /* a module's value */
	view_end(v);
}

static void load(struct span in, struct outcome *o)
{
	const struct store_options options = { .sep = '/',
					       .max_value = INT64_MAX };
	const struct rdb_load_options how = { .verify = false };
	struct store_stats figures;
	struct rdb_extras extras;
	struct rdb_error err;
	struct store *st;

	memset(o, 0, sizeof(*o));
	FUZZ_CHECK(store_new(&options, &st) == 0);
	o->result = rdb_load_bytes(in, st, &how, &extras, &o->stats, &err);
	store_get_stats(st, &figures);
	if (figures.n_dbs < HIGHEST_DB)
		FUZZ_CHECK(figures.peak_bytes <=
			   MEMORY_BASE + MEMORY_FACTOR * in.len);
	if (o->result == 0) {
		check_content(st, o);
	} else {
		FUZZ_CHECK(o->result == -EBADMSG || o->result == -ENOTSUP ||
			   o->result == -EINVAL);
		FUZZ_CHECK(err.code == o->result && err.what[0]);
		FUZZ_CHECK(err.offset <= in.len);
	}
	rdb_extras_fini(&extras);
	store_free(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome a, b;

	load(span_of(data, size), &a);
	load(span_of(data, size), &b);
	FUZZ_CHECK(a.result == b.result && a.stats.keys == b.stats.keys);
	FUZZ_CHECK(strcmp(a.digest, b.digest) == 0);
	return 0;
}
