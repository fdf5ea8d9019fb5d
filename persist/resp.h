/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "persist/in.h"
#include "store/alloc.h"
#include "store/defs.h"
#include "store/span.h"

/*
 * The records of an append-only file: commands, as arrays of bulk strings, and
 * annotations, lines that begin with '#'. A codec and nothing else: it knows no
 * command and executes none.
 *
 *	*2 CR LF $3 CR LF DEL CR LF $1 CR LF k CR LF
 *	#TS:1700000000 CR LF
 *
 * The reader is strict: it takes what Redis and keyfs write and no other
 * spelling of it, so that the bytes of a command follow from its arguments.
 *
 *   P1  Records are read in order and without gaps: each begins where the one
 *       before it ended.
 *   P2  What is allocated for a record is at most a small multiple of those of
 *       its bytes that are in the file, whatever lengths it announces.
 *   P3  A record that is no command and no annotation consumes nothing: the
 *       stream stands where it begins, and reading again says the same.
 *
 * Thread-safety: one thread at a time for a reader or a buffer; the functions
 * that have neither may run in any thread.
 */
enum {
	RESP_ARGC_MAX = INT32_MAX,
	RESP_HEAD_MAX = 1 + 20 + 2, /* of "*argc CR LF" and "$len CR LF" */
	RESP_NOTE_LINE = 1023,	    /* with its end: what Redis' loader takes */
	RESP_NOTE_MAX = RESP_NOTE_LINE - 3, /* text between '#' and CR LF */
};

/* --- reading ---------------------------------------------------------- */

enum resp_kind {
	RESP_COMMAND,
	RESP_NOTE,	/* an annotation */
	RESP_END,	/* no record: the file ends here */
	RESP_TORN,	/* a command that the end of the file cuts off */
	RESP_TORN_NOTE, /* an annotation that the end of the file cuts off */
	RESP_NULS,    /* just NUL bytes from `stop` to the end of the file, and
			 * the record cannot do with the first of them */
	RESP_DAMAGED, /* the byte at `stop` belongs to no record */
};

/**
 * struct resp_record - what stands at one place of the file
 * @begin: offset of its first byte
 * @end:   offset behind its last byte; if it is no command and no annotation,
 *         where the file has to be cut to be rid of it: equal to @begin
 * @stop:  offset of the byte that could not be used; the end of the file for
 *         RESP_END, RESP_TORN and RESP_TORN_NOTE; @end for the whole ones
 * @argv:  RESP_COMMAND: @argc arguments, at least one
 * @text:  RESP_NOTE: the line without '#' and without CR LF or LF
 *
 * The spans are valid until the next call on the reader or its stream.
 */
struct resp_record {
	enum resp_kind kind;
	uint64_t begin, end, stop;
	size_t argc;
	const struct span *argv;
	struct span text;
};

struct resp {
	struct in *in;
	uint64_t begin;	   /* of the record that is being read */
	const uint8_t *at; /* its bytes, as far as they are here: in the */
	size_t have;	   /* stream's buffer, or in `copy` if too large */
	size_t pos;	   /* bytes of it that have been looked at */
	bool copied;
	uint8_t *copy;
	size_t copy_cap;
	struct span *argv;
	size_t argv_cap;
};

/* Reads records from @in on, which is borrowed and where in_seek() may choose
 * the first one. Allocates nothing. Ends with resp_fini(). */
void resp_init(struct resp *r, struct in *in);
void resp_fini(struct resp *r);

/**
 * resp_next() - read the next record
 * @ret: set on success
 *
 * Says what is there, whole or not. For the four kinds that are not as they
 * should be the stream's error object tells it in words, for people; its code
 * is then -EBADMSG. After one of them the stream's CRC means nothing.
 *
 * A torn record cannot be told from one whose length was damaged so that it
 * reaches beyond the end of the file: whoever cuts it off wants more evidence
 * where there is any.
 *
 * Context: blocks on I/O. Allocates for commands that exceed IN_BUFFER or have
 *          many arguments (P2).
 * Return:  0; -ENOMEM; -errno of a failed read, -EBADMSG if the file became
 *          shorter meanwhile: the stream is then unusable.
 */
MUST_CHECK int resp_next(struct resp *r, struct resp_record *ret);

/* --- writing ---------------------------------------------------------- */

/* Bytes of a command; SIZE_MAX if that is no number that memory could have.
 * @argc is 1 to RESP_ARGC_MAX, here and below. */
size_t resp_command_size(const struct span *argv, size_t argc);

/* Writes resp_command_size() bytes to @out. Return: behind the last one. */
uint8_t *resp_put_command(uint8_t *out, const struct span *argv, size_t argc);

/* The pieces of a command, for one whose arguments do not lie in one piece:
 * resp_put_argc(), then for each argument resp_put_len(), its bytes, and
 * resp_put_end(). The first two write at most RESP_HEAD_MAX bytes, the last one
 * two. Return: behind the last byte. */
uint8_t *resp_put_argc(uint8_t *out, size_t argc);
uint8_t *resp_put_len(uint8_t *out, uint64_t len);
uint8_t *resp_put_end(uint8_t *out);

/* Bytes of "*n CR LF" or "$n CR LF". */
size_t resp_head_size(uint64_t n);

/* Bytes in a row that grow. Zeroed but for `mem` is empty. */
struct resp_buf {
	struct mem *mem;
	uint8_t *p;
	size_t len, cap;
};
void resp_buf_fini(struct resp_buf *b);

/**
 * resp_append_command() - append a command to a buffer
 * Return: 0; -ENOMEM: nothing was appended.
 */
MUST_CHECK int resp_append_command(struct resp_buf *b, const struct span *argv,
				   size_t argc);

/**
 * resp_append_note() - append an annotation line
 * @text: what stands between '#' and CR LF
 * Return: 0; -EINVAL if it has more than RESP_NOTE_MAX bytes, or a CR, LF or
 *         NUL; -ENOMEM. On failure nothing was appended.
 */
MUST_CHECK int resp_append_note(struct resp_buf *b, struct span text);
