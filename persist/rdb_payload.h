/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "persist/in.h"
#include "store/span.h"

/*
 * Walks over what follows the key in a record, one for each kind of value; from
 * a file or from a payload in memory, since both are a struct in. Private to
 * persist/. A walk that returns 0 has checked every byte and stands behind the
 * last one.
 *
 * Thread-safety: as the stream's.
 */

/* One element of a list, set, sorted set or hash. */
struct rdb_member {
	struct span a, b; /* as for rdb_member_fn */
	double score;
	int64_t expire_ms; /* a hash's field in version 12; 0: never */
};

/* Return: 0 to go on; anything else ends the walk and is handed back. */
typedef int (*rdb_walk_fn)(void *arg, const struct rdb_member *m);

/**
 * rdb_walk() - walk a list, set, sorted set or hash
 * @fn:    may be NULL, to check alone
 * @ret_n: set on success: elements; fields of a hash
 * Return: 0; -EBADMSG; -ENOTSUP for another type; -ENOMEM; -errno; what @fn
 *         said.
 */
MUST_CHECK int rdb_walk(struct in *in, uint8_t type, rdb_walk_fn fn, void *arg,
			uint64_t *ret_n);

/* Takes what is in a stream. Return: as rdb_walk_fn. */
struct rdb_stream_visitor {
	int (*entry)(void *arg, uint64_t ms, uint64_t seq);
	int (*text)(void *arg, struct span s); /* field, value, field, ... */
	void *arg;
};

/**
 * rdb_walk_stream() - walk a stream
 * @v: called for each entry that is not deleted; may be NULL
 * A consumer's active-time (version 11) is left out of a capture, which makes
 * a type 21 captured a type 19.
 * Return: as rdb_walk().
 */
MUST_CHECK int rdb_walk_stream(struct in *in, uint8_t type,
			       const struct rdb_stream_visitor *v);

/* Passes a module's value, from its id to its end mark. */
MUST_CHECK int rdb_walk_module(struct in *in);

/* Passes what follows the opcode of a module's AUX record. */
MUST_CHECK int rdb_walk_module_aux(struct in *in);

/**
 * rdb_convert() - read a set or hash of versions 11 and 12 as 2 or 4
 * @now_ms: fields with a deadline before it are left out; 0 keeps all
 * @ret:    filled on success; the value is the caller's
 * Return: as rdb_walk().
 */
struct rdb_converted {
	uint8_t type;
	struct value *value;
	uint64_t n;	  /* elements that are left */
	uint64_t expired; /* fields that were left out */
	bool had_deadlines;
};
MUST_CHECK int rdb_convert(struct in *in, uint8_t type, int64_t now_ms,
			   struct rdb_converted *ret);
