/* SPDX-License-Identifier: MIT */
/*
 * The table of directives. A default is given as text and read by the same
 * parser as a user's value, so the two cannot disagree, and each printer's
 * output is again input for its parser.
 *
 * The second table has what stands in a typical redis.conf beside them. Such a
 * line is let pass if keyfs does what it says anyway, or if what it adjusts is
 * switched off (the details of an append-only file without one); its value is
 * checked even so, for a typo is worth a message. A line that asks for what
 * keyfs does not do is refused: silence would be a promise.
 */
#include "fs/conf_parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "fs/conf_file.h"

/* --- values ----------------------------------------------------------- */

static void *field(const struct conf_directive *d, struct conf_values *v)
{
	return (char *)v + d->offset;
}

static const void *field_const(const struct conf_directive *d,
			       const struct conf_values *v)
{
	return (const char *)v + d->offset;
}

static int fail(char *why, const char *text)
{
	(void)snprintf(why, CONF_WHY_MAX, "%s", text);
	return -EINVAL;
}

static int need_one(int argc, char *why)
{
	if (argc == 1)
		return 0;
	(void)snprintf(why, CONF_WHY_MAX, "it takes one value, not %d", argc);
	return -EINVAL;
}

/* A decimal number with nothing around it. */
static int parse_u64(const char *s, const char **ret_end, uint64_t *ret)
{
	uint64_t n = 0;
	const char *p = s;

	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -ERANGE;
	if (p == s)
		return -EINVAL;
	*ret_end = p;
	*ret = n;
	return 0;
}

/* Redis' sizes: a number and, in any case, b, k, kb, m, mb, g or gb; without
 * the b they are powers of 1000. */
static int parse_bytes(const char *s, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {
		{ "", 1 },
		{ "b", 1 },
		{ "k", 1000 },
		{ "kb", 1024 },
		{ "m", 1000000 },
		{ "mb", UINT64_C(1) << 20 },
		{ "g", UINT64_C(1000000000) },
		{ "gb", UINT64_C(1) << 30 },
	};
	const char *unit;
	uint64_t n;
	int r;

	r = parse_u64(s, &unit, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcasecmp(unit, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(n, units[i].factor, &n))
			return -ERANGE;
		*ret = n;
		return 0;
	}
	return -EINVAL;
}

static int parse_size(const struct conf_directive *d, struct conf_values *v,
		      int argc, char **argv, char *why)
{
	uint64_t n;

	if (need_one(argc, why) < 0)
		return -EINVAL;
	if (parse_bytes(argv[0], &n) < 0)
		return fail(why, "it takes a number of bytes, such as 104857600"
				 " or 100mb (k, kb, m, mb, g, gb)");
	if (n < d->min || n > d->max) {
		(void)snprintf(why, CONF_WHY_MAX, "it takes %llu to %llu bytes",
			       (unsigned long long)d->min,
			       (unsigned long long)d->max);
		return -EINVAL;
	}
	*(uint64_t *)field(d, v) = n;
	return 0;
}

static size_t print_size(const struct conf_directive *d,
			 const struct conf_values *v, char *buf)
{
	uint64_t n = *(const uint64_t *)field_const(d, v);

	return (size_t)snprintf(buf, CONF_VALUE_MAX, "%llu",
				(unsigned long long)n);
}

static int parse_bool(const struct conf_directive *d, struct conf_values *v,
		      int argc, char **argv, char *why)
{
	bool on;

	if (need_one(argc, why) < 0)
		return -EINVAL;
	on = strcasecmp(argv[0], "yes") == 0;
	if (!on && strcasecmp(argv[0], "no") != 0)
		return fail(why, "it takes yes or no");
	*(bool *)field(d, v) = on;
	return 0;
}

static size_t print_bool(const struct conf_directive *d,
			 const struct conf_values *v, char *buf)
{
	bool on = *(const bool *)field_const(d, v);

	return (size_t)snprintf(buf, CONF_VALUE_MAX, "%s", on ? "yes" : "no");
}

