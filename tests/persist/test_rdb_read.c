/* SPDX-License-Identifier: MIT */

/*
 * Dumps in tests/data: version-N.rdb, made by gen_rdb.py from the format's
 * description; redis-*.rdb, saved by that redis-server; beside each, in
 * .digest, what DEBUG DIGEST says of it. should-fail-*.rdb are named for what
 * is wrong with them.
 */

#include "persist/rdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/faulty.h"
#include "tests/lib/unit.h"

static struct store *st;
static struct rdb_extras extras;
static struct rdb_load_stats stats;
static struct rdb_error err;
static struct rdb_load_options opt;

static void make_store(char sep)
{
	const struct store_options o = {
		.uid = 1000, .gid = 1000, .sep = sep, .max_value = INT64_MAX
	};

	ck_assert_int_eq(store_new(&o, &st), 0);
}

static void setup(void)
{
	opt = (struct rdb_load_options){ .verify = true };
	make_store('/');
}

static void teardown(void)
{
	rdb_extras_fini(&extras);
	store_free(st);
	st = NULL;
}

static void restart(void)
{
	teardown();
	make_store('/');
}

/* All of a file in tests/data; the caller frees it. */
static uint8_t *read_data(const char *name, size_t *ret_len)
{
	char path[512];
	uint8_t *p;
	off_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", DATA_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	len = lseek(fd, 0, SEEK_END);
	ck_assert_int_ge(len, 0);
	p = calloc(1, (size_t)len + 1);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(pread(fd, p, (size_t)len, 0), len);
	ck_assert_int_eq(close(fd), 0);
	*ret_len = (size_t)len;
	return p;
}

static int load_bytes(const void *p, size_t len)
{
	return rdb_load_bytes(span_of(p, len), st, &opt, &extras, &stats, &err);
}

static int load_data(const char *name)
{
	size_t len;
	uint8_t *p = read_data(name, &len);
	int r = load_bytes(p, len);

	free(p);
	return r;
}

static void digest(char hex[RDB_DIGEST_HEX + 1])
{
	struct view *v;

	ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
	ck_assert_int_eq(rdb_digest(v, hex), 0);
	view_end(v);
}

static void assert_digest(const char *base)
{
	char name[64], hex[RDB_DIGEST_HEX + 1];
	char *want;
	size_t len;

	(void)snprintf(name, sizeof(name), "%s.digest", base);
	want = (char *)read_data(name, &len);
	ck_assert_uint_eq(len, RDB_DIGEST_HEX + 1); /* and a newline */
	want[RDB_DIGEST_HEX] = '\0';
	digest(hex);
	ck_assert_str_eq(hex, want);
	free(want);
	ck_assert_int_eq(store_check(st), 0);
}

/* The attributes of a path in database 0. */
static void find(const char *path, struct store_attr *ret)
{
	uint64_t dir = STORE_ROOT_INO;
	struct store_attr attr = { .ino = dir };

	while (*path) {
		size_t len = strcspn(path, "/");

		ck_assert_int_eq(
			store_lookup(st, dir, span_of(path, len), &attr), 0);
		store_forget(st, attr.ino, 1);
		dir = attr.ino;
		path += len + (path[len] == '/');
	}
	ck_assert_int_eq(store_getattr(st, dir, ret), 0);
}

/* --- whole dumps ------------------------------------------------------ */

static const char *const golden[] = {
	"version-1",  "version-2",  "version-3",    "version-4", "version-5",
	"version-6",  "version-7",  "version-8",    "version-9", "version-10",
	"version-11", "version-12", "redis-7.0.15",
};

START_TEST(every_version_has_the_digest_that_redis_gives)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s.rdb", golden[_i]);
	ck_assert_msg(load_data(name) == 0, "%s: %s", name, err.what);
	assert_digest(golden[_i]);
}
END_TEST

START_TEST(a_file_loads_as_its_bytes_do)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s.rdb", DATA_DIR, golden[_i]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(
		rdb_load(&io_system, fd, st, &opt, &extras, &stats, &err), 0);
	ck_assert_int_eq(close(fd), 0);
	assert_digest(golden[_i]);
}
END_TEST

