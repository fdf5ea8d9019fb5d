/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persist/io.h"
#include "store/alloc.h"
#include "store/defs.h"
#include "store/span.h"

/*
 * The manifest of an append-only file: which files make it up, in which order.
 * Text to a list and back, in Redis 7's form, and the steps by which the list
 * changes. Only names are handled here: nothing creates, opens or removes a
 * file that is listed.
 *
 *   M1  A base, if there is one, is loaded first, then the incrs in order; their
 *       numbers increase. The history is never loaded: it waits for removal.
 *   M2  A live file (base, incr) is listed once; no name is a path.
 *   M3  A number that was given out by aof_manifest_next() is not given out
 *       again, and the name that it makes is listed nowhere.
 *   M4  A function that fails leaves the manifest as it was, but for M3.
 *
 * A change that is to reach the disk is made to a copy, which takes the place of
 * the original once aof_manifest_store() has succeeded.
 *
 * Thread-safety: none; a manifest belongs to one thread at a time.
 */
enum {
	AOF_MANIFEST_LINE = 1024,     /* with its LF: Redis reads no longer */
	AOF_MANIFEST_BYTES = 1 << 24, /* of a manifest that is read */
	AOF_NAME_MAX = 255, /* of a file, and file systems' NAME_MAX */
	AOF_NAME_SIZE = AOF_NAME_MAX + 1,
};

/**
 * struct aof_file - one line of a manifest
 * @name:  not empty, no '/', no '\', no NUL; owned
 * @seq:   its number, 1 to INT64_MAX
 * @extra: pairs other than file, seq and type, as they were in the line; owned,
 *         NULL if there are none. They stay with the file until it is dropped.
 * @line:  where it was read, from 1; 0 if it was added since
 */
struct aof_file {
	char *name;
	uint64_t seq;
	char *extra;
	unsigned line;
};

struct aof_files {
	struct aof_file *v;
	size_t n, cap;
};

struct aof_manifest {
	struct mem *mem;
	struct aof_file base; /* name NULL: none */
	struct aof_files incrs, history;
	uint64_t base_seq, incr_seq; /* the last ones in use or given out */
};

/* What is wrong with a manifest. */
struct aof_manifest_error {
	int code;
	unsigned line;	/* from 1; 0 if it is not about a line */
	char what[120]; /* one clause for people, without file or line */
};

/* Starts an empty one. Ends with aof_manifest_fini(). */
void aof_manifest_init(struct aof_manifest *m, struct mem *mem);

/* Frees what it holds and leaves it empty. */
void aof_manifest_fini(struct aof_manifest *m);

/**
 * aof_manifest_copy() - make @to, uninitialised, a copy of @from
 * Return: 0; -ENOMEM: @to is empty.
 */
MUST_CHECK int aof_manifest_copy(struct aof_manifest *to,
				 const struct aof_manifest *from);

/* --- text ------------------------------------------------------------- */

/**
 * aof_manifest_parse() - read a manifest
 * @m:   empty; filled on success
 * @err: filled on failure
 *
 * FORMAT.md says what is taken and what is not. Comments are dropped.
 *
 * Return: 0; -EBADMSG; -ENOMEM.
 */
MUST_CHECK int aof_manifest_parse(struct span text, struct aof_manifest *m,
				  struct aof_manifest_error *err);

/**
 * aof_manifest_print() - write a manifest: base, history, incrs
 * @ret: set on success; the caller gives it back with mem_free() on @m's
 *       account. Not NUL-terminated; empty for an empty manifest, which is one
 *       that nobody loads.
 * Return: 0; -ENOMEM; -ENAMETOOLONG if a line exceeded AOF_MANIFEST_LINE, which
 *         takes a name of about 240 bytes that all need an escape, or as much
 *         of extra pairs.
 */
MUST_CHECK int aof_manifest_print(const struct aof_manifest *m, char **ret,
				  size_t *ret_len);

/**
 * aof_manifest_load() - read the manifest @name in @dirfd
 * Context: blocks on I/O. Return: as aof_manifest_parse(); -ENOENT; -EFBIG over
 *          AOF_MANIFEST_BYTES; -errno. @err is filled in each case.
 */