static int parse_loglevel(const struct conf_directive *d, struct conf_values *v,
			  int argc, char **argv, char *why)
{
	enum log_level level;

	(void)d;
	if (need_one(argc, why) < 0)
		return -EINVAL;
	if (log_level_parse(span_str(argv[0]), &level) < 0)
		return fail(why, "it takes debug, verbose, notice or warning");
	v->loglevel = level;
	return 0;
}

static size_t print_loglevel(const struct conf_directive *d,
			     const struct conf_values *v, char *buf)
{
	(void)d;
	return (size_t)snprintf(buf, CONF_VALUE_MAX, "%s",
				log_level_name(v->loglevel));
}

/* The dump's name: in DATADIR itself, and none that keyfs uses for another
 * purpose. */
static int parse_dbfilename(const struct conf_directive *d,
			    struct conf_values *v, int argc, char **argv,
			    char *why)
{
	static const char *const taken[] = {
		".",	      "..",	    CONF_FILE_NAME,
		"keyfs.lock", RDB_TMP_NAME, CONF_TMP_NAME
	};

	(void)d;
	if (need_one(argc, why) < 0)
		return -EINVAL;
	if (argv[0][0] == '\0' || strchr(argv[0], '/'))
		return fail(why, "it takes the name of a file in the data "
				 "directory, without a slash");
	if (strlen(argv[0]) >= sizeof(v->dbfilename))
		return fail(why, "the name is longer than 255 bytes");
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (strcmp(argv[0], taken[i]) == 0)
			return fail(why, "keyfs uses this name for something "
					 "else: choose another one");
	(void)snprintf(v->dbfilename, sizeof(v->dbfilename), "%s", argv[0]);
	return 0;
}

static size_t print_dbfilename(const struct conf_directive *d,
			       const struct conf_values *v, char *buf)
{
	char quoted[4 * sizeof(v->dbfilename) + 3];
	size_t len = conf_quote(span_str(v->dbfilename), quoted);

	(void)d;
	/* Only a name of some hundred control characters could be longer. */
	len = MIN(len, (size_t)CONF_VALUE_MAX - 1);
	memcpy(buf, quoted, len);
	buf[len] = '\0';
	return len;
}

/* --- save points ------------------------------------------------------ */

static int parse_point(char **argv, struct persist_save_point *ret)
{
	const char *end;
	uint64_t seconds, changes;

	if (parse_u64(argv[0], &end, &seconds) < 0 || *end || seconds < 1 ||
	    seconds > INT64_MAX)
		return -EINVAL;
	if (parse_u64(argv[1], &end, &changes) < 0 || *end)
		return -EINVAL;
	*ret = (struct persist_save_point){ .seconds = (int64_t)seconds,
					    .changes = changes };
	return 0;
}

/* Replaces all save points. That several lines add up is the file's matter,
 * see conf.c. */
static int parse_points(struct conf_values *v, int argc, char **argv, char *why)
{
	struct persist_save_point points[PERSIST_SAVE_POINTS_MAX];
	int n = argc / 2;

	if (argc % 2 != 0)
		return fail(why, "it takes pairs of seconds and changes, such "
				 "as 3600 1 300 100, or \"\" for never");
	if (n > PERSIST_SAVE_POINTS_MAX)
		return fail(why, "there are more than 16 save points");
	for (int i = 0; i < n; i++)
		if (parse_point(argv + 2 * (size_t)i, &points[i]) < 0)
			return fail(why, "seconds start at 1, changes at 0; "
					 "both are plain numbers");
	if (n > 0)
		memcpy(v->save, points, (size_t)n * sizeof(points[0]));
	v->n_save = n;
	return 0;
}

/* `save 3600 1 300 100`, `save "3600 1 300 100"` and `save ""`. */
static int parse_save(const struct conf_directive *d, struct conf_values *v,
		      int argc, char **argv, char *why)
{
	char words[CONF_VALUE_MAX], *parts[CONF_WORDS_MAX];
	struct span text;
	int n;

	(void)d;
	if (argc != 1)
		return parse_points(v, argc, argv, why);
	text = span_str(argv[0]);
	n = text.len < sizeof(words)
		    ? conf_split(text, words, parts, CONF_WORDS_MAX)
		    : -E2BIG;
	if (n < 0)
		return fail(why, "there are more than 16 save points");
	return parse_points(v, n, parts, why);
}

