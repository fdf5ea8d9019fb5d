/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "persist/io.h"
#include "store/span.h"
#include "store/store.h"
#include "store/view.h"

/*
 * RDB, Redis' dump format: reading versions 1 to 12 and writing version 10.
 * FORMAT.md has the bytes. Constants are those of Redis' rdb.h.
 */

enum rdb_opcode {
	RDB_OP_SLOT_INFO = 244,
	RDB_OP_FUNCTION2 = 245,
	RDB_OP_FUNCTION_PRE_GA = 246,
	RDB_OP_MODULE_AUX = 247,
	RDB_OP_IDLE = 248,
	RDB_OP_FREQ = 249,
	RDB_OP_AUX = 250,
	RDB_OP_RESIZEDB = 251,
	RDB_OP_EXPIRETIME_MS = 252,
	RDB_OP_EXPIRETIME = 253,
	RDB_OP_SELECTDB = 254,
	RDB_OP_EOF = 255,
};

enum rdb_type {
	RDB_TYPE_STRING = 0,
	RDB_TYPE_LIST = 1,
	RDB_TYPE_SET = 2,
	RDB_TYPE_ZSET = 3,
	RDB_TYPE_HASH = 4,
	RDB_TYPE_ZSET_2 = 5,
	RDB_TYPE_MODULE_PRE_GA = 6,
	RDB_TYPE_MODULE_2 = 7,
	RDB_TYPE_HASH_ZIPMAP = 9,
	RDB_TYPE_LIST_ZIPLIST = 10,
	RDB_TYPE_SET_INTSET = 11,
	RDB_TYPE_ZSET_ZIPLIST = 12,
	RDB_TYPE_HASH_ZIPLIST = 13,
	RDB_TYPE_LIST_QUICKLIST = 14,
	RDB_TYPE_STREAM_LISTPACKS = 15,
	RDB_TYPE_HASH_LISTPACK = 16,
	RDB_TYPE_ZSET_LISTPACK = 17,
	RDB_TYPE_LIST_QUICKLIST_2 = 18,
	RDB_TYPE_STREAM_LISTPACKS_2 = 19,
	RDB_TYPE_SET_LISTPACK = 20,
	RDB_TYPE_STREAM_LISTPACKS_3 = 21,
	RDB_TYPE_HASH_METADATA_PRE_GA = 22,
	RDB_TYPE_HASH_LISTPACK_EX_PRE_GA = 23,
	RDB_TYPE_HASH_METADATA = 24,
	RDB_TYPE_HASH_LISTPACK_EX = 25,
};

enum {
	RDB_VERSION_WRITTEN = 10, /* Redis 7.0 and all later ones load it */
	RDB_VERSION_MAX = 12,	  /* the last one we know every byte of */
};

/* Where reading stopped and why. Filled at the point of detection. */
struct rdb_error {
	int code;	 /* -EBADMSG damaged; -ENOTSUP not understood; -errno */
	uint64_t offset; /* in the file: where the unreadable thing begins */
	char what[160];	 /* one clause for people, without file or offset */
};

/* Things in a dump that are not keys and are kept verbatim: function libraries
 * and the AUX data of modules. Owned memory; zero-initialised is empty. */
struct rdb_extras {
	struct rdb_extra {
		uint8_t opcode;	 /* RDB_OP_FUNCTION2 or RDB_OP_MODULE_AUX */
		bool after_keys; /* where it stood */
		uint8_t *bytes;	 /* what follows the opcode, verbatim */
		size_t len;
	} * v;
	size_t n;
};
void rdb_extras_fini(struct rdb_extras *x);

struct rdb_load_stats {
	uint64_t keys;		/* put into the store */
	uint64_t expired;	/* left out: their deadline had passed */
	uint64_t empty_skipped; /* empty collections, as Redis skips them */
	uint64_t
		field_ttls_dropped; /* hashes of 7.4 that lost field deadlines */
	int version;
	int64_t ctime_s; /* AUX ctime; 0 if absent */
};

/**
 * struct rdb_load_options - how to read
 * @progress: called every few MiB with what has been done; may be NULL
 * @verify:   check the CRC (rdbchecksum)
 * @now_ms:   keys with a deadline before it are left out; 0 keeps all
 * @sep_fixed: the user asked for the store's separator. If the facts in the
 *            dump were written with the other one: -EINVAL then, else the
 *            store is switched (store_set_sep()) before the first key
 *            -- see FORMAT.md for how the reader knows it in time.
 */
struct rdb_load_options {
	void (*progress)(void *arg, uint64_t keys, uint64_t bytes,
			 uint64_t total_bytes);
	void *progress_arg;
	bool verify;
	int64_t now_ms;
	bool sep_fixed;
};

