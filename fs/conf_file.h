/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "persist/io.h"
#include "store/defs.h"
#include "store/span.h"

/*
 * Redis' configuration syntax: lines, words, quotes; and changing one line of
 * a file while leaving the others as they are. Private to conf*.c.
 */

/* Takes the next line, without its end, off @rest. Return: false at the end. */
bool conf_next_line(struct span *rest, struct span *ret_line);

/**
 * conf_split() - split a line into words as Redis does
 * Words are separated by white space. "..." takes \n \r \t \b \a \xHH and
 * \ before any other byte; '...' takes just \'. A closing quote must be
 * followed by white space.
 * @buf:  line.len + 1 bytes: holds the words, each ended by a NUL
 * @argv: filled with at most @max pointers into @buf
 * Return: the number of words; -EINVAL for quotes that do not match or a NUL;
 *         -E2BIG for more than @max.
 */
MUST_CHECK int conf_split(struct span line, char *buf, char **argv, int max);

/**
 * conf_quote() - write a word so that conf_split() reads it back
 * @buf: 4 * word.len + 3 bytes; gets no NUL
 * Return: the length; the word itself if it needs no quotes.
 */
size_t conf_quote(struct span word, char *buf);

/**
 * conf_file_read() - all of a file
 * @ret_text: the caller frees it; *ret_len bytes
 * Return: 0; -ENOENT; -EFBIG over CONF_FILE_MAX; -ENOMEM; -errno.
 */
enum {
	CONF_FILE_MAX = 1024 * 1024
};
MUST_CHECK int conf_file_read(const struct io *io, int dirfd, const char *name,
			      char **ret_text, size_t *ret_len,
			      mode_t *ret_mode);

/**
 * conf_file_edit() - replace a directive in the text of a file
 * The first line of that directive becomes `name value`, further ones go; if
 * there is none the line is added at the end. All else stays byte for byte.
 * @ret: the caller frees ptr
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int conf_file_edit(struct span text, const char *name,
			      const char *value, struct span *ret);