START_TEST(prefixes_and_figures_are_kept)
{
	struct store_attr attr;
	uint64_t keys, expires;

	ck_assert_int_eq(load_data("version-12.rdb"), 0);
	ck_assert_int_eq(stats.version, 12);
	ck_assert_int_eq(stats.ctime_s, 1600000000);
	ck_assert_uint_eq(stats.field_ttls_dropped, 4); /* 2 in 2 databases */
	ck_assert_uint_eq(extras.n, 1);
	ck_assert_uint_eq(extras.v[0].opcode, RDB_OP_FUNCTION2);
	ck_assert(extras.v[0].after_keys);
	store_db_size(st, 0, &keys, &expires);
	ck_assert_uint_eq(keys, stats.keys / 2);
	ck_assert_uint_eq(expires, 2);
	find("list", &attr);
	ck_assert_int_eq(attr.expire_ms, INT64_C(2147483647000));
	find("set", &attr);
	ck_assert_int_eq(attr.expire_ms, INT64_C(4102444800001));
	ck_assert_int_eq(attr.mtime_ns, INT64_C(1600000000000000000));
}
END_TEST

START_TEST(later_types_become_those_of_version_10)
{
	static const struct {
		const char *key;
		uint8_t type;
	} want[] = {
		{ "setlp", RDB_TYPE_SET },
		{ "stream3", RDB_TYPE_STREAM_LISTPACKS_2 },
		{ "hashttl", RDB_TYPE_HASH },
		{ "hashttllp", RDB_TYPE_HASH },
		{ "hashlp", RDB_TYPE_HASH_LISTPACK },
	};
	struct store_attr attr;

	ck_assert_int_eq(load_data("version-12.rdb"), 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		find(want[i].key, &attr);
		ck_assert_uint_eq(attr.rdb_type, want[i].type);
	}
}
END_TEST

START_TEST(what_is_past_its_deadline_is_left_out)
{
	opt.now_ms = INT64_C(4102444800003); /* between two fields */
	ck_assert_int_eq(load_data("version-12.rdb"), 0);
	ck_assert_uint_eq(stats.expired, 4); /* list and set, twice */
	ck_assert_uint_eq(stats.field_ttls_dropped, 4);
	opt.now_ms = 0;
}
END_TEST

/* --- facts and times -------------------------------------------------- */

START_TEST(a_deadline_of_minus_one_is_none)
{
	static const char dump[] = "REDIS0010"
				   "\xfc\xff\xff\xff\xff\xff\xff\xff\xff"
				   "\0\1k\1v\xff\0\0\0\0\0\0\0";
	struct store_attr attr;

	opt.now_ms = 1000;
	ck_assert_int_eq(load_bytes(dump, sizeof(dump)), 0);
	ck_assert_uint_eq(stats.keys, 1);
	find("k", &attr);
	ck_assert_int_eq(attr.expire_ms, 0);
}
END_TEST

START_TEST(facts_separator_and_times_are_applied)
{
	struct store_attr attr;

	ck_assert_msg(load_data("facts.rdb") == 0, "%s", err.what);
	ck_assert_int_eq(store_sep(st), ':');
	ck_assert_uint_eq(stats.keys, 4); /* the hash is none */
	find("a/b", &attr);
	ck_assert_uint_eq(attr.mode & 07777, 0600);
	ck_assert_uint_eq(attr.uid, 7);
	ck_assert_uint_eq(attr.gid, 8);
	ck_assert_int_eq(attr.mtime_ns, -500000000); /* not 1: a fact */
	ck_assert_int_eq(attr.atime_ns, 1000000001);
	find("x:y", &attr);
	ck_assert_int_eq(attr.mtime_ns, INT64_C(1500000000123456789));
	ck_assert_uint_eq(attr.gid, 5);
	find("link", &attr);
	ck_assert_int_eq(attr.type, STORE_SYMLINK);
	ck_assert_int_eq(attr.mtime_ns, -1);
	find("made", &attr);
	ck_assert_int_eq(attr.type, STORE_DIR);
	ck_assert_uint_eq(attr.mode & 07777, 0700);
	find("", &attr);
	ck_assert_uint_eq(attr.mode & 07777, 0711);
}
END_TEST