/**
 * rdb_load() - read a dump into an empty store
 * @fd:        open for reading; stays the caller's
 * @extras:    filled; the caller frees it with rdb_extras_fini()
 * @ret_stats: filled, also on failure as far as it got
 * @err:       filled on failure
 *
 * Never allocates more than what the bytes at hand can justify. On failure the
 * store is left half filled: the caller throws it away.
 *
 * Context: blocks on I/O. Return: 0; -EBADMSG; -ENOTSUP; -ENOMEM; -errno of a
 * failed read; -EINVAL for the separator (above).
 */
MUST_CHECK int rdb_load(const struct io *io, int fd, struct store *st,
			const struct rdb_load_options *opt,
			struct rdb_extras *extras,
			struct rdb_load_stats *ret_stats,
			struct rdb_error *err);

/* As rdb_load(), from memory: for tests and fuzzing. */
MUST_CHECK int rdb_load_bytes(struct span bytes, struct store *st,
			      const struct rdb_load_options *opt,
			      struct rdb_extras *extras,
			      struct rdb_load_stats *ret_stats,
			      struct rdb_error *err);

struct rdb_save_options {
	bool compress;	       /* rdbcompression: LZF, as Redis does */
	bool checksum;	       /* rdbchecksum: else 0 is written */
	bool incremental_sync; /* rdb-save-incremental-fsync */
	uint64_t used_memory;  /* for the used-mem AUX field */
	bool aof_base;	       /* for the aof-base AUX field */
};

struct rdb_save_stats {
	uint64_t keys, bytes;
};

/**
 * rdb_write() - write a view as a dump to an open file
 * Neither syncs (beyond the incremental hint) nor closes.
 * Context: blocks on I/O. Return: 0; -errno of the write that failed; what
 * view_next() says.
 */
MUST_CHECK int rdb_write(const struct io *io, int fd, struct view *v,
			 const struct rdb_extras *extras,
			 const struct rdb_save_options *opt,
			 struct rdb_save_stats *ret_stats);

/**
 * rdb_save() - replace @name in @dirfd by a dump of @v: all of it or nothing
 * Temporary RDB_TMP_NAME, fsync, rename, fsync of the directory.
 * Return: 0 once it is durable; -errno: then @name is what it was (or, if just
 *         the directory's sync failed, the new one, of unknown durability) and
 *         no temporary is left.
 */
MUST_CHECK int rdb_save(const struct io *io, int dirfd, const char *name,
			struct view *v, const struct rdb_extras *extras,
			const struct rdb_save_options *opt,
			struct rdb_save_stats *ret_stats);

/* One daemon holds the lock of a DATADIR, so one name is enough, and a start
 * can sweep what a crash left. */
#define RDB_TMP_NAME "temp-keyfs.rdb"

/* --- collections ------------------------------------------------------ */

enum rdb_kind {
	RDB_KIND_STRING,
	RDB_KIND_LIST,
	RDB_KIND_SET,
	RDB_KIND_ZSET,
	RDB_KIND_HASH,
	RDB_KIND_STREAM,
	RDB_KIND_MODULE,
	RDB_KIND_UNKNOWN,
};

/* What a type byte is, e.g. RDB_KIND_HASH for RDB_TYPE_HASH_LISTPACK. */
enum rdb_kind rdb_kind_of(uint8_t rdb_type);

/* Redis' word for it as TYPE answers: "string", "list", "stream", ... */
const char *rdb_kind_name(enum rdb_kind kind);

/**
 * rdb_member_fn - takes one element of a collection
 * @a: list: element; set: member; hash: field; zset: member
 * @b: hash: value; else none
 * @score: zset
 * Return: 0 to go on; anything else ends the walk and is handed back.
 */
typedef int (*rdb_member_fn)(void *arg, struct span a, struct span b,
			     double score);

/**
 * rdb_members() - decode the payload of a list, set, zset or hash
 * Checks every length, end byte, count and pairing.
 * Return: 0; -EBADMSG; -ENOTSUP for another kind; -ENOMEM; what @fn said.
 */
MUST_CHECK int rdb_members(uint8_t rdb_type, struct span payload,
			   rdb_member_fn fn, void *arg);

/**
 * rdb_members_fill() - decode a payload as the files of a directory and hand
 * them to store_members_fill()
 * hash: a file per field; set: an empty file per member; zset: the score, as
 * %.17g and a newline; list: `0` .. `n-1`.
 * Return: as rdb_members() and store_members_fill().
 */
MUST_CHECK int rdb_members_fill(struct store *st, uint64_t ino);

/* --- digest ----------------------------------------------------------- */

enum {
	RDB_DIGEST_HEX = 40
};

/**
 * rdb_digest() - what Redis' DEBUG DIGEST would say of a dump of this view
 * @hex: RDB_DIGEST_HEX characters and a NUL
 * Return: 0; -ENOTSUP if there is a module's value (just the module knows its
 *         digest); -EBADMSG for a payload that does not decode; what
 *         view_next() says.
 */
MUST_CHECK int rdb_digest(struct view *v, char hex[RDB_DIGEST_HEX + 1]);