static size_t print_save(const struct conf_directive *d,
			 const struct conf_values *v, char *buf)
{
	size_t n = 0;

	(void)d;
	for (int i = 0; i < v->n_save; i++)
		n += (size_t)snprintf(buf + n, CONF_VALUE_MAX - n,
				      "%s%lld %llu", i ? " " : "",
				      (long long)v->save[i].seconds,
				      (unsigned long long)v->save[i].changes);
	if (n == 0)
		n = (size_t)snprintf(buf, CONF_VALUE_MAX, "\"\"");
	return n;
}

/* Two numbers of at most 19 and 20 digits and two spaces a point. */
_Static_assert(PERSIST_SAVE_POINTS_MAX *(19 + 20 + 2) < CONF_VALUE_MAX,
	       "see print_save()");

/* --- the table -------------------------------------------------------- */

#define FIELD(member)	.offset = offsetof(struct conf_values, member)
#define BOOLEAN(member) .parse = parse_bool, .print = print_bool, FIELD(member)
#define SIZE(member, lo, hi)                                                   \
	.parse = parse_size, .print = print_size, FIELD(member), .min = (lo),  \
	.max = (hi)

const struct conf_directive conf_directives[] = {
	{ .name = "dbfilename",
	  .def = "dump.rdb",
	  .parse = parse_dbfilename,
	  .print = print_dbfilename,
	  .help = "name of the dump in the data directory" },
	{ .name = "loglevel",
	  .def = "notice",
	  .is_mutable = true,
	  .parse = parse_loglevel,
	  .print = print_loglevel,
	  .help = "what is logged: debug, verbose, notice or warning" },
	{ .name = "maxmemory",
	  .def = "0",
	  .is_mutable = true,
	  SIZE(maxmemory, 0, INT64_MAX),
	  .help = "bytes the keys may take, growth beyond is ENOSPC; 0: no "
		  "limit" },
	{ .name = "proto-max-bulk-len",
	  .def = "512mb",
	  .is_mutable = true,
	  SIZE(proto_max_bulk_len, UINT64_C(1) << 20, INT64_MAX),
	  .help = "bytes of the largest file, growth beyond is EFBIG" },
	{ .name = "rdb-save-incremental-fsync",
	  .def = "yes",
	  .is_mutable = false,
	  BOOLEAN(rdb_save_incremental_fsync),
	  .help = "write a dump out to disk every 4 MB while it is made" },
	{ .name = "rdbchecksum",
	  .def = "yes",
	  .is_mutable = false,
	  BOOLEAN(rdbchecksum),
	  .help = "end dumps with a CRC64, and check it when loading" },
	{ .name = "rdbcompression",
	  .def = "yes",
	  .is_mutable = true,
	  BOOLEAN(rdbcompression),
	  .help = "compress strings of more than 20 bytes in dumps (LZF)" },
	{ .name = "save",
	  .def = "3600 1 300 100 60 10000",
	  .is_mutable = true,
	  .parse = parse_save,
	  .print = print_save,
	  .help = "save after so many seconds if there were so many changes; "
		  "\"\": never" },
	{ .name = "snapshot-memory-limit",
	  .def = "0",
	  .is_mutable = false,
	  SIZE(snapshot_memory_limit, 0, INT64_MAX),
	  .help = "extra bytes a save may take before it is given up; 0: no "
		  "limit" },
	{ .name = "stop-writes-on-bgsave-error",
	  .def = "yes",
	  .is_mutable = true,
	  BOOLEAN(stop_writes_on_bgsave_error),
	  .help = "refuse growth after a failed save until one succeeds" },
};
const int conf_n_directives = (int)ARRAY_LEN(conf_directives);

int conf_find(const char *name)
{
	for (int i = 0; i < conf_n_directives; i++)
		if (strcasecmp(conf_directives[i].name, name) == 0)
			return i;
	return -1;
}