START_TEST(a_fixed_separator_that_differs_is_refused)
{
	opt.sep_fixed = true;
	ck_assert_int_eq(load_data("facts.rdb"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.what, "-o sep=:"));
}
END_TEST

/* Records of a version 10 dump without checksum. */
struct made {
	uint8_t p[512];
	size_t len;
};

static void put(struct made *m, const void *p, size_t len)
{
	ck_assert_uint_le(m->len + len, sizeof(m->p));
	memcpy(m->p + m->len, p, len);
	m->len += len;
}

static void put_string(struct made *m, const char *s, size_t len)
{
	uint8_t n = (uint8_t)len;

	ck_assert_uint_lt(len, 64);
	put(m, &n, 1);
	put(m, s, len);
}

static void put_key(struct made *m, const char *key)
{
	put(m, "\0", 1);
	put_string(m, key, strlen(key));
	put_string(m, "", 0);
}

static void put_times(struct made *m, const char *block, size_t len)
{
	put(m, "\xfa", 1);
	put_string(m, "keyfs-times", 11);
	put_string(m, block, len);
}

static int load_made(struct made *m)
{
	put(m, "\xff\0\0\0\0\0\0\0\0", 9);
	return load_bytes(m->p, m->len);
}

static const struct {
	const char *block;
	size_t len;
	int64_t a, b; /* times of two keys */
} blocks[] = {
	{ "\x01\x02\x01", 3, 1, 0 },
	{ "\x01\x80\x01\x01", 4, 64, 63 },
	{ "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 12, INT64_MIN,
	  INT64_MIN },
	{ "\x02\x02\x01", 3, 5, 5 },	 /* another version */
	{ "\x01\x02", 2, 5, 5 },	 /* too few */
	{ "\x01\x02\x02\x02", 4, 5, 5 }, /* too many */
	{ "\x01\x02\x82", 3, 5, 5 },	 /* cut */
	{ "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00", 12, 5, 5 },
	{ "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 13, 5, 5 },
	{ "", 0, 5, 5 },
};

START_TEST(blocks_of_times_count_if_they_match)
{
	struct made m = { .len = 0 };
	struct store_attr attr;

	put(&m, "REDIS0010\xfa\x05", 11);
	put(&m, "ctime\x01", 6);
	put(&m, "0", 1); /* no time: the time of loading counts */
	put_key(&m, "a");
	put_key(&m, "b");
	put_times(&m, blocks[_i].block, blocks[_i].len);
	put_key(&m, "c"); /* a run of its own */
	put_times(&m, "\x01\x04", 2);
	opt.now_ms = 5;
	ck_assert_int_eq(load_made(&m), 0);
	find("a", &attr);
	ck_assert_int_eq(attr.mtime_ns,
			 blocks[_i].a == 5 ? 5000000 : blocks[_i].a);
	find("b", &attr);
	ck_assert_int_eq(attr.mtime_ns,
			 blocks[_i].b == 5 ? 5000000 : blocks[_i].b);
	find("c", &attr);
	ck_assert_int_eq(attr.mtime_ns, 2);
}
END_TEST

START_TEST(dropped_keys_count_in_their_run)
{
	struct made m = { .len = 0 };
	struct store_attr attr;

	put(&m, "REDIS0010", 9);
	put(&m, "\xfc\x01\0\0\0\0\0\0\0", 9); /* past: 1 ms */
	put_key(&m, "gone");
	put(&m,
	    "\x01\x05"
	    "empty\0",
	    8); /* a list of nothing */
	put_key(&m, "a");
	put_times(&m, "\x01\x02\x02\x02", 4);
	opt.now_ms = 1000;
	ck_assert_int_eq(load_made(&m), 0);
	ck_assert_uint_eq(stats.keys, 1);
	ck_assert_uint_eq(stats.expired, 1);
	ck_assert_uint_eq(stats.empty_skipped, 1);
	find("a", &attr);
	ck_assert_int_eq(attr.mtime_ns, 3);
}
END_TEST

/* --- failures --------------------------------------------------------- */

static const struct {
	const char *name;
	int code;
	uint64_t offset;
	const char *what; /* a part of it */
} failures[] = {
	{ "checksum", -EBADMSG, 19,
	  "checksum is 08c5b190671a5c55, the bytes "
	  "say 09c5b190671a5c55" },
	{ "checksum-short", -EBADMSG, 19, "checksum is cut off" },
	{ "count-past-end", -EBADMSG, 12, "1099511627776, more than the file" },
	{ "database-16384", -ENOTSUP, 10, "database 16384 is beyond" },
	{ "duplicate-key", -EBADMSG, 14,
	  "key \"k\" of database 0 is there "
	  "twice" },
	{ "empty-file", -EBADMSG, 0, "header is cut off" },
	{ "facts-path", -EBADMSG, 9, "impossible path \"/..\"" },
	{ "facts-separator", -EINVAL, 15, "mount it with -o sep=:" },
	{ "facts-version", -ENOTSUP, 9, "a later version of keyfs" },
	{ "facts-word", -EBADMSG, 13, "malformed facts of path \"/a\"" },
	{ "function-pre-ga", -ENOTSUP, 9, "release candidate of Redis 7.0" },
	{ "hash-7.4-rc", -ENOTSUP, 9, "release candidate of Redis 7.4" },
	{ "intset-count", -EBADMSG, 12,
	  "intset of key \"k\" has another size" },
	{ "intset-order", -EBADMSG, 12, "not in ascending order" },
	{ "intset-width", -EBADMSG, 12, "impossible width" },
	{ "length-encoding", -EBADMSG, 12, "0x82, which is no length" },
	{ "listpack-back", -EBADMSG, 12,
	  "listpack of key \"k\" has a wrong "
	  "back length" },
	{ "listpack-count", -EBADMSG, 12, "another number of elements" },
	{ "listpack-encoding", -EBADMSG, 12, "unknown encoding" },
	{ "listpack-entry", -EBADMSG, 12, "runs past its end" },
	{ "listpack-header", -EBADMSG, 12, "too short for its header" },
	{ "listpack-no-end", -EBADMSG, 12,
	  "listpack of key \"k\" has no end "
	  "byte" },
	{ "listpack-odd", -EBADMSG, 12, "incomplete last pair" },
	{ "listpack-size", -EBADMSG, 12, "another size than its header" },
	{ "lzf-garbage", -EBADMSG, 12, "does not decompress to 20 bytes" },
	{ "lzf-too-long", -EBADMSG, 12,
	  "cannot be 1073741824 bytes that LZF "
	  "made 2 of" },
	{ "lzf-too-short", -EBADMSG, 12, "does not decompress to 2 bytes" },
	{ "magic", -EBADMSG, 0, "no dump of Redis" },
	{ "module-aux-when", -EBADMSG, 11, "unknown tag 1" },
	{ "module-pre-ga", -ENOTSUP, 9, "before Redis 4.0" },
	{ "module-tag", -EBADMSG, 21, "unknown tag 7" },
	{ "no-end", -EBADMSG, 18, "record is cut off" },
	{ "quicklist-container", -EBADMSG, 13, "is 3, neither plain nor" },
	{ "score-nan", -EBADMSG, 15, "score of key \"k\" is not a number" },
	{ "score-text", -EBADMSG, 15, "score of key \"k\" is not a number" },
	{ "score-text-nan", -EBADMSG, 15, "is not a number" },
	{ "stream-count", -EBADMSG, 30, "than its master entry says" },
	{ "stream-entry-length", -EBADMSG, 30, "wrong length of a stream's" },
	{ "stream-id", -EBADMSG, 13, "has 15 bytes" },
	{ "string-4294967295", -EBADMSG, 12,
	  "length 4294967295 runs past the "
	  "end of the file" },
	{ "string-encoding", -EBADMSG, 12, "unknown string encoding 4" },
	{ "string-past-end", -EBADMSG, 12, "length 4294967296 runs past" },
	{ "unknown-opcode-243", -ENOTSUP, 9, "unknown record type 243" },
	{ "unknown-type-26", -ENOTSUP, 9, "unknown record type 26" },
	{ "unknown-type-8", -ENOTSUP, 9, "unknown record type 8" },
	{ "valkey-080", -ENOTSUP, 0, "Valkey 9 or later (format 080)" },
	{ "version-13", -ENOTSUP, 0, "RDB version 13 is newer than 12" },
	{ "version-no-number", -EBADMSG, 0, "version of four digits" },
	{ "ziplist-back", -EBADMSG, 12,
	  "ziplist of key \"k\" has a wrong back "
	  "length" },
	{ "ziplist-count", -EBADMSG, 12, "another number of elements" },
	{ "ziplist-entry", -EBADMSG, 12, "runs past its end" },
	{ "ziplist-no-end", -EBADMSG, 12, "has no end byte" },
	{ "ziplist-tail", -EBADMSG, 12, "wrong offset of its last entry" },
	{ "zipmap-count", -EBADMSG, 12, "another number of elements" },
	{ "zipmap-no-value", -EBADMSG, 12, "a field without a value" },
};

START_TEST(damage_is_told_with_its_place)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "should-fail-%s.rdb",
		       failures[_i].name);
	ck_assert_int_eq(load_data(name), failures[_i].code);
	ck_assert_int_eq(err.code, failures[_i].code);
	ck_assert_msg(strstr(err.what, failures[_i].what) != NULL, "%s",
		      err.what);
	ck_assert_uint_eq(err.offset, failures[_i].offset);
	ck_assert_int_eq(store_check(st), 0);
}
END_TEST

