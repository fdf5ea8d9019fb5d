/* SPDX-License-Identifier: MIT */
/*
 * Writes a Redis dump (RDB version 10) of the benchmark's data set, so that
 * one can be had without a server and in less time than through one.
 *
 *   gen_dump [-d DIRS] [-c] KEYS FILE
 *
 * Layout: "REDIS0010", SELECTDB 0, RESIZEDB KEYS 0, per key the type byte 0 and
 * two strings, EOF and the CRC64 of all before it. With -c the values are what
 * Redis' DEBUG POPULATE makes, "value:<i>" and zeros up to 100 bytes, which
 * LZF shortens; else they are random bytes, which it does not.
 */
#include <errno.h>
#include <inttypes.h>
#include <isa-l.h>
#include <liblzf/lzf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/dataset.h"

enum {
	RDB_RESIZEDB = 0xfb,
	RDB_SELECTDB = 0xfe,
	RDB_EOF = 0xff,
	RDB_TYPE_STRING = 0,
	RDB_LEN_32 = 0x80,
	RDB_LEN_64 = 0x81,
	RDB_ENC_LZF = 0xc3,
	BUFFER_SIZE = 1 << 20,
	ENTRY_MAX = 512, /* more than a type byte and two strings need */
};

struct out {
	FILE *f;
	uint64_t crc; /* ISA-L's form: the complement of Redis' */
	size_t n;
	unsigned char buf[BUFFER_SIZE];
};

static void flush(struct out *o)
{
	o->crc = crc64_jones_refl(o->crc, o->buf, o->n);
	/* An error sticks to the stream and shows at its end. */
	(void)fwrite(o->buf, 1, o->n, o->f);
	o->n = 0;
}

static void put(struct out *o, const void *data, size_t len)
{
	memcpy(o->buf + o->n, data, len);
	o->n += len;
}

static void put_byte(struct out *o, unsigned byte)
{
	o->buf[o->n++] = (unsigned char)byte;
}

/* Big endian, unlike anything else in the format. */
static void put_wide(struct out *o, uint64_t v, unsigned bytes)
{
	while (bytes--)
		put_byte(o, (unsigned)(v >> (8 * bytes)) & 0xff);
}

static void put_len(struct out *o, uint64_t len)
{
	if (len < 1 << 6) {
		put_byte(o, (unsigned)len);
	} else if (len < 1 << 14) {
		put_wide(o, len | 1 << 14, 2);
	} else if (len <= UINT32_MAX) {
		put_byte(o, RDB_LEN_32);
		put_wide(o, len, 4);
	} else {
		put_byte(o, RDB_LEN_64);
		put_wide(o, len, 8);
	}
}

static void put_string(struct out *o, const void *data, size_t len)
{
	put_len(o, len);
	put(o, data, len);
}

static void put_value(struct out *o, uint64_t i, bool compressible)
{
	unsigned char value[DATASET_VALUE_LEN] = { 0 };
	unsigned char lzf[DATASET_VALUE_LEN];
	unsigned n;

	if (!compressible) {
		dataset_value(value, i, 0);
		put_string(o, value, sizeof(value));
		return;
	}
	(void)snprintf((char *)value, sizeof(value), "value:%" PRIu64, i);
	/* As Redis does: used if it saves at least four bytes. */
	n = lzf_compress(value, sizeof(value), lzf, sizeof(value) - 4);
	if (!n) {
		put_string(o, value, sizeof(value));
		return;
	}
	put_byte(o, RDB_ENC_LZF);
	put_len(o, n);
	put_len(o, sizeof(value));
	put(o, lzf, n);
}

static void put_dump(struct out *o, uint64_t keys, unsigned dirs,
		     bool compressible)
{
	char name[DATASET_NAME_MAX];
	uint64_t i, crc;

	put(o, "REDIS0010", 9);
	put_byte(o, RDB_SELECTDB);
	put_len(o, 0);
	put_byte(o, RDB_RESIZEDB);
	put_len(o, keys);
	put_len(o, 0);
	for (i = 0; i < keys; i++) {
		if (o->n > BUFFER_SIZE - ENTRY_MAX)
			flush(o);
		dataset_name(name, dirs, i);
		put_byte(o, RDB_TYPE_STRING);
		put_string(o, name, strlen(name));
		put_value(o, i, compressible);
	}
	put_byte(o, RDB_EOF);
	flush(o);
	crc = __builtin_bswap64(~o->crc);
	put_wide(o, crc, 8);
	flush(o);
}

static bool parse(const char *text, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v > max)
		return false;
	*ret = v;
	return true;
}

int main(int argc, char **argv)
{
	bool compressible = false, ok = true;
	uint64_t keys, dirs = 0;
	struct out *o;
	int opt;

	while ((opt = getopt(argc, argv, "cd:")) != -1) {
		if (opt == 'c')
			compressible = true;
		else if (opt != 'd' || !parse(optarg, 1000, &dirs))
			ok = false;
	}
	if (!ok || argc - optind != 2 ||
	    !parse(argv[optind], UINT64_C(1) << 40, &keys)) {
		(void)fprintf(stderr, "usage: gen_dump [-d DIRS] [-c] KEYS "
				      "FILE\n");
		return 1;
	}
	o = malloc(sizeof(*o));
	if (!o)
		abort();
	o->crc = ~UINT64_C(0);
	o->n = 0;
	o->f = fopen(argv[optind + 1], "wx");
	if (!o->f) {
		perror(argv[optind + 1]);
		return 1;
	}
	put_dump(o, keys, (unsigned)dirs, compressible);
	ok = !ferror(o->f);
	if (fclose(o->f) || !ok) {
		perror(argv[optind + 1]);
		return 1;
	}
	free(o);
	return 0;
}
