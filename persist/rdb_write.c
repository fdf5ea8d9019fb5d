/* SPDX-License-Identifier: MIT */

/*
 * A view as a dump, in one pass; FORMAT.md has the bytes and their order. Each
 * record is encoded straight into the stream's buffer: no allocation and no
 * copy in between for a key, and one write for a megabyte of them.
 *
 * Keys come in the order of the store's slots, so databases may alternate;
 * readers take SELECTDB as often as it comes. Facts are collected on the way
 * and follow as one hash when all keys are out, which is the only thing here
 * that grows with the number of (unusual) nodes.
 */

#include <stdlib.h>
#include <string.h>

#include "persist/facts.h"
#include "persist/out.h"
#include "persist/rdb.h"
#include "persist/rdb_put.h"
#include "store/alloc.h"

enum {
	TIMES_VERSION = 1,
	TIMES_RUN = 512, /* keys a block: FORMAT.md */
	VARINT_MAX = 10,
	KEYFS_FORMAT = 1, /* keyfs-ver: of what is ours in a dump */
	/* Deadline, idle time or frequency, type: all before a key's name. */
	PREFIX_MAX = 9 + 1 + RDB_LEN_BYTES_MAX + 1,
	NO_DB = STORE_N_DBS_MAX,
};

#define REDIS_VERSION "7.0.15" /* the Redis whose format this is */

struct writer {
	struct rdb_put put;
	struct view *v;
	uint32_t db;				     /* the one selected */
	uint8_t db_sized[(STORE_N_DBS_MAX + 7) / 8]; /* RESIZEDB is out */
	uint64_t n_keys;

	/* The run of keys since the last block of write times. */
	unsigned n_run;
	uint64_t previous_ns;
	uint8_t *times_end;
	uint8_t times[1 + TIMES_RUN * VARINT_MAX];

	struct mem mem;
	struct facts_hash facts;
};

static int put_byte(struct writer *w, uint8_t byte)
{
	return out_bytes(&w->put.out, &byte, 1);
}

/* --- head ------------------------------------------------------------- */

static int put_aux(struct writer *w, const char *name, struct span value)
{
	int r;

	r = put_byte(w, RDB_OP_AUX);
	if (r == 0)
		r = rdb_put_string(&w->put, span_str(name));
	if (r == 0)
		r = rdb_put_string(&w->put, value);
	return r;
}

static int put_aux_number(struct writer *w, const char *name, uint64_t n)
{
	char text[24], *p = text + sizeof(text);

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return put_aux(w, name, span_of(p, (size_t)(text + sizeof(text) - p)));
}

static int put_head(struct writer *w, const struct rdb_save_options *opt)
{
	static const uint8_t magic[9] = { 'R',
					  'E',
					  'D',
					  'I',
					  'S',
					  '0' + RDB_VERSION_WRITTEN / 1000 % 10,
					  '0' + RDB_VERSION_WRITTEN / 100 % 10,
					  '0' + RDB_VERSION_WRITTEN / 10 % 10,
					  '0' + RDB_VERSION_WRITTEN % 10 };
	char sep = view_sep(w->v);
	int r;

	r = out_bytes(&w->put.out, magic, sizeof(magic));
	if (r == 0)
		r = put_aux(w, "redis-ver", span_str(REDIS_VERSION));
	if (r == 0)
		r = put_aux_number(w, "redis-bits", 64);
	if (r == 0)
		r = put_aux_number(w, "ctime",
				   (uint64_t)(view_cut_ms(w->v) / 1000));
	if (r == 0)
		r = put_aux_number(w, "used-mem", opt->used_memory);
	if (r == 0)
		r = put_aux_number(w, "aof-base", opt->aof_base);
	if (r == 0)
		r = put_aux_number(w, "keyfs-ver", KEYFS_FORMAT);
	if (r == 0)
		r = put_aux(w, "keyfs-sep", span_of(&sep, 1));
	return r;
}