START_TEST(a_wrong_checksum_passes_if_nobody_asks)
{
	opt.verify = false;
	ck_assert_int_eq(load_data("should-fail-checksum.rdb"), 0);
	ck_assert_uint_eq(stats.keys, 1);
}
END_TEST

static void assert_graceful(int r, size_t at)
{
	unit_check_msg(r == 0 || r == -EBADMSG || r == -ENOTSUP || r == -EINVAL,
		       "%d at byte %zu", r, at);
	unit_check(r == 0 || err.what[0]);
}

START_TEST(every_prefix_fails_or_is_whole)
{
	size_t len;
	uint8_t *p = read_data("version-12.rdb", &len);

	for (size_t n = 0; n < len; n++) {
		uint8_t *exact = malloc(n + 1);
		int r;

		memcpy(exact, p, n);
		r = load_bytes(exact, n);
		free(exact);
		unit_check_msg(r == -EBADMSG, "prefix of %zu: %d", n, r);
		unit_check_msg(err.offset <= n, "prefix of %zu", n);
		restart();
	}
	free(p);
}
END_TEST

/* Each byte takes several other values. */
START_TEST(every_flipped_byte_ends_gracefully)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff, 0x40 };
	size_t len;
	uint8_t *p = read_data("version-12.rdb", &len);

	opt.verify = false;
	for (size_t i = 0; i < len; i++) {
		uint8_t old = p[i];

		p[i] ^= flips[_i];
		assert_graceful(load_bytes(p, len), i);
		p[i] = old;
		restart();
	}
	free(p);
}
END_TEST

