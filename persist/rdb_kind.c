/* SPDX-License-Identifier: MIT */

/*
 * What a type byte says. Numbers that a release candidate used, and those of
 * later versions, are unknown here: other servers give them other meanings.
 */

#include "persist/rdb.h"

enum rdb_kind rdb_kind_of(uint8_t rdb_type)
{
	switch (rdb_type) {
	case RDB_TYPE_STRING:
		return RDB_KIND_STRING;
	case RDB_TYPE_LIST:
	case RDB_TYPE_LIST_ZIPLIST:
	case RDB_TYPE_LIST_QUICKLIST:
	case RDB_TYPE_LIST_QUICKLIST_2:
		return RDB_KIND_LIST;
	case RDB_TYPE_SET:
	case RDB_TYPE_SET_INTSET:
	case RDB_TYPE_SET_LISTPACK:
		return RDB_KIND_SET;
	case RDB_TYPE_ZSET:
	case RDB_TYPE_ZSET_2:
	case RDB_TYPE_ZSET_ZIPLIST:
	case RDB_TYPE_ZSET_LISTPACK:
		return RDB_KIND_ZSET;
	case RDB_TYPE_HASH:
	case RDB_TYPE_HASH_ZIPMAP:
	case RDB_TYPE_HASH_ZIPLIST:
	case RDB_TYPE_HASH_LISTPACK:
	case RDB_TYPE_HASH_METADATA:
	case RDB_TYPE_HASH_LISTPACK_EX:
		return RDB_KIND_HASH;
	case RDB_TYPE_STREAM_LISTPACKS:
	case RDB_TYPE_STREAM_LISTPACKS_2:
	case RDB_TYPE_STREAM_LISTPACKS_3:
		return RDB_KIND_STREAM;
	case RDB_TYPE_MODULE_2:
		return RDB_KIND_MODULE;
	default:
		return RDB_KIND_UNKNOWN;
	}
}

const char *rdb_kind_name(enum rdb_kind kind)
{
	static const char *const names[] = {
		[RDB_KIND_STRING] = "string", [RDB_KIND_LIST] = "list",
		[RDB_KIND_SET] = "set",	      [RDB_KIND_ZSET] = "zset",
		[RDB_KIND_HASH] = "hash",     [RDB_KIND_STREAM] = "stream",
		[RDB_KIND_MODULE] = "module", [RDB_KIND_UNKNOWN] = "unknown",
	};

	return names[kind];
}
