/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "store/alloc.h"
#include "store/span.h"
#include "store/value.h"

/*
 * The keyspace: every database as a tree of nodes. Knows neither FUSE nor
 * files on disk; DESIGN.md beside this file has the data structures, the
 * invariants and the argument for the snapshot.
 *
 * A node is named by its inode number: a slab index and a generation, so a
 * request that carries one needs no hash. The root of database 0 is
 * STORE_ROOT_INO. A number stays valid while the node is linked or while
 * somebody holds a reference (store_forget() gives them back); after that every
 * call answers -ESTALE, also when the slot has a new tenant.
 *
 * Thread-safety: all functions may be called from any thread at any time. Each
 * takes the store's one lock for a bounded time, never does I/O and never
 * blocks otherwise. Callbacks run under that lock: they may copy memory and
 * nothing else.
 *
 * Errors are -errno, chosen so that a FUSE handler can pass them on. Besides
 * the ones listed, every function that takes an inode number answers -ESTALE
 * for one that is not valid (any more), and every function that needs memory
 * answers -ENOMEM.
 */
struct store;

enum {
	STORE_ROOT_INO = 1,	 /* = FUSE_ROOT_ID: database 0's root */
	STORE_N_DBS_MAX = 16384, /* Redis' own sanity limit for `databases` */
	STORE_FILE_MODE = 0644,	 /* the defaults: such a node stores no facts */
	STORE_DIR_MODE = 0755,
	STORE_LINK_MODE = 0777,
	STORE_TYPED_MODE = 0555,
	STORE_OPAQUE_MODE = 0444,
};

enum store_type {
	STORE_NONE = 0,
	STORE_FILE,    /* a string key: a regular file */
	STORE_DIR,     /* a directory: a key prefix, or made by mkdir */
	STORE_SYMLINK, /* a string key with the target, shown as a link */
	STORE_TYPED,  /* list, set, hash, zset: a read-only directory. The value
			* is the payload of its RDB record, byte for byte */
	STORE_OPAQUE, /* stream, module, unknown: a read-only file of payload */
	STORE_MEMBER, /* a member of a STORE_TYPED: a read-only file */
};

struct store_options {
	uint32_t uid, gid;   /* default owner: such a node stores no facts */
	char sep;	     /* '/' or ':', see name.h */
	uint64_t max_memory; /* bytes; 0: no limit. Growth past it: -ENOSPC */
	uint64_t max_value;  /* bytes a value may be grown to: else -EFBIG */
	uint64_t max_view;   /* bytes of images a snapshot may pin before it is
				* aborted; 0: no limit */
	int64_t (*now_ns)(void); /* wall clock; NULL: CLOCK_REALTIME */
};

/* What stat(2) needs, and the key's own facts. */
struct store_attr {
	uint64_t ino;
	uint64_t size;	 /* bytes; directories: 0 */
	uint64_t blocks; /* 512-byte units of memory, holes not counted */
	int64_t atime_ns, mtime_ns, ctime_ns; /* since the epoch */
	int64_t expire_ms;		      /* since the epoch; 0: never */
	uint32_t mode;			      /* S_IFMT and permission bits */
	uint32_t uid, gid, nlink;
	enum store_type type;
	uint8_t rdb_type; /* STORE_TYPED, STORE_OPAQUE: RDB's type byte */
};

/* --- life ------------------------------------------------------------- */

/**
 * store_new() - make an empty keyspace
 * @ret: set on success; ends with store_free()
 * Return: 0; -ENOMEM; -EINVAL for a bad separator.
 */
MUST_CHECK int store_new(const struct store_options *opt, struct store **ret);

/* Frees everything. No other thread may still use @st. NULL is allowed. */
void store_free(struct store *st);

/* The account from which values for this store must be allocated. */
struct mem *store_mem(struct store *st);

/* The separator given at store_new(). */
char store_sep(const struct store *st);

/**
 * store_set_sep() - change the separator of a keyspace with no keys yet
 * For a loader that finds which one the data were written with.
 * Return: 0; -EBUSY if there are keys; -EINVAL.
 */
MUST_CHECK int store_set_sep(struct store *st, char sep);

void store_set_max_memory(struct store *st, uint64_t bytes);
void store_set_max_value(struct store *st, uint64_t bytes);

