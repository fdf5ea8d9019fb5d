/* SPDX-License-Identifier: MIT */
#pragma once

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/dir.h"
#include "store/expire.h"
#include "store/name.h"
#include "store/slab.h"
#include "store/store.h"
#include "store/table.h"
#include "store/view.h"

/*
 * What the files of store/ share: the node, the store, and the few functions
 * that keep a node's parts consistent. Private to store/; see DESIGN.md.
 *
 * Everything here runs under st->lock, which the functions of store.h and
 * view.h take. Functions that can fail fail before they change anything, so a
 * request does its fallible steps first and then cannot fail any more.
 */

/* Saturated: such a node is never freed before the end. */
#define NODE_LOOKUP_MAX UINT32_MAX

enum {
	NODE_NAME_INLINE = 16,
	NODE_GEN_MAX = INT32_MAX, /* inode numbers stay below 2^63 */
	NODE_ROOT = 1,		  /* slab index of database 0's root */
};

/* 56 bytes: 2 million keys are 112 MB of nodes. */
struct node {
	uint32_t gen;	   /* grows when the slot gets a new tenant */
	uint32_t parent;   /* free: the next free slot; a root: itself */
	uint64_t pos : 48; /* position in the parent's dir; a root: database */
	uint64_t type : 3; /* enum store_type */
	uint64_t name_len : 8;
	uint64_t imaged : 1; /* the view holds its image */
	uint64_t born : 1;   /* after the cut, in a slot the view has ahead */
	uint64_t orphan : 1; /* unlinked: referenced, but has no name */
	uint64_t filled : 1; /* STORE_TYPED: members are there */
	uint64_t mtime_set : 1; /* mtime is a fact: utimensat() */
	int64_t mtime_ns;
	uint32_t n_lookup; /* references: the kernel's */
	uint32_t ext;	   /* struct ext, 0: all defaults */
	union {
		struct value *value; /* all but STORE_DIR */
		struct dir *dir;     /* STORE_DIR */
	};
	union {
		char name_inline[NODE_NAME_INLINE];
		char *name_ptr; /* name_len > NODE_NAME_INLINE */
	};
};
static_assert(sizeof(struct node) == 56, "what a key costs");

/* What most nodes do not have. */
struct ext {
	uint32_t place; /* in the deadline heap, 0: not; free: link */
	uint32_t mode, uid, gid;
	int64_t atime_ns, ctime_ns; /* valid if the flag says so, else mtime */
	int64_t expire_ms;
	int64_t idle_s;
	int16_t freq;
	uint8_t rdb_type;
	bool has_atime, has_ctime;
	bool atime_set;	     /* atime is a fact */
	struct dir *members; /* STORE_TYPED */
};

struct db {
	uint32_t root; /* 0: none */
	uint64_t n_keys, n_expires;
};

/* The directory that store_put() used last: keys come in runs of one prefix. */
struct load_cache {
	char *path; /* of the key: then of its directory */
	size_t cap, dir_len;
	char *dir_path;
	size_t dir_cap;
	uint32_t db, dir; /* dir: 0 if the cache is empty */
	uint64_t changes; /* st->changes when it was filled */
};

struct store {
	pthread_mutex_t lock;
	_Atomic unsigned n_waiting; /* for the lock, spinning or asleep */
	struct mem mem;
	uint64_t hash_secret; /* random, so that nobody can aim at a bucket */
	struct store_options opt;
	int growth_error; /* positive errno, 0: none */
	struct slab nodes, exts;
	struct table table; /* (parent, name) to node */
	struct expire expire;
	struct db *db;
	uint32_t n_dbs;
	uint64_t n_keys, n_dirs, n_members;
	uint64_t changes, expired;
	uint64_t peak_bytes;
	struct view *view; /* the one that is open, or NULL */
	struct load_cache load;
};

/* Takes the lock when it was not free at once: see node.c. */
pthread_mutex_t *node_lock_contended(struct store *st);

/* Lets those who wait for the lock go first: for long walks that take it again
 * and again, before each time. Waits for a bounded time. */
void node_yield_lock(struct store *st);

static inline pthread_mutex_t *node_lock(struct store *st)
{
	if (LIKELY(pthread_mutex_trylock(&st->lock) == 0))
		return &st->lock;
	return node_lock_contended(st);
}

static inline void node_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Holds the store's lock until the end of the scope. */
#define LOCKED(st)                                                             \
	_cleanup_(node_unlock) __attribute__((unused))                         \
	pthread_mutex_t *locked_ = node_lock(st)

/* --- access ----------------------------------------------------------- */

static inline struct node *node_at(const struct store *st, uint32_t idx)
{
	return slab_at(&st->nodes, idx);
}

static inline struct ext *ext_of(const struct store *st, const struct node *n)
{
	return n->ext ? slab_at(&st->exts, n->ext) : NULL;
}

static inline uint64_t node_ino(const struct store *st, uint32_t idx)
{
	return (uint64_t)node_at(st, idx)->gen << 32 | idx;
}

/* The node of an inode number. Return: its index; 0 if there is none. */
uint32_t node_resolve(const struct store *st, uint64_t ino);

static inline struct span node_name(const struct node *n)
{
	return (struct span){ n->name_len > NODE_NAME_INLINE ? n->name_ptr
							     : n->name_inline,
			      n->name_len };
}