void conf_set_defaults(struct conf_values *v)
{
	char buf[CONF_VALUE_MAX], *argv[CONF_WORDS_MAX], why[CONF_WHY_MAX];

	*v = (struct conf_values){ .n_save = 0 };
	for (int i = 0; i < conf_n_directives; i++) {
		const struct conf_directive *d = &conf_directives[i];
		int n = conf_split(span_str(d->def), buf, argv, CONF_WORDS_MAX);

		if (n < 0 || d->parse(d, v, n, argv, why) < 0)
			abort(); /* the table is wrong */
	}
}

/* --- what Redis has and keyfs need not act on -------------------------- */

enum inert_value {
	INERT_WORDS, /* one of a list */
	INERT_BYTES,
	INERT_NUMBER,
	INERT_NAME, /* a plain file name */
};

static const struct inert {
	const char *name;
	enum inert_value kind;
	const char *words; /* INERT_WORDS: separated by spaces */
	const char *remedy;
} inert[] = {
	{ "appendonly", INERT_WORDS, "no",
	  "keyfs does not write an append-only file: remove the line or say "
	  "no" },
	/* How an append-only file would be written; there is none. */
	{ "appendfilename", INERT_NAME, NULL, "it takes a plain file name" },
	{ "appenddirname", INERT_NAME, NULL, "it takes a plain file name" },
	{ "appendfsync", INERT_WORDS, "always everysec no",
	  "it takes always, everysec or no" },
	{ "no-appendfsync-on-rewrite", INERT_WORDS, "yes no",
	  "it takes yes or no" },
	{ "auto-aof-rewrite-percentage", INERT_NUMBER, NULL,
	  "it takes a number" },
	{ "auto-aof-rewrite-min-size", INERT_BYTES, NULL,
	  "it takes a number of bytes, such as 64mb" },
	{ "aof-load-truncated", INERT_WORDS, "yes no", "it takes yes or no" },
	{ "aof-use-rdb-preamble", INERT_WORDS, "yes no", "it takes yes or no" },
	{ "aof-timestamp-enabled", INERT_WORDS, "yes no",
	  "it takes yes or no" },
	{ "aof-rewrite-incremental-fsync", INERT_WORDS, "yes no",
	  "it takes yes or no" },
	/* Dumps. */
	{ "rdb-del-sync-files", INERT_WORDS, "yes no", "it takes yes or no" },
	{ "sanitize-dump-payload", INERT_WORDS, "no clients",
	  "keyfs checks what a key holds when it is first shown, not while "
	  "loading: remove the line or say no" },
	{ "maxmemory-policy", INERT_WORDS, "noeviction",
	  "keyfs evicts nothing: remove the line or say noeviction" },
};

static bool word_in(const char *word, const char *list)
{
	size_t len = strlen(word);

	for (const char *p = list; len > 0 && *p;) {
		size_t n = strcspn(p, " ");

		if (n == len && strncasecmp(p, word, n) == 0)
			return true;
		p += n;
		p += strspn(p, " ");
	}
	return false;
}

static bool inert_accepts(const struct inert *d, const char *value)
{
	const char *end;
	uint64_t n;

	switch (d->kind) {
	case INERT_WORDS:
		return word_in(value, d->words);
	case INERT_BYTES:
		return parse_bytes(value, &n) == 0;
	case INERT_NUMBER:
		return parse_u64(value, &end, &n) == 0 && *end == '\0';
	case INERT_NAME:
		return *value && !strchr(value, '/');
	}
	return false;
}

int conf_check_inert(const char *name, int argc, char **argv, char *why)
{
	for (size_t i = 0; i < ARRAY_LEN(inert); i++) {
		if (strcasecmp(inert[i].name, name) != 0)
			continue;
		if (need_one(argc, why) < 0)
			return -EINVAL;
		if (!inert_accepts(&inert[i], argv[0]))
			return fail(why, inert[i].remedy);
		return 0;
	}
	return -ENOENT;
}
