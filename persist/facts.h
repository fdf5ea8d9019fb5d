/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/alloc.h"
#include "store/span.h"
#include "store/store.h"

/*
 * The facts hash: POSIX facts as fields of one hash key, see FORMAT.md 3. Text
 * to facts and back, and the collection of all facts of a snapshot. Whoever
 * writes, reads or digests the hash takes its words from here.
 *
 * Thread-safety: none needed; a struct facts_hash belongs to one thread.
 */

/* Name of the key; a number may follow it, see facts_key_print(). */
#define FACTS_KEY "__keyfs__"

/* The field that makes a hash the facts hash, and how its value begins. */
#define FACTS_MAGIC_FIELD "v"
#define FACTS_MAGIC_VALUE "keyfs 1 sep=" /* then the separator */

enum {
	FACTS_PATH_PREFIX = '/', /* of a field that stands for a path */
	FACTS_MAX_LEN = 96,	 /* m7777 u.. g.. t.. a.. d l is 79 at most */
	FACTS_KEY_MAX = 32,
};

/**
 * facts_print() - facts as text
 * @f:   mask is not 0; times before the epoch are fine
 * @buf: FACTS_MAX_LEN bytes; not NUL-terminated
 * Return: the length of the text; 0 if @f->mask is 0.
 */
size_t facts_print(const struct store_facts *f, char *buf);

/**
 * facts_parse() - text to facts
 * @ret: set on success; mask 0 if there is no word that is known
 * Words of later versions (another first letter) are ignored.
 * Return: 0; -EBADMSG if a known word is malformed or comes twice, or if the
 *         words are not separated by single spaces.
 */
MUST_CHECK int facts_parse(struct span text, struct store_facts *ret);

/* The name of the facts hash with number @n, 0 for the one without; @buf has
 * FACTS_KEY_MAX bytes. Return: the name, in @buf. */
struct span facts_key_print(unsigned n, char buf[FACTS_KEY_MAX]);

/* True if a hash of this name may be the facts hash. */
bool facts_key_matches(struct span key);

/**
 * facts_magic_parse() - look at the value of FACTS_MAGIC_FIELD
 * @ret_sep: set on success
 * Return: 0; -ENOTSUP if it is the mark of a later version; -ENOENT if it is
 *         no mark: the hash is the user's.
 */
MUST_CHECK int facts_magic_parse(struct span value, char *ret_sep);

/* --- the fields of a snapshot's hash ---------------------------------- */

struct facts_hash {
	struct mem *mem;
	char magic[sizeof(FACTS_MAGIC_VALUE) + 1]; /* with the separator */
	char *bytes; /* per field: length u32, length u32, name, value */
	size_t len, cap;
	uint64_t n; /* paths */
};

/* Starts an empty one for paths made with @sep. Ends with facts_hash_fini(). */
void facts_hash_init(struct facts_hash *h, struct mem *m, char sep);
void facts_hash_fini(struct facts_hash *h);

/**
 * facts_hash_add() - add a path of database 0
 * @path: relative to the root, the root itself is empty
 * @f:    nothing happens if its mask is 0
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int facts_hash_add(struct facts_hash *h, struct span path,
			      const struct store_facts *f);

/* Number of the hash's fields; 0 if no hash is to be written. */
uint64_t facts_hash_count(const struct facts_hash *h);

/**
 * facts_hash_next() - walk the fields, FACTS_MAGIC_FIELD first
 * @pos: 0 to start; the walk's position
 * @ret_field, @ret_value: valid until the next facts_hash_add()
 * Return: true; false at the end, at once if facts_hash_count() is 0.
 */
bool facts_hash_next(const struct facts_hash *h, size_t *pos,
		     struct span *ret_field, struct span *ret_value);
