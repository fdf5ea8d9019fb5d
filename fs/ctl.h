/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/conf.h"
#include "persist/persist.h"
#include "store/store.h"

/*
 * The control files: `.ctl/` in the root of the mount. Knows nothing of FUSE:
 * fs/ops_ctl.c translates. ctl_table.c is the list: path, mode, show, apply,
 * help.
 *
 *   C1  What is read is what may be written; an unknown value is -EINVAL and
 *       changes nothing. Errors come from write, since shells ignore those of
 *       close. Each write is parsed alone, whatever its offset.
 *   C2  A file's size is true, and what one reader gets is one version: text
 *       is rendered at ctl_getattr() (the kernel asks for it at each read,
 *       since these attributes are never cached), and ctl_read() serves that
 *       rendering. A rendering is replaced only when the text has changed and,
 *       for what changes all the time (info), when it is older than 100 ms;
 *       such files are padded to a constant size. The mtime grows with each
 *       change and each write, so the kernel drops the pages it has; neither
 *       attributes nor names may be cached by it (timeout 0), but for
 *       ctl_is_immutable(). The size of digest is known before its text is: it
 *       is computed when it is read.
 *   C3  Nothing here blocks the caller: what takes time (saving, the digest,
 *       reading the dump, writing keyfs.conf) is done by job threads, which
 *       then complete the operation.
 *
 * Inode numbers have CTL_INO_BIT set; dump.rdb has a new one for each dump.
 *
 * Thread-safety: all functions from any thread.
 */
#define CTL_INO_BIT  (UINT64_C(1) << 63)
#define CTL_ROOT_INO (CTL_INO_BIT | 1)
#define CTL_DIR_NAME ".ctl"

struct ctl;

/* Figures that the FUSE side owns, for info. */
struct ctl_fs_figures {
	uint64_t requests; /* total_commands_processed */
	char transport[32];
};

struct ctl_options {
	struct store *st; /* all borrowed */
	struct persist *p;
	struct conf *conf;
	const char *version, *datadir, *mountpoint;
	uint32_t owner_uid, owner_gid; /* the mounting user */
	void (*figures)(void *arg, struct ctl_fs_figures *ret);
	/* Puts settings in force that were written through config/. Called
	 * from a job thread, one at a time, without any lock of ctl's. */
	void (*apply)(void *arg, const struct conf_values *v);
	void *arg;
};

MUST_CHECK int ctl_new(const struct ctl_options *opt, struct ctl **ret);

/**
 * ctl_free() - complete what is pending with -EINTR and end the jobs
 * To be called when no request can come any more and before persist_close():
 * a save that was asked for here goes on and may end later. NULL is allowed.
 * Context: waits for the jobs under way (a digest, a read of the disk).
 */
void ctl_free(struct ctl *c);

static inline bool ctl_owns(uint64_t ino)
{
	return (ino & CTL_INO_BIT) != 0;
}

/* As their namesakes in store.h; lookup takes a reference. ctl_lookup() of an
 * unknown name is -ENOENT; creating in `.ctl` is the caller's -EACCES. */
MUST_CHECK int ctl_lookup(struct ctl *c, uint64_t dir, struct span name,
			  struct store_attr *ret_attr);
void ctl_forget(struct ctl *c, uint64_t ino, uint64_t n);
MUST_CHECK int ctl_getattr(struct ctl *c, uint64_t ino,
			   struct store_attr *ret_attr);
MUST_CHECK int ctl_readdir(struct ctl *c, uint64_t dir, uint64_t cookie,
			   store_readdir_fn fn, void *arg);

/* True if the attributes and name may be cached for ever by the kernel: true
 * for dump.rdb's inode (each is immutable; just its name moves on), false for
 * the rest. */
bool ctl_is_immutable(struct ctl *c, uint64_t ino);

/* One read or write under way. Allocated by the caller, zeroed but for done and
 * arg, and kept until done() has been called: exactly once, inline or from
 * another thread, and without any lock held. */
struct ctl_op {
	/* read: result is the length of data, which is valid during the call;
	 * write: result is the length taken. Both: -errno on failure. */
	void (*done)(struct ctl_op *op, ssize_t result, const void *data);
	void *arg; /* the caller's */
	void *job; /* ctl's own; NULL at first */
};

/* Reads a file. The permission bits have been checked by the kernel; that the
 * data of dumps are for the owner and root is in their mode. */
void ctl_read(struct ctl *c, uint64_t ino, uint64_t off, size_t len,
	      struct ctl_op *op);

/* Writes a file: one complete value or trigger. */
void ctl_write(struct ctl *c, uint64_t ino, const void *data, size_t len,
	       struct ctl_op *op);

/**
 * ctl_interrupt() - the caller of an operation got a signal
 * If it is still waiting it is completed with -EINTR; what it started (a save)
 * goes on. An interrupt that comes before ctl_read() or ctl_write() keeps them
 * from starting what would wait. Harmless if it is done already, as long as @op
 * still exists.
 */
void ctl_interrupt(struct ctl *c, struct ctl_op *op);

/* --- the table, for the manual and its test --------------------------- */

struct ctl_doc {
	const char *path; /* below .ctl, e.g. "bgsave", "config/" */
	unsigned mode;
	const char *help; /* one line */
};
/* The i-th entry, or NULL after the last. Sorted by path. */
const struct ctl_doc *ctl_doc(int i);