/* --- mutants ---------------------------------------------------------- */

enum {
	MUTANTS = 10000,
	MUTANT_MAX = 1 << 16,
#ifdef __SANITIZE_ADDRESS__
	MUTANTS_KIB = 512 << 10, /* it keeps what is freed for a while */
#else
	MUTANTS_KIB = 64 << 10,
#endif
};

/* Moves, doubles, overwrites or takes away a run of bytes; lengths and types
 * get values that matter. Return: the new length. */
static size_t mutate(struct unit_rng *rng, uint8_t *p, size_t len)
{
	static const uint8_t odd[] = { 0x00, 0x3f, 0x40, 0x7f, 0x80,
				       0x81, 0xc0, 0xc3, 0xf0, 0xf4,
				       0xf5, 0xfa, 0xfd, 0xfe, 0xff };
	size_t at = 9 + unit_below(rng, len - 9);
	size_t n = 1 + unit_below(rng, MIN(len - at, (size_t)40));
	size_t to = 9 + unit_below(rng, len - 9);

	switch (unit_below(rng, 6)) {
	case 0:
		p[at] = (uint8_t)unit_rand(rng);
		break;
	case 1:
		p[at] = odd[unit_below(rng, ARRAY_LEN(odd))];
		break;
	case 2:
		unit_bytes(rng, p + at, n);
		break;
	case 3:
		memmove(p + MIN(to, len - n), p + at, n);
		break;
	case 4: /* away with it */
		memmove(p + at, p + at + n, len - at - n);
		return len - n;
	default: /* once more */
		if (len + n > MUTANT_MAX)
			break;
		memmove(p + at + n, p + at, len - at);
		return len + n;
	}
	return len;
}

