/* SPDX-License-Identifier: MIT */
/*
 * A Redis server as target, over its unix socket: the command that does what
 * the file operation does, one round trip each, as a program without
 * pipelining would use it.
 */
#include "tests/bench/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_HIREDIS
#include <hiredis/hiredis.h>

struct target {
	redisContext *c;
	char large[256]; /* key of the large value */
};

static int redis_open(const char *where, struct target **ret)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->c = redisConnectUnix(where);
	if (!t->c || t->c->err) {
		(void)fprintf(stderr, "redis: cannot connect to '%s': %s\n",
			      where, t->c ? t->c->errstr : "out of memory");
		if (t->c)
			redisFree(t->c);
		free(t);
		return -EIO;
	}
	*ret = t;
	return 0;
}

static void redis_close(struct target *t)
{
	redisFree(t->c);
	free(t);
}

/* Takes a reply of the type that was expected: what @take makes of it, else
 * -EIO. */
static int64_t finish(struct target *t, redisReply *reply, int type)
{
	int64_t r;

	if (!reply) {
		(void)fprintf(stderr, "redis: %s\n", t->c->errstr);
		return -EIO;
	}
	if (reply->type != type) {
		(void)fprintf(stderr, "redis: unexpected reply, type %d: %s\n",
			      reply->type, reply->str ? reply->str : "");
		r = -EIO;
	} else {
		r = type == REDIS_REPLY_INTEGER ? reply->integer : 0;
	}
	freeReplyObject(reply);
	return r;
}

static int redis_make_dir(struct target *t, const char *dir)
{
	(void)t;
	(void)dir; /* a prefix needs no making */
	return 0;
}

static int set(struct target *t, const char *key, const void *data, size_t len)
{
	return (int)finish(t, redisCommand(t->c, "SET %s %b", key, data, len),
			   REDIS_REPLY_STATUS);
}

static int redis_append(struct target *t, const char *key, const void *data,
			size_t len)
{
	int64_t r =
		finish(t, redisCommand(t->c, "APPEND %s %b", key, data, len),
		       REDIS_REPLY_INTEGER);

	return r < 0 ? (int)r : 0;
}

static int redis_replace(struct target *t, const char *key, const void *data,
			 size_t len)
{
	char tmp[256];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s~", key) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	r = set(t, tmp, data, len);
	if (r < 0)
		return r;
	return (int)finish(t, redisCommand(t->c, "RENAME %s %s", tmp, key),
			   REDIS_REPLY_STATUS);
}

/* Copies a string reply out. */
static ssize_t take_string(struct target *t, redisReply *reply, void *buf,
			   size_t size)
{
	ssize_t n;

	if (!reply || reply->type != REDIS_REPLY_STRING)
		return reply && reply->type == REDIS_REPLY_NIL
			       ? (freeReplyObject(reply), -ENOENT)
			       : (ssize_t)finish(t, reply, REDIS_REPLY_STRING);
	n = (ssize_t)(reply->len < size ? reply->len : size);
	memcpy(buf, reply->str, (size_t)n);
	freeReplyObject(reply);
	return n;
}

static ssize_t redis_read(struct target *t, const char *key, void *buf,
			  size_t size)
{
	return take_string(t, redisCommand(t->c, "GET %s", key), buf, size);
}

/* STRLEN answers 0 for a key that is not there; no value here is empty. */
static int64_t redis_size(struct target *t, const char *key)
{
	int64_t n = finish(t, redisCommand(t->c, "STRLEN %s", key),
			   REDIS_REPLY_INTEGER);

	return n == 0 ? -ENOENT : n;
}

static int redis_remove(struct target *t, const char *key)
{
	int64_t n = finish(t, redisCommand(t->c, "DEL %s", key),
			   REDIS_REPLY_INTEGER);

	if (n < 0)
		return (int)n;
	return n == 1 ? 0 : -ENOENT;
}

static int redis_large_open(struct target *t, const char *key)
{
	if (snprintf(t->large, sizeof(t->large), "%s", key) >=
	    (int)sizeof(t->large))
		return -ENAMETOOLONG;
	return set(t, key, "", 0);
}

static ssize_t redis_large_write(struct target *t, const void *data, size_t len,
				 uint64_t off)
{
	int64_t r = finish(t,
			   redisCommand(t->c, "SETRANGE %s %llu %b", t->large,
					(unsigned long long)off, data, len),
			   REDIS_REPLY_INTEGER);

	return r < 0 ? (ssize_t)r : (ssize_t)len;
}

static ssize_t redis_large_read(struct target *t, void *buf, size_t len,
				uint64_t off)
{
	unsigned long long first = off, last = off + len - 1;

	return take_string(t,
			   redisCommand(t->c, "GETRANGE %s %llu %llu", t->large,
					first, last),
			   buf, len);
}

static int redis_large_forget_cache(struct target *t)
{
	(void)t; /* the client has none */
	return 0;
}

static int redis_large_close(struct target *t)
{
	t->large[0] = '\0';
	return 0;
}

const struct target_ops target_redis = {
	.open = redis_open,
	.close = redis_close,
	.make_dir = redis_make_dir,
	.create = set,
	.overwrite = set,
	.append = redis_append,
	.replace = redis_replace,
	.read = redis_read,
	.size = redis_size,
	.remove = redis_remove,
	.large_open = redis_large_open,
	.large_write = redis_large_write,
	.large_read = redis_large_read,
	.large_forget_cache = redis_large_forget_cache,
	.large_close = redis_large_close,
};

#else /* without hiredis */

static int redis_open(const char *where, struct target **ret)
{
	(void)where;
	(void)ret;
	return -ENOSYS;
}

const struct target_ops target_redis = { .open = redis_open };

#endif