/* A key, as Redis counts: what a dump has a record for. */
static inline bool node_is_key(const struct node *n)
{
	return n->type == STORE_FILE || n->type == STORE_SYMLINK ||
	       n->type == STORE_TYPED || n->type == STORE_OPAQUE;
}

/* The entries of a directory-like node, NULL if it has none (yet). */
struct dir *node_entries(const struct store *st, const struct node *n);

/* The database a linked node belongs to. */
uint32_t node_db(const struct store *st, uint32_t idx);

int64_t store_now_ns(const struct store *st);
bool node_is_expired(const struct store *st, const struct node *n);
void node_attr(const struct store *st, uint32_t idx, struct store_attr *ret);

/* --- life ------------------------------------------------------------- */

/* A node of @type without name, place or content. Return: its index; 0 if out
 * of memory. Undone by node_discard(). */
uint32_t node_new(struct store *st, enum store_type type);

/* Takes back a node that was never linked. */
void node_discard(struct store *st, uint32_t idx);

/* Frees an unlinked node if nobody refers to it. */
void node_release(struct store *st, uint32_t idx);

/* The extension, made if need be. NULL if out of memory. */
struct ext *node_ext(struct store *st, struct node *n);

/* Gives the extension back if all of it is default. */
void node_ext_trim(struct store *st, struct node *n);

/* --- names ------------------------------------------------------------ */

/* The child of a directory-like node. Return: its index; 0 if none. */
uint32_t node_child(const struct store *st, uint32_t dir, struct span name);

/* Links a nameless node into a directory. Return: 0; -ENOMEM, and it is as
 * before. */
MUST_CHECK int node_link(struct store *st, uint32_t idx, uint32_t dir,
			 struct span name);

/* The same two for a caller that hashes ahead, to have the memory at hand. */
uint64_t node_hash(const struct store *st, uint32_t dir, struct span name);
uint32_t node_child_at(const struct store *st, uint32_t dir, struct span name,
		       uint64_t hash);
MUST_CHECK int node_link_at(struct store *st, uint32_t idx, uint32_t dir,
			    struct span name, uint64_t hash);

/**
 * node_move() - give a linked node another name, which is free
 * Return: 0; -ENOMEM, and it is as before.
 */
MUST_CHECK int node_move(struct store *st, uint32_t idx, uint32_t dir,
			 struct span name);

/* Gives @idx the name and place of @victim, which is removed for good; needs no
 * memory and cannot fail. The view has been asked before. */
void node_replace(struct store *st, uint32_t idx, uint32_t victim);

/**
 * node_insert_above() - give a nameless directory the name and place of a key,
 * and link the key into it as @name
 * Return: 0; -ENOMEM, and both are as before.
 */
MUST_CHECK int node_insert_above(struct store *st, uint32_t dir, uint32_t key,
				 struct span name);

/* Exchanges the names and places of two nodes. Cannot fail. */
void node_swap(struct store *st, uint32_t a, uint32_t b);

/* Removes a node for good: unlinks, uncounts, ends its deadline, and frees it
 * when nobody refers to it. The view has been asked before. Cannot fail. */
void node_remove(struct store *st, uint32_t idx);

/* Removes the members of a collection, which keeps its payload. */
void node_remove_members(struct store *st, uint32_t coll);

/* Counts a key (or directory) that has just been linked. */
void node_count(struct store *st, uint32_t idx);

/* Sets or removes (0) a deadline. Return: 0; -ENOMEM. */
MUST_CHECK int node_set_expire(struct store *st, uint32_t idx, int64_t ms);

/* The content or the entries have changed: mtime and ctime are now, and what
 * utimensat() said before is no fact any more. */
void node_touch(struct store *st, uint32_t idx, int64_t now_ns);

/* Sets ctime, if there is memory to keep one that differs from mtime. */
void node_set_ctime(struct store *st, uint32_t idx, int64_t now_ns);

/* The root of a database, made if need be. Return: its index; 0 if out of
 * memory. */
uint32_t store_root(struct store *st, uint32_t db);

/* The facts of a node as they are stored; DIR and SYMLINK included. */
void node_facts(const struct store *st, const struct node *n,
		const struct ext *ext, bool is_empty, struct store_facts *ret);

/* --- the view --------------------------------------------------------- */

/**
 * view_preserve() - to be called before anything of a node changes that a view
 * shows: value, name, parent, deadline, facts, a directory's emptiness
 * Sets the node's image aside if the open view still needs it. Idempotent.
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int view_preserve(struct store *st, uint32_t idx);

/* Accounts for what a change of a node's value costs because the view holds the
 * old one: @bytes of copies, or of what was cut off; all that was not accounted
 * for yet. Together never more than the old value. Nothing if the view does not
 * hold it. */
void view_charge(struct store *st, uint32_t idx, uint64_t bytes);
void view_charge_rest(struct store *st, uint32_t idx);

/* Extra memory pinned by the open view, 0 without one. */
uint64_t view_extra_bytes(const struct store *st);

/* Marks a node that is made while a view is open. */
void view_note_birth(struct store *st, uint32_t idx);

/* Whether a slot whose node is gone must wait for the view: it then frees the
 * slot itself. */
bool view_holds_slot(const struct store *st, uint32_t idx);

/* Takes a slot for a new node: directories made while a view is open never
 * reuse one that the view covers. */
uint32_t view_get_slot(struct store *st, enum store_type type);