static long resident_kib(void)
{
	struct rusage u;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &u), 0);
	return u.ru_maxrss;
}

/* What loads can be walked, digested and written; what does not says why. In
 * all, memory stays within what these small files justify. */
START_TEST(mutants_of_good_dumps_end_gracefully)
{
	struct unit_rng rng = unit_rng(4711 + (uint64_t)_i);
	uint8_t *p = malloc(MUTANT_MAX), *whole;
	char hex[RDB_DIGEST_HEX + 1];
	long before = resident_kib();
	size_t len, n_loaded = 0;
	struct view *v;

	opt.verify = false;
	for (int i = 0; i < MUTANTS / 5; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%s.rdb",
			       golden[unit_below(&rng, ARRAY_LEN(golden))]);
		whole = read_data(name, &len);
		ck_assert_uint_lt(len, MUTANT_MAX);
		memcpy(p, whole, len);
		free(whole);
		for (uint64_t k = 1 + unit_below(&rng, 6); k > 0; k--)
			len = mutate(&rng, p, len);
		int r = load_bytes(p, len);

		assert_graceful(r, (size_t)i);
		if (r == 0) {
			n_loaded++;
			ck_assert_int_eq(store_check(st), 0);
			ck_assert_int_eq(view_begin(st, NULL, NULL, &v), 0);
			r = rdb_digest(v, hex);
			ck_assert(r == 0 || r == -EBADMSG || r == -ENOTSUP);
			view_end(v);
		}
		restart();
	}
	free(p);
	ck_assert_uint_gt(n_loaded, 0);
	ck_assert_int_lt(resident_kib() - before, MUTANTS_KIB);
}
END_TEST

START_TEST(without_memory_it_fails_cleanly)
{
	size_t len;
	uint8_t *p = read_data("version-12.rdb", &len);
	int r = -ENOMEM;

	for (long n = 0; r == -ENOMEM; n++) {
		store_mem(st)->fail_after = n;
		r = load_bytes(p, len);
		store_mem(st)->fail_after = -1;
		unit_check_msg(r == 0 || r == -ENOMEM, "request %ld: %d %s", n,
			       r, err.what);
		if (r < 0)
			restart();
	}
	assert_digest("version-12");
	free(p);
}
END_TEST