/**
 * store_set_growth_error() - refuse whatever would add data, or allow it again
 * @err: positive errno answered (as -err) by create, mkdir, symlink, write,
 *       growing truncate and rename; 0 allows again. Reads, unlink, rmdir and
 *       shrinking go on. For stop-writes-on-bgsave-error and full disks.
 */
void store_set_growth_error(struct store *st, int err);

/* --- requests: names -------------------------------------------------- */

/**
 * store_lookup() - find a name in a directory and take a reference
 * @dir:      directory (STORE_DIR or STORE_TYPED)
 * @name:     one component
 * @ret_attr: set on success; the caller owes store_forget(ino, 1)
 *
 * A key whose deadline has passed reads as absent, swept or not.
 * "." and ".." find the directory itself and its parent; "." of a file finds
 * the file, which is how a file handle becomes a node again.
 *
 * Return: 0; -ENOENT; -ENOTDIR; -ENAMETOOLONG; -EAGAIN if @dir is a
 *         STORE_TYPED whose members are not filled in yet: see
 *         store_members_fill().
 */
MUST_CHECK int store_lookup(struct store *st, uint64_t dir, struct span name,
			    struct store_attr *ret_attr);

/* Gives @n references back. The last one frees an unlinked node. Unknown
 * numbers are ignored. */
void store_forget(struct store *st, uint64_t ino, uint64_t n);

/* Who makes a node, and with which permission bits (umask already applied). */
struct store_cred {
	uint32_t uid, gid, mode;
};

/**
 * store_create() - make a node and take a reference
 * @type:     STORE_FILE, STORE_DIR or STORE_SYMLINK
 * @target:   STORE_SYMLINK: what it points to; else ignored
 * @ret_attr: set on success; the caller owes store_forget(ino, 1)
 *
 * In a set-group-ID directory the group is the directory's, and a new
 * directory is set-group-ID too.
 *
 * Return: 0; -EEXIST; -ENOTDIR; -ENAMETOOLONG; -EINVAL for a name that cannot
 *         be one (a directory `%=`, NUL, '/'); -EPERM in a STORE_TYPED, or
 *         for `.ctl` in a root;
 *         -ENOSPC over max_memory; -ENOENT if @dir is unlinked.
 */
MUST_CHECK int store_create(struct store *st, uint64_t dir, struct span name,
			    enum store_type type, const struct store_cred *cred,
			    struct span target, struct store_attr *ret_attr);

/**
 * store_unlink() - remove a file, link or opaque key
 * A node that is still referenced lives on, unnamed and outside of snapshots.
 * Return: 0; -ENOENT; -EISDIR for STORE_DIR and STORE_TYPED; -EPERM for a
 *         member.
 */
MUST_CHECK int store_unlink(struct store *st, uint64_t dir, struct span name);

/**
 * store_rmdir() - remove an empty directory
 * Return: 0; -ENOENT; -ENOTDIR; -ENOTEMPTY; -EPERM for a STORE_TYPED.
 */
MUST_CHECK int store_rmdir(struct store *st, uint64_t dir, struct span name);

enum {
	STORE_RENAME_NOREPLACE = 1, /* = RENAME_NOREPLACE */
	STORE_RENAME_EXCHANGE = 2,  /* = RENAME_EXCHANGE */
};

/**
 * store_rename() - move a name, replacing what has the new one; O(1)
 * @flags: 0 or one of STORE_RENAME_*
 * The key's expiry moves along; what it replaces is unlinked as by
 * store_unlink() or store_rmdir().
 * Return: 0; -ENOENT; -EEXIST; -ENOTDIR; -EISDIR; -ENOTEMPTY; -EINVAL for a
 *         directory into itself, other flags, or a directory named `%=`;
 *         -EPERM into, out of or within a STORE_TYPED, or onto one.
 */
MUST_CHECK int store_rename(struct store *st, uint64_t dir, struct span name,
			    uint64_t new_dir, struct span new_name,
			    unsigned flags);

/**
 * store_readdir_fn - takes one entry
 * @attr:   complete; "." and ".." come with ino and mode only
 * @cookie: the position after this entry, for the next call
 * Return: true if it was taken, false if there is no room: the walk ends.
 */
typedef bool (*store_readdir_fn)(void *arg, struct span name,
				 const struct store_attr *attr,
				 uint64_t cookie);

