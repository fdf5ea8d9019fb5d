# SPDX-License-Identifier: MIT
"""Data sets that a redis-server made: mount, read, save, and load in
redis-server again. Nothing may be lost or changed on the way."""

import errno
import os
import struct
import time

import harness
from harness import read_file, write_file
from redisdb import Redis, check_rdb
from tree import key_path, member_name

FUNCTION = ("#!lua name=keyfstest\n"
            "redis.register_function('answer', function() return 42 end)\n")

HOSTILE = [
    b"", b"\0", b"a\0b", b".", b"..", b"./x", b"x/..", b"x/./y", b"/lead",
    b"trail/", b"dou//ble", b"//", b"/", b":", b"::", b":lead", b"trail:",
    b"dou::ble", b"user:1:a/b", b"k" * 300, b"dir/" + b"m" * 300 + b"/leaf",
    b"n" * 255, b"o" * 256, b"p" * 3000, b"prefix", b"prefix/of",
    b"prefix/of/another", b"pre:fix", b"pre:fix:of", b"\xff\xfe\x80", b"new\n",
    b"\nline", b".ctl", b".ctl/save", b"sub/.ctl", b" ", b"-rf", b"*",
    b"\xc3\xa4", b"{tag}:x", b"12345", b"-7", b"100%done", b"foo%20bar",
]
# Literal text that reads like a token: where it goes is the mapping's own
# business (its unit tests pin it); here it must come back from a dump.
TOKENS = [b"%", b"%%", b"%00", b"%=", b"%2E", b"%2E.", b"%25", b"%2500",
          b"%25=", b"%+", b"d/%=", b"d/%", b"d/%25", b"q" * 253 + b"%+",
          b"q" * 253 + b"%+/rest", b"%2Ectl", b"%2F"]