MUST_CHECK int aof_manifest_load(const struct io *io, int dirfd,
				 const char *name, struct aof_manifest *m,
				 struct aof_manifest_error *err);

/**
 * aof_manifest_store() - replace @name in @dirfd, durably
 * @m: not empty
 * The files that it names, and their names, must be on disk already. If it
 * fails, either version can be in place, and the files of both have to stay
 * until one of them is known to be: load it again, or store again.
 * Context: blocks on I/O. Return: 0; as aof_manifest_print() and io_replace().
 */
MUST_CHECK int aof_manifest_store(const struct io *io, int dirfd,
				  const char *name,
				  const struct aof_manifest *m);

/* --- names ------------------------------------------------------------ */

enum aof_kind {
	AOF_BASE_RDB, /* PREFIX.SEQ.base.rdb: a dump */
	AOF_BASE_AOF, /* PREFIX.SEQ.base.aof: commands */
	AOF_INCR,     /* PREFIX.SEQ.incr.aof: commands */
};

/* The names are a habit and no rule: what a file is, its line says, and what a
 * base holds, its first bytes. PREFIX is appendfilename. */

/* The name of a file. Return: 0; -ENAMETOOLONG. */
MUST_CHECK int aof_name_print(const char *prefix, uint64_t seq,
			      enum aof_kind kind, char name[AOF_NAME_SIZE]);

/* Whether aof_name_print() makes such a name with this prefix, and of what. */
bool aof_name_parse(const char *name, const char *prefix, uint64_t *ret_seq,
		    enum aof_kind *ret_kind);

/* PREFIX.manifest, and temp-PREFIX.manifest from which it is renamed. Return:
 * 0; -ENAMETOOLONG. */
MUST_CHECK int aof_manifest_name(const char *prefix, char name[AOF_NAME_SIZE]);
MUST_CHECK int aof_manifest_temp_name(const char *manifest_name,
				      char name[AOF_NAME_SIZE]);

/* --- what is listed --------------------------------------------------- */

static inline bool aof_manifest_is_empty(const struct aof_manifest *m)
{
	return !m->base.name && m->incrs.n == 0 && m->history.n == 0;
}

/* 'b', 'i' or 'h'; 0 if no line names @name. */
char aof_manifest_find(const struct aof_manifest *m, const char *name);

/* --- steps ------------------------------------------------------------ */

/**
 * aof_manifest_next() - give out a number and the name that goes with it
 * Changes no list: the caller makes the file first. If that name is taken in
 * the directory, by a file that nothing lists, the next call has another one.
 * Return: 0; -ENAMETOOLONG; -EOVERFLOW if no number is left.
 */
MUST_CHECK int aof_manifest_next(struct aof_manifest *m, const char *prefix,
				 enum aof_kind kind, char name[AOF_NAME_SIZE],
				 uint64_t *ret_seq);

/**
 * aof_manifest_add_incr() - let @name follow the other incrs
 * Return: 0; -EINVAL if @seq is not above those of the others, or @name is none
 *         (M2) or listed; -ENOMEM.
 */
MUST_CHECK int aof_manifest_add_incr(struct aof_manifest *m, const char *name,
				     uint64_t seq);

/**
 * aof_manifest_set_base() - make @name the base; one before it becomes history
 * An append-only file of Redis before 7 is taken over as it is: with its own
 * name as base 1.
 * Return: 0; -EINVAL if @name is none (M2) or listed, or @seq is 0; -ENOMEM.
 */
MUST_CHECK int aof_manifest_set_base(struct aof_manifest *m, const char *name,
				     uint64_t seq);

/**
 * aof_manifest_retire_incrs() - make all incrs numbered below @seq history
 * They are what a new base contains. Return: 0; -ENOMEM.
 */
MUST_CHECK int aof_manifest_retire_incrs(struct aof_manifest *m, uint64_t seq);

/* Forgets the history but for its first @keep files. The latest generation is
 * first, and of each the incrs in order, then the base. */
void aof_manifest_drop_history(struct aof_manifest *m, size_t keep);