/**
 * store_readdir() - list a directory from a position
 * @cookie: 0 to start, or one that an earlier call gave: valid for ever
 * @ref:    take a reference for each entry that @fn took, "." and ".."
 *          excepted (readdirplus)
 *
 * Every name that is neither added nor removed meanwhile appears exactly once
 * in a walk, however many calls it takes. Names added later come at the end.
 *
 * Return: 0; -ENOTDIR; -EAGAIN as store_lookup().
 */
MUST_CHECK int store_readdir(struct store *st, uint64_t dir, uint64_t cookie,
			     bool ref, store_readdir_fn fn, void *arg);

/* --- requests: content ------------------------------------------------ */

/* Return: 0. */
MUST_CHECK int store_getattr(struct store *st, uint64_t ino,
			     struct store_attr *ret_attr);

enum {
	STORE_SET_MODE = 1 << 0,
	STORE_SET_UID = 1 << 1,
	STORE_SET_GID = 1 << 2,
	STORE_SET_SIZE = 1 << 3,
	STORE_SET_ATIME = 1 << 4,
	STORE_SET_MTIME = 1 << 5,
	STORE_SET_ATIME_NOW = 1 << 6,
	STORE_SET_MTIME_NOW = 1 << 7, /* implicit: not kept as a fact */
	STORE_SET_CTIME = 1 << 8,     /* accepted, ignored: ctime is now */
};

/**
 * store_setattr() - change what @mask names; all of it or nothing
 * @in:       mode (permission bits only), uid, gid, size, atime_ns, mtime_ns
 * @ret_attr: set on success; may be NULL
 * Return: 0; -EPERM for a STORE_TYPED, STORE_OPAQUE or STORE_MEMBER; -EISDIR
 *         for the size of a directory; -EFBIG; -ENOSPC.
 */
MUST_CHECK int store_setattr(struct store *st, uint64_t ino, unsigned mask,
			     const struct store_attr *in,
			     struct store_attr *ret_attr);

/* A range of a value, pinned: the bytes stay as they are until it is put. */
struct store_range {
	struct iovec iov[VALUE_IOV_MAX];
	int n_iov;
	size_t len; /* sum of iov */
	struct value *value;
};

/**
 * store_read() - pin a range of a file, link, opaque key or member
 * @len: at most 1 MiB is described; what is past the end is not
 * @ret: set on success; the caller gives it back with store_range_put()
 * Return: 0; -EISDIR.
 */
MUST_CHECK int store_read(struct store *st, uint64_t ino, uint64_t off,
			  size_t len, struct store_range *ret);
void store_range_put(struct store *st, struct store_range *r);

/**
 * store_write() - write at an offset; a gap reads as zeros
 * Return: 0; -EPERM for what is read-only by type; -EISDIR; -EFBIG; -ENOSPC.
 */
MUST_CHECK int store_write(struct store *st, uint64_t ino, uint64_t off,
			   const void *data, size_t len);

/**
 * store_set_expire() - set or remove a key's deadline
 * @expire_ms: since the epoch; 0 removes it
 * Return: 0; -EPERM for a directory or member.
 */
MUST_CHECK int store_set_expire(struct store *st, uint64_t ino,
				int64_t expire_ms);

/* --- expiry ----------------------------------------------------------- */

/* Tells of a key that has been removed because its deadline passed. */
typedef void (*store_expired_fn)(void *arg, uint64_t parent, uint64_t ino,
				 struct span name);

/**
 * store_expire() - remove keys whose deadline has passed
 * @max: at most so many, which bounds how long the lock is held
 * @ret_next_ms: the earliest deadline left; 0 if there is none; may be NULL
 * Return: how many were removed.
 */
int store_expire(struct store *st, int max, store_expired_fn fn, void *arg,
		 int64_t *ret_next_ms);

/* --- collections ------------------------------------------------------ */

struct store_member {
	struct span name; /* a component, see name_encode_member() */
	struct span data; /* its content; copied */
};

/**
 * store_members_fill() - give a STORE_TYPED its members
 * Called once after store_lookup() or store_readdir() said -EAGAIN, with what
 * the payload (store_read()) decodes to. Members are memory only: a snapshot
 * writes the payload.
 * Return: 0, also if somebody else was faster; -ENOTDIR if it is none.
 */
