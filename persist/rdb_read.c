/* SPDX-License-Identifier: MIT */

/*
 * Reading a dump: one loop over its records. FORMAT.md 2 has the rules.
 *
 * A string decodes straight into its value. Everything else is walked by the
 * functions of rdb_payload.h while the stream captures the bytes that are
 * walked: they are the value. So a payload is read once, and none is kept that
 * does not decode.
 *
 * What is decoded goes to the store through a queue (load_queue.h). Write times
 * come after the keys to which they belong (FORMAT.md 4.1), while these still
 * wait there.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "persist/compact.h"
#include "persist/facts.h"
#include "persist/facts_load.h"
#include "persist/load_queue.h"
#include "persist/rdb_payload.h"

enum {
	MAGIC_BYTES = 9, /* "REDIS0010" */
	CRC_BYTES = 8,
	VERSION_WITH_CRC = 5,
	TIMES_VERSION = 1,
	PROGRESS_EVERY = 4 << 20,
	THREAD_FROM = 1 << 20, /* bytes of file that are worth a thread */
	KEY_BYTES_MIN = 4,     /* of a record: type, key, value */
	RECORD_OTHER = -1,     /* read_opcode(): it is the type of a value */
	RECORD_END = 1,
};

#define NS_PER_S INT64_C(1000000000)

/* What the prefixes of a record said of the key to come. */
struct prefix {
	bool has_deadline;
	int64_t deadline_ms;
	int64_t idle_s;
	int freq;
};

struct load {
	struct in in;
	struct store *st;
	const struct rdb_load_options *opt;
	struct rdb_extras *extras;
	struct rdb_load_stats *stats;
	struct facts_load facts;
	struct prefix prefix;
	uint32_t db;
	int64_t mtime_ns; /* of keys without a time of their own */
	bool after_keys;
	char *key;
	size_t key_cap;
	uint64_t next_progress; /* offset */
	struct load_queue *queue;
};

static const struct prefix no_prefix = { .idle_s = -1, .freq = -1 };

void rdb_extras_fini(struct rdb_extras *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->v[i].bytes);
	free(x->v);
	*x = (struct rdb_extras){ .n = 0 };
}

/* --- separator -------------------------------------------------------- */

/* Facts of paths made with @sep have been found. */
static int require_sep(struct load *l, char sep, uint64_t offset)
{
	char used = store_sep(l->st);

	if (sep == used)
		return 0;
	/* Keys may still wait in the queue, and soon or not: so it is what has
	 * been read that counts, not what the store has. */
	if (!l->opt->sep_fixed && !l->after_keys &&
	    store_set_sep(l->st, sep) == 0)
		return 0;
	return in_fail(&l->in, -EINVAL, offset,
		       "the modes, owners and links in this dump are for names "
		       "made with the separator '%c', not '%c': mount it with "
		       "-o sep=%c",
		       sep, used, sep);
}

/* --- AUX fields ------------------------------------------------------- */

static void aux_ctime(struct load *l, struct span value)
{
	char text[24];
	int64_t s;

	if (value.len == 0 || value.len >= sizeof(text))
		return;
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	s = strtoll(text, NULL, 10);
	l->stats->ctime_s = s;
	if (s > 0 && s < INT64_MAX / NS_PER_S)
		l->mtime_ns = s * NS_PER_S;
}

static void aux_sep(struct load *l, struct span value)
{
	char sep = value.len == 1 ? *(const char *)value.ptr : '\0';

	/* After the first key it is too late; the facts hash will tell. */
	if (!l->opt->sep_fixed && !l->after_keys && (sep == '/' || sep == ':'))
		(void)!store_set_sep(l->st, sep);
}

/* Return: the bytes used; 0 if it is cut or over 64 bits. */
static size_t read_varint(const uint8_t *p, size_t left, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < left && i < 10; i++) {
		uint64_t bits = p[i] & 127;

		if (i == 9 && bits > 1)
			return 0;
		v |= bits << 7 * i;
		if (p[i] < 128) {
			*ret = v;
			return i + 1;
		}
	}
	return 0;
}

/* Decodes the times of a block. Return: how many; -1 if it is malformed or has
 * more than @max. */