static int put_extras(struct writer *w, const struct rdb_extras *x,
		      bool after_keys)
{
	int r = 0;

	for (size_t i = 0; x && i < x->n && r == 0; i++) {
		if (x->v[i].after_keys != after_keys)
			continue;
		r = put_byte(w, x->v[i].opcode);
		if (r == 0)
			r = out_bytes(&w->put.out, x->v[i].bytes, x->v[i].len);
	}
	return r;
}

/* --- write times ------------------------------------------------------ */

static void start_run(struct writer *w)
{
	w->n_run = 0;
	w->previous_ns = 0;
	w->times[0] = TIMES_VERSION;
	w->times_end = w->times + 1;
}

static int end_run(struct writer *w)
{
	size_t len = (size_t)(w->times_end - w->times);
	int r;

	if (!w->n_run)
		return 0;
	r = put_byte(w, RDB_OP_AUX);
	if (r == 0)
		r = rdb_put_string(&w->put, span_str("keyfs-times"));
	if (r == 0)
		r = rdb_put_len(&w->put, len);
	if (r == 0)
		r = out_bytes(&w->put.out, w->times, len);
	start_run(w);
	return r;
}

static int add_time(struct writer *w, int64_t ns)
{
	uint64_t delta = (uint64_t)ns - w->previous_ns;
	uint64_t zigzag = delta << 1 ^ -(delta >> 63);
	uint8_t *p = w->times_end;

	for (; zigzag >= 0x80; zigzag >>= 7)
		*p++ = (uint8_t)(zigzag | 0x80);
	*p++ = (uint8_t)zigzag;
	w->times_end = p;
	w->previous_ns = (uint64_t)ns;
	return ++w->n_run == TIMES_RUN ? end_run(w) : 0;
}

/* --- keys ------------------------------------------------------------- */

static int select_db(struct writer *w, uint32_t db)
{
	uint64_t n_keys, n_expires;
	uint8_t *p;
	int r;

	if (LIKELY(w->db == db))
		return 0;
	r = out_reserve(&w->put.out, 2 + 3 * RDB_LEN_BYTES_MAX, &p);
	if (r < 0)
		return r;
	*p++ = RDB_OP_SELECTDB;
	p = rdb_encode_len(p, db);
	if (!(w->db_sized[db / 8] & 1u << db % 8)) {
		w->db_sized[db / 8] |= (uint8_t)(1u << db % 8);
		view_db_size(w->v, db, &n_keys, &n_expires);
		*p++ = RDB_OP_RESIZEDB;
		p = rdb_encode_len(p, n_keys);
		p = rdb_encode_len(p, n_expires);
	}
	out_commit(&w->put.out, p);
	w->db = db;
	return 0;
}

static uint8_t type_of(const struct view_entry *e)
{
	if (e->type == STORE_TYPED || e->type == STORE_OPAQUE)
		return e->rdb_type;
	return RDB_TYPE_STRING;
}

/* Redis writes one of idle time and frequency, by its eviction policy. */
static int put_prefix(struct writer *w, const struct view_entry *e)
{
	uint8_t *p;
	int r = out_reserve(&w->put.out, PREFIX_MAX, &p);

	if (r < 0)
		return r;
	if (e->expire_ms) {
		*p++ = RDB_OP_EXPIRETIME_MS;
		for (int i = 0; i < 8; i++)
			*p++ = (uint8_t)((uint64_t)e->expire_ms >> 8 * i);
	}
	if (e->idle_s >= 0) {
		*p++ = RDB_OP_IDLE;
		p = rdb_encode_len(p, (uint64_t)e->idle_s);
	} else if (e->freq >= 0) {
		*p++ = RDB_OP_FREQ;
		*p++ = (uint8_t)MIN(e->freq, UINT8_MAX);
	}
	*p++ = type_of(e);
	out_commit(&w->put.out, p);
	return 0;
}

static int put_content(struct writer *w, const struct view_entry *e)
{
	if (type_of(e) == RDB_TYPE_STRING)
		return e->value ? rdb_put_value(&w->put, e->value)
				: rdb_put_string(&w->put, e->data);
	return e->value ? rdb_put_raw_value(&w->put, e->value)
			: out_bytes(&w->put.out, e->data.ptr, e->data.len);
}

