# SPDX-License-Identifier: MIT
"""Keys with a deadline: gone from lookup, listing and the kernel's caches at
the deadline, and not before."""

import errno
import os
import time

import harness
from harness import read_file, write_file
from redisdb import Redis

# How much later than the deadline a key may still be seen, in seconds.
LATE = 0.5 * harness.SLOW


def now_ms():
    return time.time() * 1000


def exists(path):
    try:
        os.lstat(path)
        return True
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise


class Expiry(harness.Case):
    def with_keys(self, fill, **kw):
        """A mount of what @fill sets in a Redis."""
        d = harness.unique("data")
        os.mkdir(d)
        with Redis() as r:
            r("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            fill(r)
            harness.shutil.copyfile(r.save(), os.path.join(d, "dump.rdb"))
        return self.mount(datadir=d, **kw)

    def sleep_until(self, ms):
        time.sleep(max(0, (ms - now_ms()) / 1000))

    def test_gone_at_the_deadline_and_not_before(self):
        base = int(now_ms()) + 2500
        deadlines = {"k%02d" % i: base + 77 * i for i in range(30)}

        def fill(r):
            for k, at in deadlines.items():
                r("SET", k, k, "PXAT", at)
            r("SET", "stays", "x")

        m = self.with_keys(fill)
        self.assertLess(now_ms(), base, "the machine is too slow for this")
        self.assertEqual(sorted(os.listdir(m.mnt)),
                         sorted(list(deadlines) + ["stays"]))
        gone = {}
        while len(gone) < len(deadlines):
            self.assertLess(now_ms(), base + 77 * 30 + 10000)
            for k in set(deadlines) - set(gone):
                before = now_ms()
                if not exists(m / k):
                    gone[k] = now_ms()
                    self.assertGreaterEqual(gone[k], deadlines[k],
                                            k + " went early")
                else:
                    self.assertLess(before, deadlines[k] + LATE * 1000,
                                    k + " stays too long")
                    # What is shown can be read, unless it goes just now.
                    try:
                        self.assertEqual(read_file(m / k), k.encode())
                    except FileNotFoundError:
                        self.assertGreaterEqual(now_ms(), deadlines[k])
            time.sleep(0.01)
        self.assertEqual(os.listdir(m.mnt), ["stays"])
        self.assertEqual(m.info()["db0"].split(",")[:2],
                         ["keys=1", "expires=0"])
        self.assertEqual(m.info()["expired_keys"], "30")

    def test_listings_that_the_kernel_keeps(self):
        at = int(now_ms()) + 2500

        def fill(r):
            for i in range(50):
                r("SET", "dir/gone%d" % i, "x", "PXAT", at)
                r("SET", "dir/stays%d" % i, "x")

        m = self.with_keys(fill)
        stays = sorted("stays%d" % i for i in range(50))
        # Names and attributes are cached over and over.
        while now_ms() < at - 100:
            self.assertEqual(len(os.listdir(m / "dir")), 100)
            for i in range(50):
                os.stat(m / ("dir/gone%d" % i))
            time.sleep(0.05)
        # Nobody looks a name up from here on: the listing must know alone.
        self.sleep_until(at + LATE * 1000)
        self.assertEqual(sorted(os.listdir(m / "dir")), stays)
        for i in range(50):
            self.raises(errno.ENOENT, os.stat, m / ("dir/gone%d" % i))

    def test_all_types_expire(self):
        at = int(now_ms()) + 2000

        def fill(r):
            r("RPUSH", "list", 1, 2)
            r("HSET", "hash", "f", "v")
            r("SADD", "set", "a")
            r("ZADD", "zset", 1, "a")
            r("XADD", "stream", "1-1", "f", "v")
            r("SET", "s", "v")
            r("SET", "s/below", "v")
            for k in ("list", "hash", "set", "zset", "stream", "s"):
                r("PEXPIREAT", k, at)

        m = self.with_keys(fill)
        names = ["hash", "list", "s", "set", "stream", "zset"]
        self.assertEqual(sorted(os.listdir(m.mnt)), names)
        self.assertEqual(read_file(m / "hash/f"), b"v")
        self.assertEqual(read_file(m / "s/%="), b"v")
        self.sleep_until(at + LATE * 1000)
        self.assertEqual(os.listdir(m.mnt), ["s"])
        self.assertEqual(os.listdir(m / "s"), ["below"])
        for n in names:
            if n != "s":
                self.raises(errno.ENOENT, os.stat, m / n)
        self.raises(errno.ENOENT, os.stat, m / "hash/f")

    def test_an_open_file_goes_as_unlinked(self):
        at = int(now_ms()) + 2000
        m = self.with_keys(lambda r: r("SET", "k", "value", "PXAT", at))
        fd = os.open(m / "k", os.O_RDWR)
        self.addCleanup(os.close, fd)
        self.assertEqual(os.pread(fd, 10, 0), b"value")
        self.sleep_until(at + LATE * 1000)
        self.raises(errno.ENOENT, os.stat, m / "k")
        self.assertEqual(os.pread(fd, 10, 0), b"value")
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        # The name can be used again, and nothing takes the new one away.
        write_file(m / "k", b"new")
        time.sleep(0.5)
        self.assertEqual(read_file(m / "k"), b"new")

    def test_what_keeps_and_what_ends_a_deadline(self):
        at = int(now_ms()) + 3000

        def fill(r):
            for k in ("renamed", "overwritten", "appended", "replaced",
                      "removed", "copied", "dir/below"):
                r("SET", k, "value", "PXAT", at)
            r("SET", "over", "value")

        m = self.with_keys(fill)
        os.rename(m / "renamed", m / "new name")
        write_file(m / "overwritten", b"by O_TRUNC")
        with open(m / "appended", "ab") as f:
            f.write(b" more")
        os.rename(m / "over", m / "replaced")
        os.unlink(m / "removed")
        write_file(m / "removed", b"made again")
        write_file(m / "a copy", read_file(m / "copied"))
        os.rename(m / "dir", m / "moved dir")
        self.assertLess(now_ms(), at, "the machine is too slow for this")
        self.assertTrue(exists(m / "new name"))
        self.assertTrue(exists(m / "overwritten"))
        m.save()
        with Redis(dump=os.path.join(m.datadir, "dump.rdb"),
                   options=["--hz", "1"]) as r:
            self.assertEqual(r("PEXPIRETIME", "replaced"), -1)
            self.assertEqual(r("PEXPIRETIME", "removed"), -1)
            self.assertEqual(r("PEXPIRETIME", "a copy"), -1)
        self.sleep_until(at + LATE * 1000)
        self.assertEqual(sorted(os.listdir(m.mnt)),
                         ["a copy", "moved dir", "removed", "replaced"])
        # A directory stays when its last key goes.
        self.assertEqual(os.listdir(m / "moved dir"), [])

    def test_deadlines_survive_a_save(self):
        at = int(now_ms()) + 2500
        later = at + 3600000

        def fill(r):
            r("SET", "soon", "x", "PXAT", at)
            r("SET", "later", "x", "PXAT", later)

        m = self.with_keys(fill)
        m.save()
        m.restart("kill")
        self.assertTrue(exists(m / "soon") or now_ms() >= at)
        self.sleep_until(at + LATE * 1000)
        self.assertEqual(os.listdir(m.mnt), ["later"])
        m.save()
        with Redis(dump=os.path.join(m.datadir, "dump.rdb")) as r:
            self.assertEqual(r.keys(), [b"later"])
            self.assertEqual(r("PEXPIRETIME", "later"), later)
            self.assertEqual(r.digest(), m.ctl("digest"))

    def test_expired_while_nobody_was_there(self):
        at = int(now_ms()) + 1500

        def fill(r):
            for i in range(100):
                r("SET", "k%d" % i, "x", "PXAT", at + i)
            r("SET", "stays", "x")

        m = self.with_keys(fill, conf=None)
        m.kill()
        self.sleep_until(at + 200)
        m.start()
        self.assertEqual(os.listdir(m.mnt), ["stays"])

    def test_many_at_once(self):
        at = int(now_ms()) + 4000
        n = 20000

        def fill(r):
            r.pipeline(("SET", "d%d/k%d" % (i % 7, i), "x", "PXAT", at)
                       for i in range(n))

        m = self.with_keys(fill)
        if now_ms() < at - 300:
            for i in range(0, n, 10):
                exists(m / ("d%d/k%d" % (i % 7, i)))
        self.sleep_until(at)
        harness.wait_until(lambda: all(os.listdir(m / ("d%d" % i)) == []
                                       for i in range(7)), 3, "expiry")
        self.assertEqual(m.info().get("db0", "keys=0").split(",")[0],
                         "keys=0")


if __name__ == "__main__":
    harness.main()