static int read_times(struct span block, int64_t *times, uint64_t max)
{
	const uint8_t *p = block.ptr, *end = p + block.len;
	uint64_t zigzag, time = 0;
	int n = 0;

	if (p == end || *p++ != TIMES_VERSION)
		return -1;
	while (p < end) {
		size_t used = read_varint(p, (size_t)(end - p), &zigzag);

		if (used == 0 || (uint64_t)n == max)
			return -1;
		time += zigzag >> 1 ^ -(zigzag & 1);
		times[n++] = (int64_t)time;
		p += used;
	}
	return n;
}

static void aux_times(struct load *l, struct span block)
{
	int64_t times[LOAD_RUN_MAX];
	int n = read_times(block, times, LOAD_RUN_MAX);

	load_queue_end_run(l->queue, times, n < 0 ? SIZE_MAX : (size_t)n);
}

static int read_aux(struct load *l)
{
	static const struct {
		const char *name;
		void (*take)(struct load *l, struct span value);
	} known[] = {
		{ "ctime", aux_ctime },
		{ "keyfs-sep", aux_sep },
		{ "keyfs-times", aux_times },
	};
	struct span s;
	size_t i;
	int r = in_string(&l->in, "name of an AUX field", &s);

	if (r < 0)
		return r;
	for (i = 0; i < ARRAY_LEN(known); i++) {
		if (span_eq(s, span_str(known[i].name)))
			break;
	}
	if (i == ARRAY_LEN(known))
		return in_skip_string(&l->in, "value of an AUX field");
	r = in_string(&l->in, "value of an AUX field", &s);
	if (r == 0)
		known[i].take(l, s);
	return r;
}

/* --- what is kept verbatim -------------------------------------------- */

