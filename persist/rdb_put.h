/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "persist/out.h"
#include "store/defs.h"
#include "store/span.h"
#include "store/value.h"

/*
 * RDB's lengths and strings, encoded into a stream; private to persist/.
 * A string goes out as Redis would write it: as an integer if it is the
 * canonical decimal of one that fits 32 bits, LZF-compressed if that is on, the
 * string is over 20 bytes and 4 bytes are saved, else plain.
 *
 * Thread-safety: one thread at a time. Errors: those of the stream.
 */
enum {
	RDB_LEN_BYTES_MAX = 9, /* of an encoded length */
	RDB_GUARD_BITS = 17,
	/* Compressed bytes of one string that are held in memory. They precede
	 * the data as a count, so all must be known before the first is
	 * written; what needs more goes out plain. */
	RDB_LZF_HELD_MAX = 64 << 20,
};

struct rdb_put {
	struct out out;
	bool compress;
	uint8_t round; /* tag of the present string in seen[] */
	uint8_t *held; /* compressed bytes of a long string */
	size_t n_held, held_cap;
	uint8_t seen[1 << RDB_GUARD_BITS]; /* see worth_compressing() */
};

/* Frees what long strings needed. The stream is the caller's to end. */
void rdb_put_fini(struct rdb_put *w);

/* Encodes a length at @p, in its shortest form. Return: the byte after it, at
 * most RDB_LEN_BYTES_MAX on. */
uint8_t *rdb_encode_len(uint8_t *p, uint64_t len);

MUST_CHECK int rdb_put_len(struct rdb_put *w, uint64_t len);

/* Any bytes, any number of them. */
MUST_CHECK int rdb_put_string(struct rdb_put *w, struct span s);

/* As rdb_put_string(), from a value that need not be in one piece. Memory: at
 * most RDB_LZF_HELD_MAX, whatever the size. */
MUST_CHECK int rdb_put_value(struct rdb_put *w, const struct value *v);

/* The bytes of a value as they are, without a length. */
MUST_CHECK int rdb_put_raw_value(struct rdb_put *w, const struct value *v);
