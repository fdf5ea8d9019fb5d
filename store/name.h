/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/defs.h"
#include "store/span.h"

/*
 * Key bytes to path and back. The mapping is total and bijective: every byte
 * string is exactly one path, and every path of legal POSIX names is exactly
 * one key (but for the one token that is not a key of its own, `%=`).
 *
 *   separator   '/' splits a key into segments, one component each. With
 *               sep ':' the bytes ':' and '/' are swapped in the whole key
 *               first, so `user:1:a/b` is `user/1/a:b`.
 *   tokens      NUL `%00` (anywhere) · empty segment `%` · "." `%2E` ·
 *               ".." `%2E.` · ".ctl" as first segment `%2Ectl` ·
 *               `%=` the value of a key that is also a directory, as the last
 *               component and not in the root.
 *   stuffing    Literal text that reads as a token gets "25" after its '%';
 *               text that reads as a stuffed token gets one more. So `100%`,
 *               `foo%20bar` and `%41` stay themselves.
 *   long names  A segment of more than NAME_MAX_BYTES encoded bytes is cut
 *               into components of NAME_MAX_BYTES that end in `%+` and a last
 *               one of at least 3 bytes; see name.c for the proof that it
 *               stays bijective and for what becomes of names that look cut
 *               but are not.
 *   prefixes    The path of a key that is another's prefix, up to a separator,
 *               is a prefix of that one's path, up to a '/'.
 *
 * Paths here are relative to the root of a database: components joined by
 * '/', no leading and no trailing slash.
 *
 * Thread-safety: pure functions, no state, no allocation.
 */

enum {
	NAME_MAX_BYTES = 255, /* POSIX NAME_MAX of every Linux filesystem */
};

/* Bytes of buffer that always suffice for name_encode() of @key_len bytes. */
size_t name_encode_bound(size_t key_len);

/**
 * name_encode() - the path of a key
 * @key:  any bytes, any length, also none
 * @sep:  '/' or ':'
 * @path: at least name_encode_bound(key.len) bytes; not NUL-terminated
 * Return: the length of the path, at least 1.
 */
size_t name_encode(struct span key, char sep, char *path);

/**
 * name_decode() - the key of a path
 * @path:      as described above; from name_encode() or made of the names that
 *             a mount was asked for
 * @sep:       '/' or ':'
 * @key:       at least path.len bytes, not overlapping @path; also written to
 *             on failure
 * @ret_len:   set on success: length of the key
 * @ret_value: set on success: the path ends in `%=`, so the key is the one
 *             that its directory stands for; may be NULL
 * Return: 0; -EINVAL if it is no path: empty, an empty component, ".", "..",
 *         a NUL, a component over NAME_MAX_BYTES, `%=` as anything but the
 *         last component, or `.ctl` as the first.
 */
MUST_CHECK int name_decode(struct span path, char sep, char *key,
			   size_t *ret_len, bool *ret_value);

/* True if a component may be created: 1..NAME_MAX_BYTES bytes, no NUL, no '/',
 * neither "." nor "..". */
bool name_is_legal(struct span name);

/* True if @name is the token `%=`. */
static inline bool name_is_value(struct span name)
{
	return name.len == 2 && memcmp(name.ptr, "%=", 2) == 0;
}

/**
 * name_encode_member() - the file name of a member of a collection
 * @member: hash field, set or sorted-set member; any bytes
 * @name:   at least NAME_MAX_BYTES bytes; not NUL-terminated
 *
 * As one segment of a key (there is no root and no `%=` inside a collection),
 * and '/' is `%2F`. A name that would be over NAME_MAX_BYTES is cut at a token
 * boundary and ends in `%+` and 16 hex digits of XXH3-64 of the member, and so
 * is one that would read as such a name (253 bytes or more, the same end). Cut
 * names find their member by listing, not by decoding; all others are told
 * apart by name.
 * Return: the length of the name, 1..NAME_MAX_BYTES.
 */
size_t name_encode_member(struct span member, char *name);
