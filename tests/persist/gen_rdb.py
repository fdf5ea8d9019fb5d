#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes dumps of any RDB version, with values of any type, well or ill formed.

    gen_rdb.py DATA_DIR [CORPUS_DIR]

makes the files of tests/data and the fuzzer's corpus again. As a module it gives
other tests the pieces: a Dump, encoders that return the bytes of a payload, and
digest(), which says what a redis-server would answer to DEBUG DIGEST.

Nothing here shares a line with the program under test: the encoders follow the
format's description alone.
"""

import hashlib
import os
import struct
import sys

(STRING, LIST, SET, ZSET, HASH, ZSET_2, MODULE_PRE_GA, MODULE_2) = range(8)
(HASH_ZIPMAP, LIST_ZIPLIST, SET_INTSET, ZSET_ZIPLIST, HASH_ZIPLIST,
 LIST_QUICKLIST, STREAM_LISTPACKS, HASH_LISTPACK, ZSET_LISTPACK,
 LIST_QUICKLIST_2, STREAM_LISTPACKS_2, SET_LISTPACK, STREAM_LISTPACKS_3,
 HASH_METADATA_PRE_GA, HASH_LISTPACK_EX_PRE_GA, HASH_METADATA,
 HASH_LISTPACK_EX) = range(9, 26)

FACTS_KEY = b"__keyfs__"


# --- numbers -------------------------------------------------------------

def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x95AC9329AC4BC9B5 if i & 1 else 0)
        table.append(i)
    return table


_CRC = _crc_table()


def crc64(data):
    """The CRC of Redis: crc64(b"123456789") == 0xe9c6d914c4b8d9ca."""
    crc = 0
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def length(n, form=None):
    """A length; form 6, 14, 32 or 64 instead of the shortest."""
    if form is None:
        form = 6 if n < 64 else 14 if n < 16384 else 32 if n < 1 << 32 else 64
    if form == 6:
        return bytes([n])
    if form == 14:
        return struct.pack(">H", n | 0x4000)
    return b"\x80" + struct.pack(">I", n) if form == 32 else (
        b"\x81" + struct.pack(">Q", n))


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def zigzag(n):
    n &= (1 << 64) - 1
    return ((n << 1) ^ (-(n >> 63))) & ((1 << 64) - 1)


def times(values):
    """The value of an AUX field `keyfs-times`."""
    out, previous = b"\x01", 0
    for t in values:
        out += varint(zigzag(t - previous))
        previous = t
    return out


# --- strings -------------------------------------------------------------

def raw(data):
    return length(len(data)) + data


def integer(n):
    """A string in integer form: 8, 16 or 32 bits."""
    for kind, fmt, limit in ((0, "<b", 7), (1, "<h", 15), (2, "<i", 31)):
        if -1 << limit <= n < 1 << limit:
            return bytes([0xC0 | kind]) + struct.pack(fmt, n)
    raise ValueError(n)


def lzf(data):
    """A string in LZF form: runs of one byte become matches."""
    packed, i, literals = bytearray(), 0, bytearray()

    def flush():
        for at in range(0, len(literals), 32):
            part = literals[at:at + 32]
            packed.append(len(part) - 1)
            packed.extend(part)
        literals.clear()

    while i < len(data):
        run = 0
        while i and i + run < len(data) and run < 264 and (
                data[i + run] == data[i - 1]):
            run += 1
        if run < 3:
            literals.append(data[i])
            i += 1
            continue
        flush()
        if run - 2 < 7:
            packed.append(run - 2 << 5)
        else:
            packed += bytes([7 << 5, run - 9])
        packed.append(0)  # distance 1
        i += run
    flush()
    return b"\xc3" + length(len(packed)) + length(len(data)) + bytes(packed)


def string(value):
    """An int in integer form, all else as it is."""
    return integer(value) if isinstance(value, int) else raw(value)


# --- compact forms -------------------------------------------------------

def _signed(n, sizes):
    for size, tag in sizes:
        if -1 << 8 * size - 1 <= n < 1 << 8 * size - 1:
            return tag + (n & (1 << 8 * size) - 1).to_bytes(size, "little")
    raise ValueError(n)


def listpack_entry(value):
    if isinstance(value, int):
        if 0 <= value < 128:
            body = bytes([value])
        elif -4096 <= value < 4096:
            body = struct.pack(">H", 0xC000 | value & 0x1FFF)
        else:
            body = _signed(value, ((2, b"\xf1"), (3, b"\xf2"), (4, b"\xf3"),
                                   (8, b"\xf4")))
    elif len(value) < 64:
        body = bytes([0x80 | len(value)]) + value
    elif len(value) < 4096:
        body = struct.pack(">H", 0xE000 | len(value)) + value
    else:
        body = b"\xf0" + struct.pack("<I", len(value)) + value
    n, back = len(body), []
    size = 1 + sum(n >= limit for limit in (128, 16383, 2097151, 268435455))
    for i in range(size):
        back.append(n >> 7 * (size - 1 - i) & 127 | (128 if i else 0))
    return body + bytes(back)


def listpack(items, count=None):
    body = b"".join(map(listpack_entry, items))
    count = min(len(items), 65535) if count is None else count
    return struct.pack("<IH", len(body) + 7, count) + body + b"\xff"


def ziplist(items, count=None):
    out, previous, tail = b"", 0, 10
    for value in items:
        tail = 10 + len(out)
        if isinstance(value, int):
            body = (bytes([0xF1 + value]) if 0 <= value <= 12 else
                    _signed(value, ((1, b"\xfe"), (2, b"\xc0"), (3, b"\xf0"),
                                    (4, b"\xd0"), (8, b"\xe0"))))
        elif len(value) < 64:
            body = bytes([len(value)]) + value
        elif len(value) < 16384:
            body = struct.pack(">H", 0x4000 | len(value)) + value
        else:
            body = b"\x80" + struct.pack(">I", len(value)) + value
        head = (bytes([previous]) if previous < 254 else
                b"\xfe" + struct.pack("<I", previous))
        out += head + body
        previous = len(head + body)
    count = min(len(items), 65535) if count is None else count
    return struct.pack("<IIH", len(out) + 11, tail, count) + out + b"\xff"


def intset(values, width=None):
    values = sorted(values)
    if width is None:
        width = next(w for w in (2, 4, 8) if all(
            -1 << 8 * w - 1 <= v < 1 << 8 * w - 1 for v in values))
    return struct.pack("<II", width, len(values)) + b"".join(
        (v & (1 << 8 * width) - 1).to_bytes(width, "little") for v in values)


def zipmap(pairs, unused=0, count=None):
    def size(n):
        return bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)
    count = min(len(pairs), 254) if count is None else count
    out = bytes([count])
    for field, value in pairs:
        out += size(len(field)) + field + size(len(value))
        out += bytes([unused]) + value + b"\0" * unused
    return out + b"\xff"


# --- payloads ------------------------------------------------------------

def strings(items):
    """LIST, SET."""
    return length(len(items)) + b"".join(map(string, items))


def pairs(items):
    """HASH."""
    return length(len(items)) + b"".join(string(f) + string(v)
                                         for f, v in items)


def zset_text(items):
    out = length(len(items))
    for member, score in items:
        text = b"%.17g" % score
        special = {"inf": b"\xfe", "-inf": b"\xff", "nan": b"\xfd"}
        out += string(member) + special.get(
            text.decode(), bytes([len(text)]) + text)
    return out


def zset_binary(items):
    return length(len(items)) + b"".join(
        string(m) + struct.pack("<d", score) for m, score in items)


def quicklist(nodes):
    """LIST_QUICKLIST of lists of elements."""
    return length(len(nodes)) + b"".join(raw(ziplist(n)) for n in nodes)


def quicklist_2(nodes):
    """LIST_QUICKLIST_2: a list is a packed node, bytes are a plain one."""
    return length(len(nodes)) + b"".join(
        b"\x01" + raw(n) if isinstance(n, bytes) else b"\x02" + raw(listpack(n))
        for n in nodes)


def hash_metadata(items):
    """HASH_METADATA: field, value, deadline in ms or 0."""
    deadlines = [t for _, _, t in items if t]
    first = min(deadlines, default=0)
    return struct.pack("<q", first) + length(len(items)) + b"".join(
        length(t - first + 1 if t else 0) + string(f) + string(v)
        for f, v, t in items)


def hash_listpack_ex(items):
    deadlines = [t for _, _, t in items if t]
    flat = [x for item in items for x in item]
    return struct.pack("<q", min(deadlines, default=0)) + raw(listpack(flat))


def stream_node(first, master, entries):
    """first: id; master: fields; entries: id, flags, pairs."""
    live = sum(not flags & 1 for _, flags, _ in entries)
    flat = [live, len(entries) - live, len(master), *master, 0]
    for (ms, seq), flags, fields in entries:
        flat += [flags, ms - first[0], seq - first[1]]
        if flags & 2:
            flat += [v for _, v in fields] + [3 + len(fields)]
        else:
            flat += [len(fields), *(x for pair in fields for x in pair),
                     4 + 2 * len(fields)]
    return raw(struct.pack(">QQ", *first)) + raw(listpack(flat))


def stream(version, nodes, n, last, groups=()):
    """Version 1, 2 or 3; groups: name, last id, pending ids, consumers of
    name and pending ids."""
    out = length(len(nodes)) + b"".join(nodes)
    out += length(n) + length(last[0]) + length(last[1])
    if version > 1:
        out += length(1) + length(0) + length(0) + length(0) + length(n)
    out += length(len(groups))
    for name, group_last, pending, consumers in groups:
        out += raw(name) + length(group_last[0]) + length(group_last[1])
        if version > 1:
            out += length(len(pending))
        out += length(len(pending))
        for ident in pending:
            out += struct.pack(">QQ", *ident) + struct.pack("<q", 77) + b"\x01"
        out += length(len(consumers))
        for consumer, ids in consumers:
            out += raw(consumer) + struct.pack("<q", 88)
            if version > 2:
                out += struct.pack("<q", 99)
            out += length(len(ids)) + b"".join(
                struct.pack(">QQ", *ident) for ident in ids)
    return out


def module(ident, items):
    """MODULE_2: items are tag and bytes."""
    return length(ident, 64) + b"".join(
        length(tag) + data for tag, data in items) + b"\0"


# --- dumps ---------------------------------------------------------------

class Dump:
    """Records, one after the other; done() ends it.

    d = Dump(10)
    d.key(b"name", STRING, raw(b"value"), expire_ms=2000000000000)
    data = d.done()
    """

    def __init__(self, version=10, magic=None):
        self.version = version
        self.out = bytearray(magic or b"REDIS%04d" % version)

    def bytes(self, data):
        self.out += data
        return self

    def op(self, code, data=b""):
        return self.bytes(bytes([code]) + data)

    def aux(self, name, value):
        return self.op(250, string(name) + string(value))

    def select(self, db):
        return self.op(254, length(db))

    def resize(self, keys, expires):
        return self.op(251, length(keys) + length(expires))

    def key(self, name, kind, payload, expire_ms=None, expire_s=None,
            idle=None, freq=None):
        if expire_s is not None:
            self.op(253, struct.pack("<i", expire_s))
        if expire_ms is not None:
            self.op(252, struct.pack("<q", expire_ms))
        if idle is not None:
            self.op(248, length(idle))
        if freq is not None:
            self.op(249, bytes([freq]))
        return self.op(kind, string(name) + payload)

    def string(self, name, value, **prefix):
        return self.key(name, STRING, string(value), **prefix)

    def facts(self, fields, sep="/", name=FACTS_KEY, kind=HASH):
        items = [(b"v", b"keyfs 1 sep=" + sep.encode()), *fields.items()]
        flat = [x for item in items for x in item]
        return self.key(name, kind, pairs(items) if kind == HASH
                        else raw(listpack(flat)))

    def done(self, crc=None):
        self.op(255)
        if self.version >= 5:
            value = crc64(self.out) if crc is None else crc
            self.out += struct.pack("<Q", value)
        return bytes(self.out)


# --- digest --------------------------------------------------------------

def _sha1(data):
    return hashlib.sha1(data).digest()


def _xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def _mix(total, data):
    return _sha1(_xor(total, _sha1(data)))


def _bytes(value):
    return b"%d" % value if isinstance(value, int) else value


def key_digest(name, kind, value, expires=False):
    """kind and value: "string" bytes; "list" and "set" items; "zset" and "hash"
    pairs; "stream" pairs of id and pairs."""
    numbers = {"string": 0, "list": 1, "set": 2, "zset": 3, "hash": 4,
               "stream": 6}
    d = _mix(_mix(bytes(20), name), struct.pack(">I", numbers[kind]))
    if kind == "string":
        d = _mix(d, _bytes(value))
    elif kind == "list":
        for item in value:
            d = _mix(d, _bytes(item))
    elif kind == "set":
        for item in value:
            d = _xor(d, _sha1(_bytes(item)))
    elif kind in ("zset", "hash"):
        for a, b in value:
            b = b"%.17g" % b if kind == "zset" else _bytes(b)
            d = _xor(d, _sha1(_mix(_mix(bytes(20), _bytes(a)), b)))
    else:
        for (ms, seq), fields in value:
            d = _mix(d, b"%d.%d" % (ms, seq))
            for pair in fields:
                for item in pair:
                    d = _mix(d, _bytes(item))
    return _xor(d, _sha1(b"!!expire!!")) if expires else d


def digest(dbs):
    """What DEBUG DIGEST says of {db: [key_digest(...), ...]}."""
    total = bytes(20)
    for db in sorted(dbs):
        if dbs[db]:
            total = _mix(total, struct.pack(">I", db))
            for d in dbs[db]:
                total = _xor(total, _sha1(d))
    return total.hex()


# --- a data set of each version ------------------------------------------

LATER = 4102444800000  # 2100

ITEMS = [b"a", b"", 7, -1, 300, -70000, 1 << 40, b"x" * 63, b"y" * 64,
         b"z" * 300, b"7x", -4096, 4095, 4096, 12, 13, 127, 128]
SOME = [b"m", 5, b"long " * 60]
SCORES = [(b"one", 1.0), (b"half", 0.5), (b"big", 1e300), (b"inf",
          float("inf")), (b"minus", float("-inf")), (b"third", 1 / 3)]
WHOLE = [(b"one", 1), (b"five", 5), (77, -1000), (b"txt", b"2.5")]
FIELDS = [(b"f", b"v"), (b"", b"empty field"), (b"n", 42), (b"big", b"B" * 300)]
TEXT = [(b"f", b"v"), (b"", b"empty"), (b"long", b"L" * 260)]
NUMBERS = [-3, 0, 5, 1000, 70000, 1 << 40]
IDS = [(1000, 0), (1000, 1), (2000, 5), (2001, 0)]
NODE = stream_node(IDS[0], [b"t", b"u"], [
    (IDS[0], 2, [(b"t", b"1"), (b"u", 2)]),
    (IDS[1], 3, [(b"t", b"gone"), (b"u", 0)]),
    (IDS[2], 0, [(b"other", b"text"), (b"", -5), (b"x", b"X" * 100)]),
    (IDS[3], 2, [(b"t", 99999), (b"u", b"last")])])
ENTRIES = [(IDS[0], [(b"t", b"1"), (b"u", 2)]),
           (IDS[2], [(b"other", b"text"), (b"", -5), (b"x", b"X" * 100)]),
           (IDS[3], [(b"t", 99999), (b"u", b"last")])]
GROUPS = [(b"g", IDS[2], [IDS[0], IDS[2]], [(b"c1", [IDS[0]]),
                                          (b"c2", [IDS[2]])]),
          (b"empty", (0, 0), [], [])]
WHOLE_PAIRS = [(m, float(s)) for m, s in WHOLE]
FLAT = [x for item in WHOLE for x in item]
TTL_FIELDS = [(b"f", b"v", LATER + 5), (b"g", b"w", 0), (b"h", 3, LATER)]
TTL_PAIRS = [(f, v) for f, v, _ in TTL_FIELDS]

# First version, name, type, payload, kind, value.
VALUES = [
    (1, b"str", STRING, raw(b"hello"), "string", b"hello"),
    (1, b"empty", STRING, raw(b""), "string", b""),
    (1, b"", STRING, raw(b"of the empty key"), "string", b"of the empty key"),
    (1, b"i8", STRING, integer(-7), "string", -7),
    (1, b"i16", STRING, integer(-3000), "string", -3000),
    (1, b"i32", STRING, integer(2000000000), "string", 2000000000),
    (1, b"lzf", STRING, lzf(b"ab" + b"c" * 900 + b"d"), "string",
     b"ab" + b"c" * 900 + b"d"),
    (1, b"bin\0\xff/..", STRING, raw(bytes(range(256))), "string",
     bytes(range(256))),
    (1, b"list", LIST, strings(SOME), "list", SOME),
    (1, b"set", SET, strings(SOME), "set", SOME),
    (1, b"zset", ZSET, zset_text(SCORES), "zset", SCORES),
    (1, b"hash", HASH, pairs(FIELDS), "hash", FIELDS),
    (2, b"zipmap", HASH_ZIPMAP, raw(zipmap(TEXT, 3)), "hash", TEXT),
    (2, b"ziplist", LIST_ZIPLIST, raw(ziplist(ITEMS)), "list", ITEMS),
    (2, b"intset2", SET_INTSET, raw(intset(NUMBERS[:4])), "set", NUMBERS[:4]),
    (2, b"intset4", SET_INTSET, raw(intset(NUMBERS[:5])), "set", NUMBERS[:5]),
    (2, b"intset8", SET_INTSET, lzf(intset(NUMBERS)), "set", NUMBERS),
    (2, b"zsetzl", ZSET_ZIPLIST, raw(ziplist(FLAT)), "zset", WHOLE_PAIRS),
    (4, b"hashzl", HASH_ZIPLIST, raw(ziplist([b"f", 1, b"g", b"t"])), "hash",
     [(b"f", 1), (b"g", b"t")]),
    (7, b"quick", LIST_QUICKLIST, quicklist([ITEMS, SOME]), "list",
     ITEMS + SOME),
    (8, b"zset2", ZSET_2, zset_binary(SCORES), "zset", SCORES),
    (8, b"wide", STRING, length(3, 64) + b"abc", "string", b"abc"),
    (9, b"stream1", STREAM_LISTPACKS, stream(1, [NODE], 3, IDS[3], GROUPS),
     "stream", ENTRIES),
    (10, b"hashlp", HASH_LISTPACK, raw(listpack([b"f", 1, b"g", b"t"])),
     "hash", [(b"f", 1), (b"g", b"t")]),
    (10, b"zsetlp", ZSET_LISTPACK, raw(listpack(FLAT)), "zset", WHOLE_PAIRS),
    (10, b"quick2", LIST_QUICKLIST_2,
     quicklist_2([ITEMS, b"plain " * 50, SOME]), "list",
     ITEMS + [b"plain " * 50] + SOME),
    (10, b"stream2", STREAM_LISTPACKS_2, stream(2, [NODE], 3, IDS[3], GROUPS),
     "stream", ENTRIES),
    (11, b"setlp", SET_LISTPACK, raw(listpack(ITEMS)), "set", ITEMS),
    (11, b"stream3", STREAM_LISTPACKS_3, stream(3, [NODE], 3, IDS[3], GROUPS),
     "stream", ENTRIES),
    (12, b"hashttl", HASH_METADATA, hash_metadata(TTL_FIELDS), "hash",
     TTL_PAIRS),
    (12, b"hashttllp", HASH_LISTPACK_EX, hash_listpack_ex(TTL_FIELDS), "hash",
     TTL_PAIRS),
]


def version_dump(version):
    """All that a version has: the dump, and its digest."""
    d, sums = Dump(version), {0: [], 3: []}
    if version >= 7:
        d.aux(b"redis-ver", b"0.0.0").aux(b"ctime", 1600000000)
    for db in (0, 3):
        d.select(db)
        if version >= 7:
            d.resize(100000, 3)
        for first, name, kind, payload, word, value in VALUES:
            if version < first:
                continue
            prefix = {}
            if name == b"list":
                prefix["expire_s"] = LATER // 1000
            if name == b"set" and version >= 3:
                prefix["expire_ms"] = LATER + 1
            if name == b"hash" and version >= 9:
                prefix["idle"] = 1000
            if name == b"str" and version >= 9:
                prefix["freq"] = 200
            expires = "expire_s" in prefix or "expire_ms" in prefix
            if prefix.get("expire_s", 0) >= 1 << 31:
                prefix["expire_s"] = (1 << 31) - 1
            d.key(name, kind, payload, **prefix)
            sums[db].append(key_digest(name, word, value, expires))
    if version >= 10:
        d.op(245, raw(b"#!lua name=l\nredis.register_function('f', "
                      b"function() return 1 end)"))
    if version >= 12:
        d.op(244, length(5) + length(1) + length(0))
    return d.done(), digest(sums)


# --- files ---------------------------------------------------------------

def one(kind, payload, name=b"k", version=10):
    return Dump(version).key(name, kind, payload).done()


def spoilt(blob, at, byte):
    return blob[:at] + bytes([byte]) + blob[at + 1:]


def failures():
    """Dumps that cannot be read, by the name of their defect."""
    good = Dump().string(b"k", b"value").done()
    lp = listpack([b"f", b"v"])
    zl = ziplist([b"f", b"v"])
    short = Dump().op(STRING, raw(b"k"))
    return {
        "empty-file": b"",
        "magic": b"RODIS0010" + good[9:],
        "version-no-number": b"REDIS00x0" + good[9:],
        "version-13": b"REDIS0013" + good[9:],
        "valkey-080": b"VALKEY080" + good[9:],
        "checksum": good[:-1] + bytes([good[-1] ^ 1]),
        "checksum-short": good[:-1],
        "no-end": good[:-9],
        "string-past-end": bytes(short.out) + length(1 << 32) + b"abc",
        "string-4294967295": bytes(short.out) + length((1 << 32) - 1, 32),
        "string-encoding": bytes(short.out) + b"\xc4abc",
        "length-encoding": bytes(short.out) + b"\x82abc",
        "lzf-garbage": one(STRING, b"\xc3\x04\x14\x20\x00\x00\x00"),
        "lzf-too-long": one(STRING, b"\xc3\x02" + length(1 << 30) + b"\0a"),
        "lzf-too-short": one(STRING, b"\xc3\x02\x02\x00a"),
        "count-past-end": one(SET, length(1 << 40)),
        "duplicate-key": Dump().string(b"k", b"1").string(b"k", b"2").done(),
        "database-16384": Dump().select(16384).string(b"k", b"v").done(),
        "unknown-type-8": one(8, raw(b"v")),
        "unknown-type-26": one(26, raw(b"v")),
        "unknown-opcode-243": Dump().op(243, b"abc").done(),
        "module-pre-ga": one(MODULE_PRE_GA, length(1 << 60, 64)),
        "hash-7.4-rc": one(HASH_METADATA_PRE_GA, pairs([])),
        "function-pre-ga": Dump().op(246, raw(b"x")).done(),
        "module-tag": one(MODULE_2, length(1 << 60, 64) + b"\x07"),
        "module-aux-when": Dump().op(247, length(9) + b"\x01\x02\0").done(),
        "score-nan": one(ZSET_2, length(1) + raw(b"m") +
                         struct.pack("<d", float("nan"))),
        "score-text": one(ZSET, length(1) + raw(b"m") + b"\x03abc"),
        "score-text-nan": one(ZSET, length(1) + raw(b"m") + b"\xfd"),
        "listpack-no-end": one(HASH_LISTPACK, raw(lp[:-1] + b"\x00")),
        "listpack-size": one(HASH_LISTPACK, raw(spoilt(lp, 0, lp[0] + 1))),
        "listpack-count": one(HASH_LISTPACK, raw(spoilt(lp, 4, 4))),
        "listpack-odd": one(HASH_LISTPACK, raw(listpack([b"f", b"v", b"g"]))),
        "listpack-entry": one(HASH_LISTPACK, raw(spoilt(lp, 9, 0xBF))),
        "listpack-encoding": one(HASH_LISTPACK, raw(spoilt(lp, 9, 0xF5))),
        "listpack-back": one(HASH_LISTPACK, raw(spoilt(lp, 8, 3))),
        "listpack-header": one(HASH_LISTPACK, raw(lp[:6])),
        "ziplist-no-end": one(HASH_ZIPLIST, raw(zl[:-1] + b"\x00")),
        "ziplist-tail": one(HASH_ZIPLIST, raw(spoilt(zl, 4, 11))),
        "ziplist-count": one(HASH_ZIPLIST, raw(spoilt(zl, 8, 3))),
        "ziplist-back": one(HASH_ZIPLIST, raw(spoilt(zl, 13, 9))),
        "ziplist-entry": one(HASH_ZIPLIST, raw(spoilt(zl, 14, 0x3F))),
        "intset-width": one(SET_INTSET, raw(spoilt(intset([1]), 0, 3))),
        "intset-count": one(SET_INTSET, raw(spoilt(intset([1]), 4, 2))),
        "intset-order": one(SET_INTSET, raw(
            struct.pack("<IIhh", 2, 2, 5, 5))),
        "zipmap-no-value": one(HASH_ZIPMAP, raw(b"\x01\x01f\xff")),
        "zipmap-count": one(HASH_ZIPMAP, raw(zipmap(TEXT, 0, 2))),
        "quicklist-container": one(LIST_QUICKLIST_2, b"\x01\x03" + raw(lp)),
        "stream-id": one(STREAM_LISTPACKS, length(1) + raw(b"x" * 15) +
                         raw(lp) + b"\0\0\0\0\0" + b"\0" * 8),
        "stream-count": one(STREAM_LISTPACKS_2, stream(
            2, [raw(struct.pack(">QQ", 1, 0)) +
                raw(listpack([2, 0, 1, b"f", 0, 2, 0, 0, b"v", 4]))], 1,
            (1, 0))),
        "stream-entry-length": one(STREAM_LISTPACKS_2, stream(
            2, [raw(struct.pack(">QQ", 1, 0)) +
                raw(listpack([1, 0, 1, b"f", 0, 2, 0, 0, b"v", 5]))], 1,
            (1, 0))),
        "facts-word": Dump().string(b"a", b"").facts({b"/a": b"m800"}).done(),
        "facts-path": Dump().facts({b"/..": b"m600"}).done(),
        "facts-version": Dump().key(FACTS_KEY, HASH, pairs(
            [(b"v", b"keyfs 2 sep=/")])).done(),
        "facts-separator": Dump().string(b"a:b", b"").facts(
            {b"/a/b": b"m600"}, ":").done(),
    }


def facts_dump():
    """Separator, facts and write times as the writer puts them."""
    d = Dump().aux(b"ctime", 1600000000).aux(b"keyfs-sep", b":")
    d.string(b"a:b", b"1").string(b"x/y", b"2").string(b"link", b"a/b")
    d.aux(b"keyfs-times", times([1, 1500000000123456789, -1]))
    d.select(2).string(b"other", b"3")
    d.select(0).facts({
        b"/a/b": b"m600 u7 g8 t-1.500000000 a1.000000001",
        b"/link": b"l", b"/made": b"m700 d", b"/": b"m711 d",
        b"/gone": b"m600", b"/x:y": b"z9 g5"}, ":")
    return d.aux(b"keyfs-times", times([5, 6])).done()


def corpus():
    """Small inputs that lead the fuzzer into every branch."""
    out = {f"type-{kind}": one(kind, payload, b"k", max(first, 5))
           for first, _, kind, payload, _, _ in VALUES}
    out["module"] = one(MODULE_2, module(1 << 60, [
        (1, length(3)), (2, length(4)), (3, b"abcd"), (4, b"abcdefgh"),
        (5, raw(b"str"))]))
    out["module-aux"] = Dump().op(247, length(1 << 60, 64) + b"\x02\x01" +
                                  b"\x05" + raw(b"x") + b"\0").done()
    out["facts"] = facts_dump()
    out["facts-listpack"] = Dump().string(b"a", b"").facts(
        {b"/a": b"m600"}, kind=HASH_LISTPACK).done()
    out["prefixes"] = Dump().string(b"a", b"1", expire_ms=5, idle=3).string(
        b"a/b", b"2", freq=9, expire_s=7).done()
    out["empty-collection"] = one(LIST, length(0))
    out["only-empty-key"] = one(STRING, raw(b"x"), b"")
    out["only-root-facts"] = Dump().facts({b"/": b"m711 d"}).done()
    out["old"] = version_dump(1)[0]
    for name in ("valkey-080", "lzf-too-long", "listpack-back", "ziplist-tail",
                 "stream-count", "count-past-end", "duplicate-key",
                 "facts-word", "module-tag", "zipmap-no-value"):
        out["bad-" + name] = failures()[name]
    return out


def write(directory, files):
    os.makedirs(directory, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(directory, name), "wb") as f:
            f.write(data)


def main(data_dir, corpus_dir=None):
    files = {f"should-fail-{name}.rdb": data
             for name, data in failures().items()}
    for version in range(1, 13):
        data, word = version_dump(version)
        files[f"version-{version}.rdb"] = data
        files[f"version-{version}.digest"] = word.encode() + b"\n"
    files["facts.rdb"] = facts_dump()
    write(data_dir, files)
    if corpus_dir:
        write(corpus_dir, corpus())


if __name__ == "__main__":
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    main(*sys.argv[1:])