START_TEST(failing_reads_are_told)
{
	static struct unit_scratch scratch;
	struct faulty f;
	size_t len;
	uint8_t *p = read_data("version-10.rdb", &len);
	int fd, r;

	unit_scratch_init(&scratch);
	unit_scratch_write(&scratch, "dump.rdb", p, len);
	faulty_init(&f, scratch.dirfd);
	fd = openat(scratch.dirfd, "dump.rdb", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	f.fail_at = _i;
	f.error = EIO;
	r = rdb_load(&f.io, fd, st, &opt, &extras, &stats, &err);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(r, f.fired ? -EIO : 0);
	ck_assert_int_eq(err.code, r);
	unit_scratch_fini(&scratch);
	free(p);
}
END_TEST

/* --- large ------------------------------------------------------------ */

/* A value and a list's element larger than any buffer. */
START_TEST(what_exceeds_the_buffer_loads)
{
	enum {
		LARGE = (5 << 20) + 77
	};
	static struct unit_scratch scratch;
	static const uint8_t head[] = "REDIS0010\0\001k\x80";
	static const uint8_t list[] = "\022\001l\002\001\x80";
	static const uint8_t tail[] = "\002\x0a\x0a\0\0\0\x01\0\x81x\x02\xff"
				      "\xff\0\0\0\0\0\0\0";
	const uint8_t be[4] = { LARGE >> 24, LARGE >> 16 & 255,
				LARGE >> 8 & 255, LARGE & 255 };
	const struct {
		const void *p;
		size_t len;
	} parts[] = { { head, 13 },	     { be, 4 }, { NULL, LARGE },
		      { list, 6 },	     { be, 4 }, { NULL, LARGE },
		      { tail, sizeof(tail) } };
	uint8_t *all = malloc(2 * LARGE + 100), *want = malloc(LARGE);
	struct unit_rng rng = unit_rng(3);
	struct store_range range;
	struct store_attr attr;
	size_t len = 0;
	int fd;

	unit_bytes(&rng, want, LARGE);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		memcpy(all + len, parts[i].p ? parts[i].p : want, parts[i].len);
		len += parts[i].len;
	}
	unit_scratch_init(&scratch);
	unit_scratch_write(&scratch, "dump.rdb", all, len);
	fd = openat(scratch.dirfd, "dump.rdb", O_RDONLY | O_CLOEXEC);
	ck_assert_msg(
		rdb_load(&io_system, fd, st, &opt, &extras, &stats, &err) == 0,
		"%s", err.what);
	ck_assert_int_eq(close(fd), 0);
	find("k", &attr);
	ck_assert_uint_eq(attr.size, LARGE);
	for (size_t off = 0; off < LARGE; off += range.len) {
		ck_assert_int_eq(store_read(st, attr.ino, off, 1 << 16, &range),
				 0);
		ck_assert_int_eq(range.n_iov, 1);
		ck_assert_mem_eq(range.iov[0].iov_base, want + off, range.len);
		store_range_put(st, &range);
	}
	find("l", &attr);
	ck_assert_int_eq(rdb_members_fill(st, attr.ino), 0);
	find("l/0", &attr);
	ck_assert_uint_eq(attr.size, LARGE);
	find("l/1", &attr);
	ck_assert_uint_eq(attr.size, 1);
	unit_scratch_fini(&scratch);
	free(all);
	free(want);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("rdb_read");
	TCase *tc = tcase_create("whole");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, every_version_has_the_digest_that_redis_gives,
			    0, (int)ARRAY_LEN(golden));
	tcase_add_loop_test(tc, a_file_loads_as_its_bytes_do, 0,
			    (int)ARRAY_LEN(golden));
	tcase_add_test(tc, prefixes_and_figures_are_kept);
	tcase_add_test(tc, later_types_become_those_of_version_10);
	tcase_add_test(tc, what_is_past_its_deadline_is_left_out);
	tcase_add_test(tc, a_deadline_of_minus_one_is_none);
	tcase_add_test(tc, what_exceeds_the_buffer_loads);
	suite_add_tcase(s, tc);

	tc = tcase_create("facts");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, facts_separator_and_times_are_applied);
	tcase_add_test(tc, a_fixed_separator_that_differs_is_refused);
	tcase_add_loop_test(tc, blocks_of_times_count_if_they_match, 0,
			    (int)ARRAY_LEN(blocks));
	tcase_add_test(tc, dropped_keys_count_in_their_run);
	suite_add_tcase(s, tc);

	tc = tcase_create("damage");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, damage_is_told_with_its_place, 0,
			    (int)ARRAY_LEN(failures));
	tcase_add_test(tc, a_wrong_checksum_passes_if_nobody_asks);
	tcase_add_test(tc, every_prefix_fails_or_is_whole);
	tcase_add_loop_test(tc, every_flipped_byte_ends_gracefully, 0, 4);
	tcase_add_loop_test(tc, mutants_of_good_dumps_end_gracefully, 0, 5);
	tcase_add_test(tc, without_memory_it_fails_cleanly);
	tcase_add_loop_test(tc, failing_reads_are_told, 1, 5);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