def fill_types(r, rng, tag):
    """One key, at least, of each type and encoding in the selected db."""
    t = (tag + ":").encode()
    r("SET", t + b"int", 12345)
    r("SET", t + b"negative", -9223372036854775808)
    r("SET", t + b"emb", b"short")
    r("SET", t + b"raw", rng.randbytes(1000))
    r("SET", t + b"lzf", b"compress me " * 4000)
    r("SET", t + b"empty", b"")
    r("SET", t + b"leading0", b"007")
    r("RPUSH", t + b"list-one", *[b"item-%d" % i for i in range(10)],
      12, -300, 70000, 2**40, b"", b"x" * 70, rng.randbytes(5000))
    r("RPUSH", t + b"list-many", *[rng.randbytes(rng.randrange(200))
                                   for _ in range(1500)])
    r("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "1000")
    r("RPUSH", t + b"list-plain", b"a", rng.randbytes(3000), b"z" * 2000)
    r("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "1073741824")
    r("SADD", t + b"intset16", *range(-20, 200, 3))
    r("SADD", t + b"intset32", 1, -70000, 2**30)
    r("SADD", t + b"intset64", 1, -2**62, 2**63 - 1)
    r("SADD", t + b"set-one", b"only")
    r("SADD", t + b"set-many", *[b"member-%d" % i for i in range(700)],
      b"", b".", b"..", b"a/b", b"\0", b"\xff", b"new\nline", b"m" * 400)
    r("HSET", t + b"hash-small", b"f", b"v", b"", b"empty name", b".", b"dot",
      b"..", b"dots", b"a/b", b"slash", b"n\0l", b"nul", b"int", 77)
    pairs = []
    for i in range(600):
        pairs += [b"field-%d" % i, rng.randbytes(rng.randrange(150))]
    r("HSET", t + b"hash-big", *pairs, b"F" * 300, b"long name")
    r("ZADD", t + b"zset-small", 1, b"one", -2.5, b"two", "inf", b"top",
      "-inf", b"bottom", 0.1, b"tenth", 1e300, b"huge", 0, b"0")
    scores = []
    for i in range(400):
        scores += [rng.uniform(-1e6, 1e6), b"z-%d" % i]
    r("ZADD", t + b"zset-big", *scores, "1e-300", b"tiny")
    s = t + b"stream"
    for i in range(250):
        r("XADD", s, "%d-%d" % (1000 + i, i % 3), b"f%d" % (i % 5), b"v%d" % i,
          b"n", i)
    r("XDEL", s, "1010-1", "1249-0")
    r("XGROUP", "CREATE", s, "g1", "0")
    r("XGROUP", "CREATE", s, "g2", "$")
    r("XREADGROUP", "GROUP", "g1", "alice", "COUNT", 20, "STREAMS", s, ">")
    r("XREADGROUP", "GROUP", "g1", "bob", "COUNT", 5, "STREAMS", s, ">")
    r("XACK", s, "g1", "1000-0", "1001-1")
    r("XADD", t + b"stream-empty", "1-1", "a", "b")
    r("XTRIM", t + b"stream-empty", "MAXLEN", 0)


def fill_hostile(r, rng):
    for i, k in enumerate(HOSTILE + TOKENS):
        r("SET", k, b"%d:" % i + rng.randbytes(20))
    # A key of another type that is also a prefix.
    r("HSET", b"hashdir", b"f", b"v")
    r("SET", b"hashdir/below", b"string below a hash")
    r("RPUSH", b"hashdir/below/list", b"list below a string")


def expires(r):
    """Each database's keys with their absolute deadlines."""
    out = {}
    for db in range(16):
        r("SELECT", db)
        keys = r.keys()
        at = r.pipeline(("PEXPIRETIME", k) for k in keys)
        out[db] = dict(zip(keys, at))
    r("SELECT", 0)
    return out


class Base(harness.Case):
    SECONDS = 240

    def datadir(self, dump):
        d = harness.unique("data")
        os.mkdir(d)
        harness.shutil.copyfile(dump, os.path.join(d, "dump.rdb"))
        return d

    def save_again(self, datadir, options=""):
        """Mounts, saves, ends. Return: the digest that keyfs gave."""
        # No save points: just the save that is asked for.
        write_file(os.path.join(datadir, "keyfs.conf"), b'save ""\n')
        before = os.stat(os.path.join(datadir, "dump.rdb")).st_ino
        m = self.mount(datadir=datadir, options=options)
        m.save()
        digest = m.ctl("digest")
        m.close()
        self.assertNotEqual(
            os.stat(os.path.join(datadir, "dump.rdb")).st_ino, before)
        return digest


class Types(Base):
    """Every type, encoding and database, both separators."""

    @classmethod
    def setUpClass(cls):
        rng = harness.rng("types")
        harness.need_mount()
        cls.dump = harness.unique("types") + ".rdb"
        with Redis() as r:
            r("FUNCTION", "LOAD", FUNCTION)
            for db in range(16):
                r("SELECT", db)
                if db in (0, 1, 15):
                    fill_types(r, rng, "t")
                    r("SET", "t:soon", "x", "PX", 3600000)
                    r("PEXPIREAT", "t:list-one", 4102444800123)
                    r("EXPIRE", "t:hash-big", 100000)
                    r("EXPIRE", "t:stream", 100001)
                    fill_hostile(r, rng)
                else:
                    r("SET", b"in db %d" % db, rng.randbytes(30))
            r("SELECT", 0)
            harness.shutil.copyfile(r.save(), cls.dump)
            cls.digest = r.digest()
            cls.expires = expires(r)
            cls.answers = cls.ask(r)

    @staticmethod
    def ask(r):
        """What Redis says of each key of database 0."""
        out = {}
        for k in r.keys():
            kind = r("TYPE", k)
            if kind == "string":
                out[k] = (kind, r("GET", k))
            elif kind == "list":
                out[k] = (kind, r("LRANGE", k, 0, -1))
            elif kind == "set":
                out[k] = (kind, sorted(r("SMEMBERS", k)))
            elif kind == "hash":
                flat = r("HGETALL", k)
                out[k] = (kind, dict(zip(flat[::2], flat[1::2])))
            elif kind == "zset":
                flat = r("ZRANGE", k, 0, -1, "WITHSCORES")
                out[k] = (kind, dict(zip(flat[::2], flat[1::2])))
            else:
                out[k] = (kind, None)
        return out

    def path_of(self, key, sep):
        """Where a key is; one that has others below is `%=` in there."""
        swap = bytes.maketrans(b":/", b"/:") if sep == ":" else None
        shown = key.translate(swap)
        is_dir = any(k.translate(swap).startswith(shown + b"/")
                     for k in self.answers)
        return key_path(key, sep, is_dir)

    def read_all(self, sep):
        m = self.mount(datadir=self.datadir(self.dump),
                       options="sep=" + sep, conf=None)
        for key, (kind, want) in self.answers.items():
            if key in TOKENS:
                continue
            p = m / self.path_of(key, sep)
            with self.subTest(key=key, kind=kind):
                self.check_value(p, kind, want)
        return m

    def check_value(self, p, kind, want):
        if kind == "string":
            self.assertEqual(read_file(p), want)
            self.assertEqual(os.stat(p).st_size, len(want))
            return
        if kind == "stream":
            self.assertTrue(os.path.isfile(p))
            self.assertEqual(os.stat(p).st_mode & 0o222, 0)
            self.raises((1, 13), os.truncate, p, 0)
            return
        self.assertTrue(os.path.isdir(p))
        names = os.listdir(p)
        self.assertEqual(len(names), len(want))
        if kind == "list":
            want = {b"%d" % i: v for i, v in enumerate(want)}
        elif kind == "set":
            want = {v: b"" for v in want}
        shown = {}
        for member, value in want.items():
            name = member if kind == "list" else member_name(member)
            if name is None:  # cut, with a hash at its end
                name, = [n for n in names if
                         n.startswith(member[:200]) and b"%+" in n]
                self.assertLessEqual(len(name), 255)
            self.assertIn(name, names)
            shown[name] = value
        for name, value in shown.items():
            got = read_file(os.path.join(p, name))
            if kind == "zset":
                self.assertTrue(got.endswith(b"\n"), got)
                self.assertEqual(float(got), float(value))
            else:
                self.assertEqual(got, value)

    def test_reads_as_redis_answers(self):
        m = self.read_all("/")
        names = set(os.listdir(os.fsencode(m.mnt)))
        self.assertNotIn(b"in db 3", names)
        self.assertNotIn(b"__keyfs__", names)
        self.assertEqual(m.ctl("digest"), self.digest)

    def test_reads_as_redis_answers_with_colons(self):
        self.read_all(":")

    def test_all_keys_are_shown(self):
        for sep in "/:":
            m = self.mount(datadir=self.datadir(self.dump),
                           options="sep=" + sep)
            n = 0
            typed = {os.path.join(os.fsencode(m.mnt), self.path_of(k, sep))
                     for k, (kind, _) in self.answers.items()
                     if kind not in ("string", "stream")}
            for base, dirs, files in os.walk(os.fsencode(m.mnt)):
                n += len(files)
                for d in list(dirs):
                    if os.path.join(base, d) in typed:
                        dirs.remove(d)
                        n += 1
            self.assertEqual(n, len(self.answers))
            self.assertEqual(m.info()["db0"].split(",")[0],
                             "keys=%d" % len(self.answers))

    def test_typed_keys_are_read_only(self):
        m = self.mount(datadir=self.datadir(self.dump))
        h = m / "t:hash-small"
        codes = (1, 13, 30)  # EPERM, EACCES, EROFS
        self.raises(codes, write_file, h + "/f", b"new")
        self.raises(codes, write_file, h + "/new", b"new")
        self.raises(codes, os.unlink, h + "/f")
        self.raises(codes, os.mkdir, h + "/d")
        self.raises(codes, os.rename, h + "/f", m / "stolen")
        self.raises(codes, os.rename, m / "t:emb", h + "/f")
        self.raises(codes, os.rmdir, h)
        self.raises(codes, os.chmod, h + "/f", 0o600)
        self.raises((21, 1), os.unlink, h)
        self.assertEqual(read_file(h + "/f"), b"v")
        self.assertEqual(m.ctl("digest"), self.digest)

    def test_save_changes_nothing(self):
        for sep in "/:":
            with self.subTest(sep=sep):
                d = self.datadir(self.dump)
                digest = self.save_again(d, "sep=" + sep)
                dump = os.path.join(d, "dump.rdb")
                ok, text = check_rdb(dump)
                self.assertTrue(ok, text)
                with Redis(dump=dump) as r:
                    self.assertEqual(r.digest(), digest)
                    # Which separator it was is noted, unless it is '/'.
                    self.assertEqual(r("DEL", "__keyfs__"),
                                     0 if sep == "/" else 1)
                    self.assertEqual(r.digest(), self.digest)
                    self.assertEqual(expires(r), self.expires)
                    self.assertEqual(self.ask(r), self.answers)
                    self.assertEqual(r("FCALL", "answer", 0), 42)
                    self.assertEqual(
                        dict(zip(*[iter(r("XINFO", "STREAM",
                                          "t:stream"))] * 2))[b"length"], 248)

    def test_a_change_leaves_the_rest_alone(self):
        d = self.datadir(self.dump)
        m = self.mount(datadir=d)
        write_file(m / "t:emb", b"changed")
        os.unlink(m / "t:raw")
        os.rename(m / "prefix", m / "moved")
        os.unlink(m / "t:stream")
        write_file(m / "new file", b"new")
        m.save()
        digest = m.ctl("digest")
        m.close()
        with Redis(dump=self.dump) as a, \
                Redis(dump=os.path.join(d, "dump.rdb")) as b:
            self.assertEqual(b.digest(), digest)
            gone = {b"t:raw", b"t:stream", b"prefix", b"prefix/of",
                    b"prefix/of/another"}
            new = {b"moved", b"moved/of", b"moved/of/another", b"new file"}
            self.assertEqual(set(b.keys()) - {b"__keyfs__"},
                             set(a.keys()) - gone | new)
            self.assertEqual(b("GET", "t:emb"), b"changed")
            for k in new - {b"new file"}:
                self.assertEqual(b("GET", k),
                                 a("GET", k.replace(b"moved", b"prefix")))
            same = sorted(set(a.keys()) - gone - {b"t:emb"})
            for k in same:
                self.assertEqual(b("DEBUG", "DIGEST-VALUE", k),
                                 a("DEBUG", "DIGEST-VALUE", k), k)
            for db in range(1, 16):
                a("SELECT", db)
                b("SELECT", db)
                self.assertEqual(b("DBSIZE"), a("DBSIZE"))

    def test_the_separator_is_kept(self):
        d = self.datadir(self.dump)
        m = self.mount(datadir=d, options="sep=:")
        os.mkdir(m / "explicit")
        m.close()
        m = self.mount(datadir=d)
        self.assertTrue(os.path.isdir(m / "t"))
        self.assertTrue(os.path.isdir(m / "explicit"))
        self.assertEqual(read_file(m / "t/emb"), b"short")
        m.close()
        with self.assertRaises(harness.Died) as e:
            self.mount(datadir=d, options="sep=/")
        self.assertIn(e.exception.code, (1, 3))
        self.assertIn("sep", e.exception.log)


class Deadlines(Base):
    """TTLs that have passed by the time of the load, and that have not."""

    def test_past_and_future(self):
        with Redis() as r:
            r("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            soon = int(time.time() * 1000) + 700
            for i in range(20):
                r("SET", "past:%d" % i, "x", "PXAT", soon)
                r("SET", "future:%d" % i, "x", "PXAT", soon + 3600000 + i)
            r("RPUSH", "past:list", 1)
            r("PEXPIREAT", "past:list", soon)
            r("SET", "stays", "x")
            r("SELECT", 7)
            r("SET", "past", "x", "PXAT", soon)
            r("SET", "future", "x", "PXAT", soon + 3600000)
            d = self.datadir(r.save())
        time.sleep(max(0, soon / 1000 - time.time()) + 0.1)
        original = os.path.join(d, "original.rdb")
        harness.shutil.copyfile(os.path.join(d, "dump.rdb"), original)
        m = self.mount(datadir=d)
        self.assertEqual(sorted(os.listdir(m.mnt)), sorted(
            ["future:%d" % i for i in range(20)] + ["stays"]))
        self.raises(2, os.stat, m / "past:1")
        m.save()
        digest = m.ctl("digest")
        m.close()
        with Redis(dump=original) as a, \
                Redis(dump=os.path.join(d, "dump.rdb")) as b:
            self.assertEqual(b.digest(), digest)
            self.assertEqual(a.digest(), digest)
            self.assertEqual(expires(a), expires(b))


class IdleAndFrequency(Base):
    """The fields that eviction policies live on."""

    def through(self, policy, field, ask):
        with Redis(options=["--maxmemory-policy", policy]) as r:
            r("SET", "s", "value")
            r("RPUSH", "l", 1, 2, 3)
            r("SET", "ttl", "value", "PX", 5000000)
            payload = {k: r("DUMP", k) for k in ("s", "l", "ttl")}
            for i, (k, p) in enumerate(payload.items()):
                ttl = r("PEXPIRETIME", k) if k == "ttl" else 0
                r("RESTORE", k, ttl, p, "REPLACE", "ABSTTL", field,
                  100 + 50 * i)
            d = self.datadir(r.save())
        self.save_again(d)
        with Redis(dump=os.path.join(d, "dump.rdb"),
                   options=["--maxmemory-policy", policy]) as r:
            return [r("OBJECT", ask, k) for k in ("s", "l", "ttl")]

    def test_idle_times(self):
        got = self.through("allkeys-lru", "IDLETIME", "IDLETIME")
        for g, want in zip(got, (100, 150, 200)):
            self.assertGreaterEqual(g, want)
            self.assertLess(g, want + 45)

    def test_frequencies(self):
        self.assertEqual(self.through("allkeys-lfu", "FREQ", "FREQ"),
                         [100, 150, 200])


class Big(Base):
    """A value that ordinary Redis clients could not even send."""

    SECONDS = 600

    def test_a_value_of_more_than_512_mb(self):
        harness.need_memory(6)
        rng = harness.rng("big")
        size = (512 << 20) + (40 << 20) + 12345
        with Redis(options=["--rdbcompression", "no"]) as r:
            r("SETRANGE", "big", size - 1, "!")
            marks = {}
            for _ in range(60):
                at = rng.randrange(size - 4096)
                marks[at] = None
                r("SETRANGE", "big", at, rng.randbytes(4096))
            for at in marks:
                marks[at] = r("GETRANGE", "big", at, at + 8191)
            digest = r.digest()
            d = self.datadir(r.save())
        m = self.mount(datadir=d, conf=None)
        p = m / "big"
        self.assertEqual(os.stat(p).st_size, size)
        fd = os.open(p, os.O_RDONLY)
        for at, want in marks.items():
            self.assertEqual(os.pread(fd, 8192, at), want)
        self.assertEqual(os.pread(fd, 10, size - 1), b"!")
        # What is there may be changed, though not grow.
        os.close(fd)
        self.assertEqual(m.ctl("digest"), digest)
        m.save()
        m.close()
        with Redis(dump=os.path.join(d, "dump.rdb")) as r:
            self.assertEqual(r("STRLEN", "big"), size)
            self.assertEqual(r.digest(), digest)


def listpack(*items):
    """Short strings, and numbers from 0 to 127."""
    body = b""
    for i in items:
        entry = bytes([i]) if isinstance(i, int) else \
            bytes([0x80 | len(i)]) + i
        body += entry + bytes([len(entry)])
    return struct.pack("<IH", len(body) + 7, len(items)) + body + b"\xff"


class Unusual(Base):
    """What Redis 7.0 does not write, but others may have written."""

    def dump(self, body, version=b"0010"):
        d = harness.unique("data")
        os.mkdir(d)
        write_file(os.path.join(d, "dump.rdb"),
                   b"REDIS" + version + body + b"\xff" + bytes(8))
        return d

    def test_crc_of_zero_means_unchecked(self):
        d = self.dump(b"\xfe\x00\x00\x01k\x01v")
        m = self.mount(datadir=d)
        self.assertEqual(read_file(m / "k"), b"v")

    def test_empty_collections_are_skipped(self):
        d = self.dump(b"\xfe\x00\x02\x01s\x00\x00\x01k\x01v")
        m = self.mount(datadir=d)
        self.assertEqual(os.listdir(m.mnt), ["k"])

    def test_unknown_aux_and_odd_order(self):
        d = self.dump(b"\xfa\x03abc\x04wxyz\xfe\x05\x00\x01a\x01b"
                      b"\xfb\x80\x7f\xff\xff\xff\x00"
                      b"\xfe\x00\x00\x01k\x01v\xfa\x01n\x01m\xfe\x05"
                      b"\x00\x80\x00\x00\x00\x01c\x01d")
        m = self.mount(datadir=d)
        self.assertEqual(read_file(m / "k"), b"v")
        m.save()
        m.close()
        with Redis(dump=os.path.join(d, "dump.rdb")) as r:
            r("SELECT", 5)
            self.assertEqual(r.keys(), [b"a", b"c"])

    def test_seconds_and_milliseconds_of_expiry(self):
        d = self.dump(b"\xfe\x00\xfd" + struct.pack("<i", 2000000000) +
                      b"\x00\x01a\x01x\xfc" + struct.pack("<q", 2000000000123) +
                      b"\xf8\x05\x00\x01b\x01x" +
                      b"\x00\x01c\x01x")
        m = self.mount(datadir=d)
        m.save()
        m.close()
        with Redis(dump=os.path.join(d, "dump.rdb")) as r:
            self.assertEqual([r("PEXPIRETIME", k) for k in "abc"],
                             [2000000000000, 2000000000123, -1])


    def test_modules_are_kept(self):
        # Redis itself could not load this without the module.
        module_id = b"\x81" + bytes(range(1, 9))
        aux = b"\xf7" + module_id + b"\x02\x02\x05\x03hey\x00"
        record = (b"\x07\x04mod1" + module_id + b"\x02\x0a\x01\x80" +
                  b"\xff" * 4 + b"\x05\x06string\x03" +
                  struct.pack("<f", 1.5) + b"\x04" + struct.pack("<d", 2.5) +
                  b"\x00")
        d = self.dump(aux + b"\xfe\x00\x00\x01k\x01v" + record)
        m = self.mount(datadir=d)
        self.assertEqual(sorted(os.listdir(m.mnt)), ["k", "mod1"])
        self.assertEqual(os.stat(m / "mod1").st_mode & 0o222, 0)
        self.raises((1, 13), write_file, m / "mod1", b"x")
        self.raises(errno.EOPNOTSUPP, m.ctl, "digest")
        write_file(m / "k", b"w")
        m.restart()
        dump = read_file(os.path.join(d, "dump.rdb"))
        self.assertIn(record, dump)
        self.assertIn(aux, dump)
        os.unlink(m / "mod1")
        m.restart()
        self.assertNotIn(b"mod1", read_file(os.path.join(d, "dump.rdb")))

    def test_types_of_later_versions(self):
        later = 4102444800000
        body = b"\xfe\x00"
        body += b"\x14\x01s" + rdb_string(listpack(b"a", b"bb", 5))
        body += (b"\x18\x01h" + struct.pack("<q", later) + b"\x02\x00\x01f"
                 b"\x01v\x01\x01g\x01w")
        body += b"\x19\x01i" + struct.pack("<q", later) + rdb_string(
            listpack(b"f", b"v", 0, b"g", b"w", 0))
        for version in (b"0011", b"0012"):
            d = self.dump(body, version)
            m = self.mount(datadir=d)
            self.assertEqual(sorted(os.listdir(m / "s")), ["5", "a", "bb"])
            for h in "hi":
                self.assertEqual(sorted(os.listdir(m / h)), ["f", "g"])
                self.assertEqual(read_file(m / (h + "/g")), b"w")
            m.save()
            digest = m.ctl("digest")
            m.close()
            with Redis(dump=os.path.join(d, "dump.rdb")) as r:
                self.assertEqual(r.digest(), digest)
                self.assertEqual(r("HGET", "h", "g"), b"w")
                self.assertEqual(r("HGET", "i", "f"), b"v")
                self.assertEqual(sorted(r("SMEMBERS", "s")),
                                 [b"5", b"a", b"bb"])


# --- encodings that current servers read but do not write ---------------

def rdb_string(data):
    if len(data) < 64:
        return bytes([len(data)]) + data
    if len(data) < 16384:
        return struct.pack(">H", 0x4000 | len(data)) + data
    return b"\x80" + struct.pack(">I", len(data)) + data


def ziplist(items):
    body, prev, tail = b"", 0, 10
    for item in items:
        tail = 10 + len(body)
        head = bytes([prev]) if prev < 254 else b"\xfe" + struct.pack(
            "<I", prev)
        if isinstance(item, int):
            if 0 <= item <= 12:
                entry = bytes([0xf1 + item])
            elif -128 <= item < 128:
                entry = b"\xfe" + struct.pack("<b", item)
            elif -2**15 <= item < 2**15:
                entry = b"\xc0" + struct.pack("<h", item)
            elif -2**23 <= item < 2**23:
                entry = b"\xf0" + struct.pack("<i", item)[:3]
            elif -2**31 <= item < 2**31:
                entry = b"\xd0" + struct.pack("<i", item)
            else:
                entry = b"\xe0" + struct.pack("<q", item)
        elif len(item) < 64:
            entry = bytes([len(item)]) + item
        elif len(item) < 16384:
            entry = struct.pack(">H", 0x4000 | len(item)) + item
        else:
            entry = b"\x80" + struct.pack(">I", len(item)) + item
        body += head + entry
        prev = len(head + entry)
    return struct.pack("<IIH", len(body) + 11, tail, len(items)) + \
        body + b"\xff"


def zipmap(pairs):
    out = bytes([len(pairs)])
    for field, value in pairs:
        for n, data in ((len(field), field), (len(value), value)):
            out += bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)
            if data is value:
                out += b"\0"  # no free bytes behind it
            out += data
    return out + b"\xff"


def old_double(x):
    if x in ("nan", "inf", "-inf"):
        return {"nan": b"\xfd", "inf": b"\xfe", "-inf": b"\xff"}[x]
    text = repr(x).encode()
    return bytes([len(text)]) + text


class OldVersions(Base):
    """Dumps as Redis 2.2 to 6.2 wrote them."""

    ITEMS = [b"a", b"", 0, 12, 13, -1, -128, 300, -70000, 2**30, -2**40,
             b"x" * 63, b"y" * 64, b"z" * 300, b"w" * 20000]
    TEXTS = [i if isinstance(i, bytes) else b"%d" % i for i in ITEMS]

    def records(self, version):
        """What a version could write: key, type, payload, what it shows."""
        numbered = {b"%d" % i: t for i, t in enumerate(self.TEXTS)}
        some = self.TEXTS[:12]
        out = [
            (b"string", 0, rdb_string(b"value"), b"value"),
            (b"int8", 0, b"\xc0\xff", b"-1"),
            (b"int16", 0, b"\xc1\x39\x30", b"12345"),
            (b"int32", 0, b"\xc2\x00\x00\x00\x80", b"-2147483648"),
            (b"lzf", 0, b"\xc3\x06\x14\x01aa\xe0\x09\x00", b"a" * 20),
            (b"list", 1, bytes([len(self.TEXTS)]) +
             b"".join(map(rdb_string, self.TEXTS)), numbered),
            (b"set", 2, bytes([len(some)]) + b"".join(map(rdb_string, some)),
             {member_name(t): b"" for t in some}),
            (b"zset", 3, b"\x04\x01a" + old_double(1.5) + b"\x01b" +
             old_double(-2e300) + b"\x01c" + old_double("inf") + b"\x01d" +
             old_double("-inf"),
             {b"a": 1.5, b"b": -2e300, b"c": float("inf"),
              b"d": float("-inf")}),
            (b"hash", 4, b"\x02" + rdb_string(b"f") + rdb_string(b"v") +
             rdb_string(b"g") + rdb_string(b"w" * 100),
             {b"f": b"v", b"g": b"w" * 100}),
        ]
        if version >= 2:
            pairs = [(b"f", b"v"), (b"long", b"l" * 300), (b"e", b"")]
            out.append((b"zipmap", 9, rdb_string(zipmap(pairs)),
                        dict(pairs)))
        if version >= 3:
            out.append((b"ziplist", 10, rdb_string(ziplist(self.ITEMS)),
                        numbered))
            for width, code in ((2, "h"), (4, "i"), (8, "q")):
                n = [-3, 0, 2**(8 * width - 2)]
                out.append((b"intset%d" % width, 11, rdb_string(
                    struct.pack("<II3" + code, width, 3, *n)),
                    {b"%d" % i: b"" for i in n}))
            out.append((b"zset-ziplist", 12, rdb_string(ziplist(
                [b"m", b"-1.25", b"n", 7])), {b"m": -1.25, b"n": 7.0}))
        if version >= 4:
            out.append((b"hash-ziplist", 13, rdb_string(ziplist(
                [b"f", 5, b"g", b"text"])), {b"f": b"5", b"g": b"text"}))
        if version >= 7:
            out.append((b"quicklist", 14, b"\x02" + rdb_string(ziplist(
                self.ITEMS[:5])) + rdb_string(ziplist(self.ITEMS[5:])),
                numbered))
        if version >= 8:
            out.append((b"zset2", 5, b"\x02\x01a" + struct.pack("<d", 1e-9) +
                        b"\x01b" + struct.pack("<d", float("-inf")),
                        {b"a": 1e-9, b"b": float("-inf")}))
        return out

    def dump(self, version):
        out = b"REDIS%04d" % version
        if version >= 7:
            out += b"\xfa" + rdb_string(b"redis-ver") + rdb_string(b"3.2.0")
        out += b"\xfe\x00"
        if version >= 7:
            out += b"\xfb\x01\x00"
        for key, kind, payload, _ in self.records(version):
            if key == b"string":
                out += b"\xfd" + struct.pack("<i", 2000000000)
            if key == b"int8" and version >= 3:
                out += b"\xfc" + struct.pack("<q", 2000000000456)
            if key == b"list" and version >= 9:
                out += b"\xf8\x40\x64"
            out += bytes([kind]) + rdb_string(key) + payload
        out += b"\xfe\x09\x00\x01k\x01v\xff"
        return out + (bytes(8) if version >= 5 else b"")

    def check_version(self, version):
        d = harness.unique("data")
        os.mkdir(d)
        original = harness.unique("old") + ".rdb"
        write_file(original, self.dump(version))
        harness.shutil.copyfile(original, os.path.join(d, "dump.rdb"))
        with Redis(dump=original) as r:
            digest, deadlines = r.digest(), expires(r)
        m = self.mount(datadir=d)
        shown = self.records(version)
        self.assertEqual(sorted(os.listdir(os.fsencode(m.mnt))),
                         sorted(key for key, _, _, _ in shown))
        for key, _, _, want in shown:
            with self.subTest(key=key):
                self.check_shown(m / key, want)
        self.assertEqual(m.ctl("digest"), digest)
        m.save()
        m.close()
        with Redis(dump=os.path.join(d, "dump.rdb")) as r:
            self.assertEqual(r.digest(), digest)
            self.assertEqual(expires(r), deadlines)

    def check_shown(self, path, want):
        if isinstance(want, bytes):
            self.assertEqual(read_file(path), want)
            return
        got = {n: read_file(os.path.join(path, n)) for n in os.listdir(path)}
        self.assertEqual(set(got), set(want))
        for name, value in want.items():
            if isinstance(value, float):
                self.assertEqual(float(got[name]), value)
            else:
                self.assertEqual(got[name], value)


for _version in range(1, 10):
    setattr(OldVersions, "test_version_%d" % _version,
            lambda self, v=_version: self.check_version(v))


if __name__ == "__main__":
    harness.main()