static int put_key(struct writer *w, const struct view_entry *e)
{
	int r;

	r = select_db(w, e->db);
	if (r == 0)
		r = put_prefix(w, e);
	if (r == 0)
		r = rdb_put_string(&w->put, e->key);
	if (r == 0)
		r = put_content(w, e);
	if (r < 0)
		return r;
	w->n_keys++;
	return add_time(w, e->mtime_ns);
}

static int put_entries(struct writer *w)
{
	struct view_entry e;
	int r;

	while ((r = view_next(w->v, &e)) == 1) {
		if (e.facts.mask && e.db == 0) {
			r = facts_hash_add(&w->facts, e.path, &e.facts);
			if (r < 0)
				return r;
		}
		if (e.type == STORE_DIR)
			continue;
		r = put_key(w, &e);
		if (r < 0)
			return r;
	}
	return r;
}

/* --- tail ------------------------------------------------------------- */

/* The facts hash is a key like any other to Redis, so it counts in the run. */
static int put_facts(struct writer *w)
{
	uint64_t n = facts_hash_count(&w->facts);
	char name[FACTS_KEY_MAX];
	struct span field, value;
	size_t pos = 0;
	int r;

	if (n == 0)
		return 0;
	r = select_db(w, 0);
	if (r == 0)
		r = put_byte(w, RDB_TYPE_HASH);
	if (r == 0)
		r = rdb_put_string(&w->put,
				   facts_key_print(view_facts_key(w->v), name));
	if (r == 0)
		r = rdb_put_len(&w->put, n);
	while (r == 0 && facts_hash_next(&w->facts, &pos, &field, &value)) {
		r = rdb_put_string(&w->put, field);
		if (r == 0)
			r = rdb_put_string(&w->put, value);
	}
	return r < 0 ? r : add_time(w, (int64_t)w->previous_ns);
}

/* The CRC covers the EOF byte, so all before the CRC must be out first. */
static int put_end(struct writer *w)
{
	uint8_t crc[8];
	int r;

	r = put_byte(w, RDB_OP_EOF);
	if (r == 0)
		r = out_flush(&w->put.out);
	if (r < 0)
		return r;
	for (int i = 0; i < 8; i++)
		crc[i] = (uint8_t)(w->put.out.crc >> 8 * i);
	r = out_bytes(&w->put.out, crc, sizeof(crc));
	return r < 0 ? r : out_flush(&w->put.out);
}

static int put_all(struct writer *w, const struct rdb_extras *extras,
		   const struct rdb_save_options *opt)
{
	int r;

	r = put_head(w, opt);
	if (r == 0)
		r = put_extras(w, extras, false);
	if (r == 0)
		r = put_entries(w);
	if (r == 0)
		r = put_facts(w);
	if (r == 0)
		r = end_run(w);
	if (r == 0)
		r = put_extras(w, extras, true);
	if (r == 0)
		r = put_end(w);
	return r;
}

int rdb_write(const struct io *io, int fd, struct view *v,
	      const struct rdb_extras *extras,
	      const struct rdb_save_options *opt,
	      struct rdb_save_stats *ret_stats)
{
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = out_init(&w->put.out, io, fd, opt->checksum, opt->incremental_sync);
	if (r < 0)
		goto out;
	w->put.compress = opt->compress;
	w->v = v;
	w->db = NO_DB;
	start_run(w);
	mem_init(&w->mem);
	facts_hash_init(&w->facts, &w->mem, view_sep(v));
	r = put_all(w, extras, opt);
	if (r == 0)
		*ret_stats = (struct rdb_save_stats){
			.keys = w->n_keys, .bytes = out_total(&w->put.out)
		};
	facts_hash_fini(&w->facts);
	rdb_put_fini(&w->put);
out:
	out_fini(&w->put.out);
	free(w);
	return r;
}
