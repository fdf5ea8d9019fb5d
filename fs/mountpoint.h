/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "store/defs.h"

/*
 * What is to be known and done about a mount point before and after the mount.
 * Reads /proc/self/mountinfo. Nothing here may be called by the thread that
 * answers the mount's requests, once it is mounted.
 */

/* The type of our mounts in mountinfo. */
#define MOUNTPOINT_TYPE "fuse.keyfs"

/**
 * mountpoint_open() - find the directory to mount on
 * @path:     as typed
 * @ret_path: set on success: canonical and absolute; owned by the caller
 * @ret_dead: set on success: how many dead mounts were taken away
 * A dead mount of keyfs (its daemon crashed) that lies on it is detached first.
 * Return: a descriptor (O_PATH) of the directory below the mount to be made,
 *         the caller's to close; -ENOENT; -ENOTDIR; -ENOTCONN if a dead mount
 *         of something else is there; -errno.
 */
MUST_CHECK int mountpoint_open(const char *path, char **ret_path,
			       int *ret_dead);

/**
 * mountpoint_is_inside() - whether a directory is another one or below it
 * Compared by device and inode on the way up, so other spellings of the same
 * path, symbolic links and bind mounts are seen through.
 * @inner, @outer: descriptors, O_PATH is enough
 * Return: 1 or 0; -errno.
 */
MUST_CHECK int mountpoint_is_inside(int inner, int outer);

/**
 * mountpoint_find() - look for a mount of keyfs
 * @path:   canonical path; just the topmost mount there counts; NULL: anywhere
 * @source: its source (fsname); NULL: any
 */
bool mountpoint_find(const char *path, const char *source);

/* The same for an open file in the format of mountinfo, read to its end. */
bool mountpoint_find_in(FILE *f, const char *path, const char *source);

/**
 * mountpoint_claim() - keep others from mounting there for a moment
 * Two daemons that start at once would both find the directory free, and the
 * second would hide the first. So the look and the mount are done under a lock
 * (flock) on the directory below. A claim is a courtesy between keyfs: where it
 * cannot be had, nothing but that race is lost.
 * @path: canonical
 * Context: waits a second at most for somebody else's claim.
 * Return: a descriptor; closing it ends the claim; -1 without one.
 */
MUST_CHECK int mountpoint_claim(const char *path);

/**
 * mountpoint_unmount() - take a mount away
 * Without the right to do so itself it asks fusermount3.
 * @lazy: also if it is in use: from the tree at once, for good when the last
 *        user is gone
 * Context: starts a program and waits for it, if not root.
 * Return: 0; -EBUSY; -errno.
 */
MUST_CHECK int mountpoint_unmount(const char *path, bool lazy);

/* Makes the kernel hand over what programs changed through MAP_SHARED and it
 * has not written yet. Waits for the mount's requests to be answered. */
void mountpoint_flush(const char *path);