static int add_extra(struct load *l, uint8_t opcode, const struct value *v)
{
	struct rdb_extras *x = l->extras;
	size_t len = (size_t)value_size(v);
	struct rdb_extra *grown;
	uint8_t *bytes;

	grown = realloc(x->v, (x->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	x->v = grown;
	bytes = malloc(len + 1);
	if (!bytes)
		return -ENOMEM;
	(void)value_read(v, 0, bytes, len);
	x->v[x->n++] = (struct rdb_extra){
		.opcode = opcode,
		.after_keys = l->after_keys,
		.bytes = bytes,
		.len = len,
	};
	return 0;
}

static int read_extra(struct load *l, uint8_t opcode)
{
	uint64_t offset = in_offset(&l->in);
	struct value *v;
	int r;

	in_capture_begin(&l->in);
	r = opcode == RDB_OP_MODULE_AUX
		    ? rdb_walk_module_aux(&l->in)
		    : in_skip_string(&l->in, "function library");
	if (r == 0)
		r = in_capture_end(&l->in, &v);
	if (r < 0)
		return r;
	r = add_extra(l, opcode, v);
	value_unref(l->in.mem, v);
	if (r < 0)
		return in_fail(&l->in, r, offset,
			       "no memory for what modules "
			       "and functions stored");
	return 0;
}

/* --- opcodes ---------------------------------------------------------- */

static int read_select(struct load *l)
{
	uint64_t offset = in_offset(&l->in), db;
	int r = in_length(&l->in, "database number", &db);

	if (r < 0)
		return r;
	if (db >= STORE_N_DBS_MAX)
		return in_fail(&l->in, -ENOTSUP, offset,
			       "database %" PRIu64 " is beyond the %d that "
			       "can be kept",
			       db, STORE_N_DBS_MAX);
	l->db = (uint32_t)db;
	return 0;
}

static int read_deadline(struct load *l, unsigned bytes, int64_t unit_ms)
{
	int64_t t;
	int r = in_need(&l->in, bytes, "deadline");

	if (r < 0)
		return r;
	t = compact_signed(compact_le(l->in.p, bytes), bytes * 8);
	l->in.p += bytes;
	t *= unit_ms;
	l->prefix.has_deadline = t != -1; /* Redis' word for "none" */
	l->prefix.deadline_ms = t;
	return 0;
}

static int read_idle(struct load *l)
{
	uint64_t idle;
	int r = in_length(&l->in, "idle time", &idle);

	if (r == 0)
		l->prefix.idle_s = (int64_t)MIN(idle, (uint64_t)INT64_MAX);
	return r;
}

static int read_freq(struct load *l)
{
	uint8_t freq;
	int r = in_byte(&l->in, "access frequency", &freq);

	if (r == 0)
		l->prefix.freq = freq;
	return r;
}

/* A hint, and not to be trusted beyond what the rest of the file can hold. */
static int read_resize(struct load *l)
{
	uint64_t keys, deadlines;
	int r = in_length(&l->in, "size of a database", &keys);

	if (r == 0)
		r = in_length(&l->in, "deadlines of a database", &deadlines);
	if (r == 0 && !l->after_keys)
		store_reserve(l->st,
			      MIN(keys, in_left(&l->in) / KEY_BYTES_MIN));
	return r;
}

static int skip_lengths(struct load *l, unsigned n, const char *thing)
{
	uint64_t ignored;
	int r = 0;

	while (r == 0 && n--)
		r = in_length(&l->in, thing, &ignored);
	return r;
}

/* Return: RECORD_END; RECORD_OTHER if it is no opcode; else 0 or an error in
 * *ret_error. */
static int read_opcode(struct load *l, uint8_t byte, int *ret_error)
{
	switch (byte) {
	case RDB_OP_EOF:
		return RECORD_END;
	case RDB_OP_SELECTDB:
		*ret_error = read_select(l);
		return 0;
	case RDB_OP_RESIZEDB:
		*ret_error = read_resize(l);
		return 0;
	case RDB_OP_SLOT_INFO:
		*ret_error = skip_lengths(l, 3, "size of a slot");
		return 0;
	case RDB_OP_EXPIRETIME:
		*ret_error = read_deadline(l, 4, 1000);
		return 0;
	case RDB_OP_EXPIRETIME_MS:
		*ret_error = read_deadline(l, 8, 1);
		return 0;
	case RDB_OP_IDLE:
		*ret_error = read_idle(l);
		return 0;
	case RDB_OP_FREQ:
		*ret_error = read_freq(l);
		return 0;
	case RDB_OP_AUX:
		*ret_error = read_aux(l);
		return 0;
	case RDB_OP_FUNCTION2:
	case RDB_OP_MODULE_AUX:
		*ret_error = read_extra(l, byte);
		return 0;
	default:
		return RECORD_OTHER;
	}
}

/* --- keys ------------------------------------------------------------- */

/* Why the type of a record cannot be read; NULL if it can. */
static const char *refusal(uint8_t type)
{
	switch (type) {
	case RDB_OP_FUNCTION_PRE_GA:
		return "functions in the form of a release candidate of Redis "
		       "7.0";
	case RDB_TYPE_MODULE_PRE_GA:
		return "a module's value in the form before Redis 4.0, which "
		       "just the module can read";
	case RDB_TYPE_HASH_METADATA_PRE_GA:
	case RDB_TYPE_HASH_LISTPACK_EX_PRE_GA:
		return "a hash in the form of a release candidate of Redis 7.4";
	default:
		return rdb_kind_of(type) == RDB_KIND_UNKNOWN ? "" : NULL;
	}
}

static int check_type(struct load *l, uint8_t type, uint64_t offset)
{
	const char *why = refusal(type);

	if (!why)
		return 0;
	if (*why == '\0')
		return in_fail(&l->in, -ENOTSUP, offset,
			       "unknown record type %u", type);
	return in_fail(&l->in, -ENOTSUP, offset, "record type %u: %s", type,
		       why);
}

static int read_key(struct load *l)
{
	uint64_t offset = in_offset(&l->in);
	struct span s;
	int r = in_string(&l->in, "key", &s);

	if (r < 0)
		return r;
	if (s.len > l->key_cap) {
		size_t cap = MAX(s.len, l->key_cap * 2);
		char *p = mem_realloc(l->in.mem, l->key, cap);

		if (!p)
			return in_fail(&l->in, -ENOMEM, offset,
				       "no memory for a key of %zu bytes",
				       s.len);
		l->key = p;
		l->key_cap = cap;
	}
	if (s.len)
		memcpy(l->key, s.ptr, s.len);
	l->in.subject = span_of(l->key, s.len);
	l->in.has_subject = true;
	return 0;
}

static int capture_payload(struct load *l, struct store_item *item,
			   uint64_t *ret_n)
{
	enum rdb_kind kind = rdb_kind_of(item->rdb_type);
	int r;

	in_capture_begin(&l->in);
	if (kind == RDB_KIND_STREAM)
		r = rdb_walk_stream(&l->in, item->rdb_type, NULL);
	else if (kind == RDB_KIND_MODULE)
		r = rdb_walk_module(&l->in);
	else
		r = rdb_walk(&l->in, item->rdb_type, NULL, NULL, ret_n);
	if (r == 0)
		r = in_capture_end(&l->in, &item->value);
	if (item->rdb_type == RDB_TYPE_STREAM_LISTPACKS_3)
		item->rdb_type = RDB_TYPE_STREAM_LISTPACKS_2;
	return r;
}

static int convert_payload(struct load *l, struct store_item *item,
			   uint64_t *ret_n)
{
	struct rdb_converted c;
	int r = rdb_convert(&l->in, item->rdb_type, l->opt->now_ms, &c);

	if (r < 0)
		return r;
	l->stats->field_ttls_dropped += c.had_deadlines;
	item->rdb_type = c.type;
	item->value = c.value;
	*ret_n = c.n;
	if (c.n == 0 && c.expired) {
		/* All fields are past their deadline, and so is the key. */
		l->prefix.has_deadline = true;
		l->prefix.deadline_ms = INT64_MIN;
	}
	return 0;
}

/* Reads the value. *ret_n: elements of a collection, not 0 for all else. */
static int read_content(struct load *l, uint8_t type, struct store_item *item,
			uint64_t *ret_n)
{
	enum rdb_kind kind = rdb_kind_of(type);

	*ret_n = 1;
	item->rdb_type = type;
	if (kind == RDB_KIND_STRING) {
		item->type = STORE_FILE;
		return in_value(&l->in, "value", &item->value);
	}
	item->type = kind == RDB_KIND_STREAM || kind == RDB_KIND_MODULE
			     ? STORE_OPAQUE
			     : STORE_TYPED;
	if (type == RDB_TYPE_SET_LISTPACK || type == RDB_TYPE_HASH_METADATA ||
	    type == RDB_TYPE_HASH_LISTPACK_EX)
		return convert_payload(l, item, ret_n);
	return capture_payload(l, item, ret_n);
}

/* Return: 0 if it was the facts hash, and it is kept aside; -ENOENT if it is a
 * key like others. */
static int take_facts(struct load *l, const struct store_item *item,
		      uint64_t offset)
{
	char sep;
	int r;

	if (l->db != 0 || rdb_kind_of(item->rdb_type) != RDB_KIND_HASH ||
	    !facts_key_matches(l->in.subject))
		return -ENOENT;
	r = facts_load_take(&l->facts, item->rdb_type, item->value, offset,
			    &sep);
	if (r == -ENOTSUP)
		return in_fail(&l->in, r, offset,
			       "modes, owners and links in the form of a later "
			       "version of keyfs");
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return in_fail(&l->in, r, offset, "cannot keep facts: %s",
			       strerror(-r));
	return require_sep(l, sep, offset);
}

static bool is_expired(const struct load *l)
{
	return l->prefix.has_deadline && l->opt->now_ms &&
	       l->prefix.deadline_ms < l->opt->now_ms;
}

static int put_item(struct load *l, struct store_item *item, uint64_t offset)
{
	int r;

	if (l->prefix.has_deadline) /* 0 stands for none in the store */
		item->expire_ms = MAX(l->prefix.deadline_ms, 1);
	item->idle_s = l->prefix.idle_s;
	item->freq = l->prefix.freq;
	item->mtime_ns = l->mtime_ns;
	r = load_queue_add(l->queue, l->db, l->in.subject, item, offset);
	if (r == 0)
		l->stats->keys++;
	else if (r == -ENOMEM)
		(void)in_fail(&l->in, r, offset, "no memory for a key");
	return r;
}

/* What has been read becomes a key, facts, or nothing. */
static int place_item(struct load *l, struct store_item *item, uint64_t n,
		      uint64_t offset)
{
	int r;

	if (!is_expired(l) && n != 0) {
		r = take_facts(l, item, offset);
		if (r == -ENOENT)
			return put_item(l, item, offset);
	} else {
		r = 0;
		if (is_expired(l))
			l->stats->expired++;
		else
			l->stats->empty_skipped++;
	}
	load_queue_skip(l->queue);
	value_unref(l->in.mem, item->value);
	return r;
}

static int read_record(struct load *l, uint8_t type, uint64_t offset)
{
	struct store_item item = { .type = STORE_NONE };
	uint64_t n;
	int r = check_type(l, type, offset);

	if (r == 0)
		r = read_key(l);
	if (r == 0)
		r = read_content(l, type, &item, &n);
	if (r == 0)
		r = place_item(l, &item, n, offset);
	if (r < 0)
		return r;
	l->prefix = no_prefix;
	l->in.has_subject = false;
	l->after_keys = true;
	return 0;
}

/* --- the file --------------------------------------------------------- */

static int bad_magic(struct load *l, const uint8_t *p)
{
	if (memcmp(p, "VALKEY", 6) == 0)
		return in_fail(&l->in, -ENOTSUP, 0,
			       "a dump of Valkey 9 or later (format %c%c%c), "
			       "whose record types differ from those of Redis",
			       p[6] >= '0' && p[6] <= '9' ? p[6] : '?',
			       p[7] >= '0' && p[7] <= '9' ? p[7] : '?',
			       p[8] >= '0' && p[8] <= '9' ? p[8] : '?');
	return in_fail(&l->in, -EBADMSG, 0,
		       "no dump of Redis: it does not begin with REDIS and a "
		       "version of four digits");
}

static int read_magic(struct load *l)
{
	const uint8_t *p;
	int version = 0;
	int r = in_need(&l->in, MAGIC_BYTES, "header");

	if (r < 0)
		return r;
	p = l->in.p;
	if (memcmp(p, "REDIS", 5) != 0)
		return bad_magic(l, p);
	for (int i = 5; i < MAGIC_BYTES; i++) {
		if (p[i] < '0' || p[i] > '9')
			return bad_magic(l, p);
		version = version * 10 + p[i] - '0';
	}
	if (version > RDB_VERSION_MAX)
		return in_fail(&l->in, -ENOTSUP, 0,
			       "RDB version %d is newer than %d, the last one "
			       "that is understood",
			       version, RDB_VERSION_MAX);
	if (version == 0)
		return in_fail(&l->in, -EBADMSG, 0, "RDB version 0");
	l->stats->version = version;
	l->in.p += MAGIC_BYTES;
	return 0;
}

/* Behind the EOF byte. */
static int read_end(struct load *l)
{
	uint64_t sum = in_crc(&l->in), stored, offset = in_offset(&l->in);
	int r;

	if (l->stats->version < VERSION_WITH_CRC)
		return 0;
	r = in_need(&l->in, CRC_BYTES, "checksum");
	if (r < 0)
		return r;
	stored = compact_le(l->in.p, CRC_BYTES);
	l->in.p += CRC_BYTES;
	if (l->opt->verify && stored != 0 && stored != sum)
		return in_fail(&l->in, -EBADMSG, offset,
			       "checksum is %016" PRIx64
			       ", the bytes say %016" PRIx64,
			       stored, sum);
	return 0;
}

static void tell_progress(struct load *l)
{
	uint64_t offset = in_offset(&l->in);

	if (LIKELY(offset < l->next_progress))
		return;
	l->next_progress = offset + PROGRESS_EVERY;
	if (l->opt->progress)
		l->opt->progress(l->opt->progress_arg, l->stats->keys, offset,
				 l->in.size);
}

static int read_records(struct load *l)
{
	for (;;) {
		uint64_t offset = in_offset(&l->in);
		int kind, error = 0;
		uint8_t byte;
		int r = in_byte(&l->in, "record", &byte);

		if (r < 0)
			return r;
		kind = byte >= RDB_OP_SLOT_INFO ? read_opcode(l, byte, &error)
						: RECORD_OTHER;
		if (kind == RECORD_END)
			return 0;
		if (kind == RECORD_OTHER)
			error = read_record(l, byte, offset);
		if (error < 0)
			return error;
		tell_progress(l);
	}
}

static int64_t load_time_ns(const struct rdb_load_options *opt)
{
	struct timespec now;

	if (opt->now_ms)
		return opt->now_ms * 1000000;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Waits until all keys are in the store. @r: how reading went. */
static int finish_queue(struct load *l, int r)
{
	char key[IN_ESCAPED_MAX];
	struct load_failure f;
	int q = load_queue_finish(l->queue, &l->stats->keys, &f);

	/* The earlier one of two failures is the one to tell. */
	if (q == 0 ||
	    (r < 0 && r != -ECANCELED && l->in.err->offset < f.offset))
		return r;
	if (q == -EEXIST)
		return in_fail(&l->in, -EBADMSG, f.offset,
			       "key \"%s\" of database %" PRIu32
			       " is there twice",
			       in_escape(f.key, key), f.db);
	return in_fail(&l->in, q, f.offset, "cannot keep key \"%s\": %s",
		       in_escape(f.key, key), strerror(-q));
}

/* Reads from l->in, which has been set up, and ends it. */
static int load(struct load *l)
{
	int r;

	l->prefix = no_prefix;
	l->mtime_ns = load_time_ns(l->opt);
	facts_load_init(&l->facts, l->in.mem);
	r = load_queue_new(l->st, l->in.size >= THREAD_FROM, &l->queue);
	if (r == 0)
		r = read_magic(l);
	else
		(void)in_fail(&l->in, r, 0, "no memory");
	if (r == 0)
		r = read_records(l);
	if (r == 0)
		r = read_end(l);
	if (l->queue)
		r = finish_queue(l, r);
	if (r == 0)
		r = facts_load_apply(&l->facts, l->st, &l->in);
	if (r == 0 && l->opt->progress)
		l->opt->progress(l->opt->progress_arg, l->stats->keys,
				 l->in.size, l->in.size);
	load_queue_free(l->queue);
	facts_load_fini(&l->facts);
	mem_free(l->in.mem, l->key);
	in_fini(&l->in);
	return r;
}

static struct load *load_new(struct store *st,
			     const struct rdb_load_options *opt,
			     struct rdb_extras *extras,
			     struct rdb_load_stats *stats,
			     struct rdb_error *err)
{
	struct load *l = mem_zalloc(store_mem(st), sizeof(*l));

	*stats = (struct rdb_load_stats){ .keys = 0 };
	*extras = (struct rdb_extras){ .n = 0 };
	*err = (struct rdb_error){ .code = 0 };
	if (!l) {
		err->code = -ENOMEM;
		(void)snprintf(err->what, sizeof(err->what), "no memory");
		return NULL;
	}
	l->st = st;
	l->opt = opt;
	l->extras = extras;
	l->stats = stats;
	return l;
}

/* The size of the file. */
static int find_size(const struct io *io, int fd, struct rdb_error *err,
		     uint64_t *ret)
{
	struct stat sb;
	int r = io->fstat(io->ctx, fd, &sb);

	if (r == 0 && !S_ISREG(sb.st_mode)) {
		r = -ENOTSUP;
		(void)snprintf(err->what, sizeof(err->what),
			       "it is no regular file");
	} else if (r < 0) {
		(void)snprintf(err->what, sizeof(err->what), "cannot read: %s",
			       strerror(-r));
	}
	err->code = r;
	if (r == 0)
		*ret = (uint64_t)sb.st_size;
	return r;
}

int rdb_load(const struct io *io, int fd, struct store *st,
	     const struct rdb_load_options *opt, struct rdb_extras *extras,
	     struct rdb_load_stats *ret_stats, struct rdb_error *err)
{
	struct load *l = load_new(st, opt, extras, ret_stats, err);
	uint64_t size;
	int r;

	if (!l)
		return -ENOMEM;
	r = find_size(io, fd, err, &size);
	if (r == 0)
		r = in_init(&l->in, io, fd, size, store_mem(st), opt->verify,
			    err);
	if (r == 0)
		r = load(l);
	mem_free(store_mem(st), l);
	return r;
}

int rdb_load_bytes(struct span bytes, struct store *st,
		   const struct rdb_load_options *opt,
		   struct rdb_extras *extras, struct rdb_load_stats *ret_stats,
		   struct rdb_error *err)
{
	struct load *l = load_new(st, opt, extras, ret_stats, err);
	int r;

	if (!l)
		return -ENOMEM;
	in_init_bytes(&l->in, bytes, store_mem(st), opt->verify, err);
	r = load(l);
	mem_free(store_mem(st), l);
	return r;
}