MUST_CHECK int store_members_fill(struct store *st, uint64_t ino,
				  const struct store_member *m, size_t n);

/* --- loading ---------------------------------------------------------- */

struct store_item {
	enum store_type type; /* STORE_FILE, STORE_TYPED or STORE_OPAQUE */
	uint8_t rdb_type;     /* STORE_TYPED, STORE_OPAQUE */
	struct value *value;  /* taken, also on failure */
	int64_t expire_ms;    /* 0: never */
	int64_t idle_s;	      /* -1: not given */
	int freq;	      /* LFU counter; -1: not given */
	int64_t mtime_ns;
};

/* One key to be added; `ret_ino` is set on success. Its number is valid until a
 * later key turns it into a directory with `%=`: node and number move along. */
struct store_put {
	uint32_t db;
	struct span key; /* borrowed for the call */
	struct store_item item;
	uint64_t ret_ino;
};

/**
 * store_put_many() - add keys while loading, with the directories they imply
 * A key that is also a prefix becomes a directory with a `%=` in it, whichever
 * comes first. Deadlines are kept as they are, passed or not. Counts neither
 * as a change nor against max_memory. A few hundred at once are several times
 * as fast as one by one.
 * @v:        the values are taken, also on failure
 * @ret_done: how many were added; on failure also the index of the culprit
 * Return: 0; -EEXIST if a key is there already; -EINVAL for a database number
 *         of STORE_N_DBS_MAX or more.
 */
MUST_CHECK int store_put_many(struct store *st, struct store_put *v, size_t n,
			      size_t *ret_done);

/* One key, as by store_put_many(). @ret_ino may be NULL. */
MUST_CHECK int store_put(struct store *st, uint32_t db, struct span key,
			 const struct store_item *item, uint64_t *ret_ino);

/* Makes an empty store ready for @n keys, so that loading them is faster. Only a
 * hint, but the memory is taken: the caller must have reason to believe it. */
void store_reserve(struct store *st, uint64_t n);

enum {
	STORE_FACT_MODE = 1 << 0,
	STORE_FACT_UID = 1 << 1,
	STORE_FACT_GID = 1 << 2,
	STORE_FACT_MTIME = 1 << 3,   /* somebody set it: utimensat() */
	STORE_FACT_ATIME = 1 << 4,   /* likewise */
	STORE_FACT_DIR = 1 << 5,     /* a directory, though it has no entry */
	STORE_FACT_SYMLINK = 1 << 6, /* the string key is a link's target */
};

/* The POSIX facts of a node that differ from the default. */
struct store_facts {
	unsigned mask; /* STORE_FACT_*; 0: none */
	uint32_t mode, uid, gid;
	int64_t mtime_ns, atime_ns;
};

/**
 * store_put_facts() - give a path its facts while loading
 * @path: as name.h's, in database @db; its `%=` names the value of a directory
 * Return: 0; -ENOENT if nothing has that path and @f does not say it is a
 *         directory (Redis may have deleted the key): harmless; -EINVAL for
 *         what is no path.
 */
MUST_CHECK int store_put_facts(struct store *st, uint32_t db, struct span path,
			       const struct store_facts *f);

/* --- figures ---------------------------------------------------------- */

struct store_stats {
	uint64_t n_keys;    /* all databases; members and links count as Redis
			     * would: members no, links yes */
	uint64_t n_dirs;    /* of database 0 */
	uint64_t n_expires; /* keys that have a deadline */
	uint64_t n_dbs;	    /* highest database with a root, plus 1 */
	uint64_t used_bytes, max_memory, peak_bytes;
	uint64_t changes;    /* ever; the last snapshot's is view_changes() */
	uint64_t expired;    /* keys removed by deadline, ever */
	uint64_t view_bytes; /* extra memory pinned by the current snapshot */
};
void store_get_stats(struct store *st, struct store_stats *ret);

/* Keys, and keys with a deadline, of one database: Redis' DBSIZE. */
void store_db_size(struct store *st, uint32_t db, uint64_t *ret_keys,
		   uint64_t *ret_expires);

/**
 * store_check() - walk everything and verify the invariants of DESIGN.md
 * For tests: takes time and holds the lock.
 * Return: 0; -EBADMSG, with the first violation on stderr.
 */
MUST_CHECK int store_check(struct store *st);
