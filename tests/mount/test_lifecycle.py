# SPDX-License-Identifier: MIT
"""Start and end: clean ends, crashes, and every refusal with its exit code,
its message, and a DATADIR that is what it was."""

import errno
import fcntl
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import time

import harness
from harness import listing, read_file, write_file
from redisdb import Redis

USAGE, NO_MOUNT, BAD_DATA, SAVE_FAILED = 1, 2, 3, 4
LOCK = "keyfs.lock"
NOBODY = harness.NOBODY


def daemon_of(mnt):
    """The pid of the daemon that serves a mount point, or None."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = read_file("/proc/%s/cmdline" % pid).split(b"\0")
        except OSError:
            continue
        if os.fsencode(mnt) in argv and argv[0].endswith(b"keyfs"):
            return int(pid)
    return None


class CleanEnd(harness.Case):
    def each_way(self, how):
        m = self.mount()
        os.mkdir(m / "d")
        write_file(m / "d/f", b"kept")
        os.chmod(m / "d/f", 0o640)
        os.symlink("f", m / "d/l")
        self.assertEqual(m.stop(how), 0)
        self.assertIsNone(harness.mount_type(m.mnt))
        self.assertEqual(os.listdir(m.mnt), [])
        self.assertEqual(os.listdir(m.datadir), ["dump.rdb"])
        m.start()
        self.assertEqual(read_file(m / "d/f"), b"kept")
        self.assertEqual(stat.S_IMODE(os.stat(m / "d/f").st_mode), 0o640)
        self.assertEqual(os.readlink(m / "d/l"), "f")
        # Nothing changed: nothing is saved again.
        before = os.stat(os.path.join(m.datadir, "dump.rdb"))
        self.assertEqual(m.stop(how), 0)
        after = os.stat(os.path.join(m.datadir, "dump.rdb"))
        self.assertEqual((before.st_ino, before.st_mtime_ns),
                         (after.st_ino, after.st_mtime_ns))

    def test_umount(self):
        self.each_way("umount")

    def test_fusermount(self):
        harness.need("fusermount3")
        self.each_way("fusermount")

    def test_sigterm(self):
        self.each_way("term")

    def test_sigint(self):
        self.each_way("int")

    def test_no_save_points_no_save(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "f", b"x")
        self.assertEqual(m.stop(), 0)
        self.assertNotIn("dump.rdb", os.listdir(m.datadir))
        m.start()
        self.assertEqual(os.listdir(m.mnt), [])
        write_file(m / "f", b"x")
        m.save()
        write_file(m / "g", b"x")
        m.restart("term")
        self.assertEqual(os.listdir(m.mnt), ["f"])

    def test_an_end_during_a_save(self):
        m = self.mount()
        rng = harness.rng("end")
        for i in range(64):
            write_file(m / ("f%d" % i), rng.randbytes(1 << 20))
        m.ctl_write("bgsave", "1\n")
        write_file(m / "last", b"word")
        self.assertEqual(m.stop("term"), 0)
        self.assertEqual(os.listdir(m.datadir), ["dump.rdb"])
        m.start()
        self.assertEqual(read_file(m / "last"), b"word")
        self.assertEqual(len(os.listdir(m.mnt)), 65)

    def test_two_signals_are_no_worse_than_one(self):
        m = self.mount()
        rng = harness.rng("two")
        for i in range(48):
            write_file(m / ("f%d" % i), rng.randbytes(1 << 20))
        m.proc.send_signal(signal.SIGTERM)
        for _ in range(20):
            time.sleep(0.005)
            m.proc.send_signal(signal.SIGTERM)
            m.proc.send_signal(signal.SIGINT)
        self.assertEqual(m.proc.wait(60), 0)
        m.start()
        self.assertEqual(len(os.listdir(m.mnt)), 48)

    def test_a_busy_mount_ends_on_sigterm(self):
        m = self.mount()
        write_file(m / "f", b"kept")
        fd = os.open(m / "f", os.O_RDONLY)
        try:
            self.assertEqual(m.stop("term"), 0)
            with self.assertRaises(OSError):
                os.stat("f", dir_fd=fd)
        finally:
            os.close(fd)
        m.start()
        self.assertEqual(read_file(m / "f"), b"kept")

    def test_generations_of_restarts(self):
        m = self.mount()
        want = {}
        for i in range(8):
            want["f%d" % i] = b"%d" % i * 1000
            write_file(m / ("f%d" % i), want["f%d" % i])
            if i % 3 == 2:
                os.unlink(m / ("f%d" % (i - 1)))
                del want["f%d" % (i - 1)]
            m.restart(("umount", "term")[i % 2])
            self.assertEqual({n: read_file(m / n)
                              for n in os.listdir(m.mnt)}, want)


class Crash(harness.Case):
    def test_kill_and_start_again(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "saved", b"1")
        m.save()
        good = read_file(os.path.join(m.datadir, "dump.rdb"))
        write_file(m / "lost", b"2")
        fd = os.open(m / "saved", os.O_RDONLY)
        m.kill()
        t = time.monotonic()
        dead = (errno.ENOTCONN, errno.ECONNABORTED)
        self.raises(dead, os.statvfs, m.mnt)
        self.raises(dead, os.listdir, m.mnt)
        self.raises(dead, os.stat, m / "whatever")
        self.raises(dead, write_file, m / "new", b"x")
        self.assertLess(time.monotonic() - t, 1 * harness.SLOW)
        os.close(fd)
        self.assertEqual(read_file(os.path.join(m.datadir, "dump.rdb")), good)
        m.start()
        self.assertEqual(os.listdir(m.mnt), ["saved"])
        self.assertEqual(harness.guardian.mounts_under(m.mnt), [m.mnt])

    def test_leftovers_of_a_save_are_swept(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "f", b"x")
        m.save()
        m.kill()
        write_file(os.path.join(m.datadir, "temp-keyfs.rdb"),
                   b"REDIS0010 half a dump")
        m.start()
        self.assertNotIn("temp-keyfs.rdb", os.listdir(m.datadir))
        self.assertEqual(read_file(m / "f"), b"x")

    def test_killed_in_the_middle_of_a_save(self):
        m = self.mount(conf='save ""\n')
        rng = harness.rng("middle")
        write_file(m / "first", b"x")
        m.save()
        good = read_file(os.path.join(m.datadir, "dump.rdb"))
        for i in range(64):
            write_file(m / ("f%d" % i), rng.randbytes(1 << 20))
        m.ctl_write("bgsave", "1\n")
        self.assertTrue(m.ctl("bgsave").startswith("running"))
        m.kill()
        if read_file(os.path.join(m.datadir, "dump.rdb")) == good:
            m.start()
            self.assertEqual(os.listdir(m.mnt), ["first"])
        else:  # it had just ended
            m.start()
            self.assertEqual(len(os.listdir(m.mnt)), 65)
        self.assertEqual(sorted(set(os.listdir(m.datadir)) - {LOCK}),
                         ["dump.rdb", "keyfs.conf"])

    def test_a_crash_during_the_start(self):
        m = self.mount(conf='save ""\n')
        rng = harness.rng("start")
        for i in range(48):
            write_file(m / ("f%d" % i), rng.randbytes(1 << 20))
        m.save()
        m.kill()
        before = listing(m.datadir)
        for delay in (0, 0.01, 0.03, 0.06):
            p = subprocess.Popen(m.argv("-f"), stderr=subprocess.DEVNULL)
            harness.watch_pid(p.pid)
            time.sleep(delay)
            p.kill()
            p.wait()
            harness.unwatch_pid(p.pid)
        self.assertEqual(listing(m.datadir)["dump.rdb"], before["dump.rdb"])
        m.start()
        self.assertEqual(len(os.listdir(m.mnt)), 48)


class Refusal(harness.Case):
    """Exit code, message, and nothing changed."""

    def good_dump(self):
        with Redis() as r:
            for i in range(50):
                r("SET", "key%d" % i, b"value %d " % i * 10)
            r("RPUSH", "list", 1, 2, 3)
            r("HSET", "hash", "f", "v")
            return read_file(r.save())

    def refused(self, code, *words, datadir=None, mnt=None, changed=False,
                argv=None, as_user=None, detached=False):
        """Starts keyfs, which must end with @code and a message that has all
        @words (regular expressions). Return: the message."""
        harness.need_mount()
        datadir = datadir or harness.unique("data")
        mnt = mnt or harness.unique("mnt")
        os.makedirs(mnt, exist_ok=True)
        if as_user:
            os.chown(mnt, as_user, as_user)
        before = listing(datadir) if os.path.isdir(datadir) else None
        if argv is None:
            argv = [datadir, mnt] if detached else ["-f", datadir, mnt]
        kw = {"user": as_user, "group": as_user, "extra_groups": []} \
            if as_user else {}
        binary = harness.public_bin() if as_user else harness.keyfs_bin()
        p = subprocess.Popen([binary] + argv,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             cwd=harness.scratch(), **kw)
        harness.watch_pid(p.pid)
        try:
            _, err = p.communicate(timeout=30 * harness.SLOW)
        except subprocess.TimeoutExpired:
            p.kill()
            harness.guardian.unmount_all(mnt)
            self.fail("keyfs runs, exit code %d was expected:\n%s" % (
                code, p.communicate()[1].decode("utf-8", "replace")))
        finally:
            harness.unwatch_pid(p.pid)
        text = err.decode("utf-8", "backslashreplace")
        self.assertEqual(p.returncode, code, text)
        self.assertIsNone(harness.mount_type(mnt))
        for w in words:
            self.assertRegex(text, w)
        self.assertNotRegex(text, r"Sanitizer|runtime error|Assert")
        if not changed and before is not None:
            self.assertEqual(listing(datadir), before)
        return text

    def refused_dump(self, data, *words):
        d = harness.unique("data")
        os.mkdir(d)
        write_file(os.path.join(d, "dump.rdb"), data)
        for detached in (False, True):
            text = self.refused(BAD_DATA, re.escape(os.path.join(
                d, "dump.rdb")), *words, datadir=d, detached=detached)
        return text

    def offset_in(self, text):
        found = re.search(r"(?:offset|byte)\s*=?\s*(\d+)", text)
        self.assertTrue(found, "no offset: " + text)
        return int(found.group(1))

    def test_a_remedy_is_named(self):
        good = self.good_dump()
        text = self.refused_dump(good[:len(good) // 2])
        # One that is in reach: another copy, or the tool that comes along.
        self.assertRegex(text, r"(?i)backup|copy|restore|move|redis-check-rdb"
                               r"|keyfs-check")

    def test_no_dump_at_all(self):
        for data in (b"", b"R", b"REDIS", b"REDIS00", b"hello, world",
                     b"PK\3\4" + bytes(100), b"\0" * 5000):
            with self.subTest(data=data[:20]):
                text = self.refused_dump(data)
                self.assertLess(self.offset_in(text), 10)

    def test_versions(self):
        good = self.good_dump()
        for v in (b"0000", b"0013", b"0099", b"9999", b"00x1", b"-001"):
            with self.subTest(version=v):
                self.refused_dump(b"REDIS" + v + good[9:], r"(?i)version")

    def test_a_foreign_magic(self):
        good = self.good_dump()
        self.refused_dump(b"VALKEY080" + good[9:])

    def test_types(self):
        for t in (8, 26, 100, 200, 243):
            with self.subTest(type=t):
                text = self.refused_dump(
                    b"REDIS0010\xfe\x00\x00\x01a\x01b" + bytes([t]) +
                    b"\x01k\x01v\xff" + bytes(8), r"(?i)type|opcode",
                    r"\b%d\b" % t)
                self.assertIn(self.offset_in(text), (16, 17))

    def test_truncated_anywhere(self):
        good = self.good_dump()
        rng = harness.rng("cut")
        cuts = {len(good) - 1, len(good) - 8, len(good) - 9, 9, 10}
        cuts |= {rng.randrange(9, len(good)) for _ in range(25)}
        for n in sorted(cuts):
            with self.subTest(bytes=n, of=len(good)):
                d = harness.unique("data")
                os.mkdir(d)
                write_file(os.path.join(d, "dump.rdb"), good[:n])
                text = self.refused(BAD_DATA, re.escape(d), datadir=d)
                self.assertLessEqual(self.offset_in(text), n)

    def test_a_flipped_bit_anywhere(self):
        good = self.good_dump()
        rng = harness.rng("flip")
        for _ in range(25):
            at = rng.randrange(len(good))
            bad = bytearray(good)
            bad[at] ^= 1 << rng.randrange(8)
            with self.subTest(at=at):
                d = harness.unique("data")
                os.mkdir(d)
                write_file(os.path.join(d, "dump.rdb"), bad)
                self.refused(BAD_DATA, re.escape(d), datadir=d)

    def test_each_kind_of_damage(self):
        head, tail = b"REDIS0010\xfe\x00", b"\xff" + bytes(8)
        damaged = {
            "a key twice": b"\x00\x01k\x01v\x00\x01k\x01w",
            "a length past the end": b"\x00\x01k\x80\x7f\xff\xff\xff",
            "a huge length": b"\x00\x01k\x81" + b"\x7f" + b"\xff" * 7,
            "a reserved length": b"\x00\x01k\x82v",
            "lzf of the wrong size": b"\x00\x01k\xc3\x03\x05\x01ab",
            "lzf from before the start": b"\x00\x01k\xc3\x03\x05\x20\x10a",
            "an odd hash": b"\x10\x01k" + self.string(self.listpack(b"a")),
            "a listpack without its end":
                b"\x10\x01k" + self.string(
                    self.listpack(b"a", b"b")[:-1] + b"\x00"),
            "a NaN score": b"\x05\x01k\x01\x01m" + struct.pack(
                "<d", float("nan")),
            "an intset of odd width": b"\x0b\x01k" + self.string(
                struct.pack("<II", 3, 1) + b"\0\0\0"),
            "a database of 2^40": b"\xfe\x81" + struct.pack(">Q", 1 << 40) +
                b"\x00\x01k\x01v",
        }
        for what, body in damaged.items():
            with self.subTest(what):
                text = self.refused_dump(head + body + tail)
                self.assertGreaterEqual(self.offset_in(text), 9)

    @staticmethod
    def string(data):
        return struct.pack(">I", len(data)).join((b"\x80", data))

    @staticmethod
    def listpack(*items):
        body = b"".join(bytes([0x80 | len(i)]) + i + bytes([len(i) + 1])
                        for i in items)
        return struct.pack("<IH", len(body) + 7, len(items)) + body + b"\xff"

    def test_the_checksum(self):
        good = self.good_dump()
        bad = bytearray(good)
        bad[-1] ^= 1
        text = self.refused_dump(bytes(bad), r"(?i)checksum|CRC")
        self.assertGreater(self.offset_in(text), len(good) - 10)

    def test_a_locked_datadir(self):
        m = self.mount()
        write_file(m / "f", b"x")
        m.save()
        before = listing(m.datadir)
        text = self.refused(BAD_DATA, re.escape(m.datadir), r"\b%d\b" % m.pid,
                            datadir=m.datadir, changed=True)
        self.assertRegex(text, r"(?i)lock|use|running|another")
        self.assertEqual(listing(m.datadir), before)
        self.assertEqual(read_file(m / "f"), b"x")
        # The same by another name.
        link = harness.unique("link")
        os.symlink(m.datadir, link)
        self.refused(BAD_DATA, datadir=link, changed=True)
        m.restart("kill")
        self.assertEqual(read_file(m / "f"), b"x")

    def test_mounting_twice(self):
        m = self.mount()
        write_file(m / "f", b"x")
        p = subprocess.run(m.argv("-f"), stderr=subprocess.PIPE, timeout=60,
                           check=False)
        self.assertIn(p.returncode, (NO_MOUNT, BAD_DATA), p.stderr)
        self.assertEqual(read_file(m / "f"), b"x")
        self.assertEqual(harness.guardian.mounts_under(m.mnt), [m.mnt])

    def test_several_start_at_once(self):
        harness.need_mount()
        mnt = harness.unique("mnt")
        os.mkdir(mnt)
        procs = []
        for _ in range(5):
            p = subprocess.Popen([harness.keyfs_bin(), "-f",
                                  harness.unique("data"), mnt],
                                 stderr=subprocess.PIPE)
            harness.watch_pid(p.pid)
            procs.append(p)
        try:
            harness.wait_until(lambda: sum(p.poll() is None
                                           for p in procs) == 1,
                               15, "just one daemon")
            for p in procs:
                if p.poll() is None:
                    continue
                text = p.stderr.read().decode()
                self.assertEqual(p.returncode, NO_MOUNT, text)
                self.assertRegex(text, "(?s)mounted.* already")
            harness.wait_until(lambda: harness.mount_type(mnt), 10, "mount")
            self.assertEqual(harness.guardian.mounts_under(mnt), [mnt])
        finally:
            harness.guardian.unmount_all(mnt)
            for p in procs:
                p.wait(30 * harness.SLOW)
                p.stderr.close()
                harness.unwatch_pid(p.pid)

    def test_datadir_inside_the_mount_point(self):
        mnt = harness.unique("mnt")
        os.makedirs(mnt + "/sub/data")
        write_file(mnt + "/sub/data/dump.rdb", self.good_dump())
        for d in (mnt + "/sub/data", mnt, mnt + "/sub/../sub/data"):
            self.refused(USAGE, r"(?i)inside", re.escape(mnt), datadir=d,
                         mnt=mnt)
        link = harness.unique("link")
        os.symlink(mnt + "/sub", link)
        self.refused(USAGE, r"(?i)inside",
                     datadir=link + "/data", mnt=mnt)
        # A DATADIR that would have to be made there is not made.
        self.refused(USAGE, r"(?i)inside",
                     datadir=mnt + "/new", mnt=mnt)
        self.assertEqual(os.listdir(mnt), ["sub"])

    def test_a_datadir_beside_with_a_like_name(self):
        base = harness.unique("base")
        os.makedirs(base + "/m")
        m = self.mount(datadir=base + "/m-data", mnt=base + "/m")
        write_file(m / "f", b"x")
        m.restart()
        self.assertEqual(read_file(m / "f"), b"x")

    def test_an_unwritable_datadir(self):
        harness.need_root()
        d = harness.unique("data")
        os.mkdir(d, 0o755)
        write_file(os.path.join(d, "dump.rdb"), self.good_dump())
        text = self.refused(BAD_DATA, re.escape(d), r"Permission denied",
                            datadir=d, as_user=NOBODY)
        self.assertRegex(text, r"(?i)writ|own|permission|chown|chmod")
        os.chmod(d, 0o700)
        self.refused(BAD_DATA, re.escape(d), r"Permission denied", datadir=d,
                     as_user=NOBODY)
        # One that cannot be made.
        self.refused(BAD_DATA, r"Permission denied",
                     datadir=d + "/new", as_user=NOBODY)

    def test_an_unreadable_dump(self):
        harness.need_root()
        d = harness.unique("data")
        os.mkdir(d)
        os.chown(d, NOBODY, NOBODY)
        write_file(os.path.join(d, "dump.rdb"), self.good_dump())
        os.chmod(os.path.join(d, "dump.rdb"), 0o600)
        self.refused(BAD_DATA, r"dump\.rdb", r"Permission denied", datadir=d,
                     as_user=NOBODY)

    def test_things_that_are_no_directories(self):
        f = harness.unique("file")
        write_file(f, b"x")
        self.refused(BAD_DATA, re.escape(f), r"(?i)not a directory", datadir=f)
        d = harness.unique("data")
        self.refused(NO_MOUNT, r"(?i)not a directory", datadir=d, changed=True,
                     argv=["-f", d, f])
        self.refused(NO_MOUNT, r"(?i)no such", datadir=d, changed=True,
                     argv=["-f", d, f + "-none"])
        d = harness.unique("data")
        os.makedirs(d + "/dump.rdb")
        self.refused(BAD_DATA, r"dump\.rdb", datadir=d)

    def test_usage(self):
        d, mnt = harness.unique("data"), harness.unique("mnt")
        for argv, words in (([], "DATADIR"), ([d], "MOUNTPOINT"),
                            ([d, mnt, "more"], "more"),
                            (["--nonsense", d, mnt], "nonsense"),
                            (["-o", "nonsense", d, mnt], "nonsense"),
                            (["-o", "sep=x", d, mnt], "sep=x"),
                            (["-o", "ctl=maybe", d, mnt], "ctl=maybe"),
                            (["-o", "fsname=", d, mnt], "fsname="),
                            (["-o", "allow_other,bogus=1", d, mnt], "bogus"),
                            (["-o"], "-o"), (["-x", d, mnt], "-x|x")):
            with self.subTest(argv=argv):
                self.refused(USAGE, words, datadir=d, mnt=mnt, argv=argv)
                self.assertFalse(os.path.exists(d))

    def test_help_and_version(self):
        for flag, words in (("--help", "usage.*DATADIR.*MOUNTPOINT"),
                            ("-h", "usage"), ("--version", r"keyfs \d+\.\d+"),
                            ("-V", "fuse")):
            r = subprocess.run([harness.keyfs_bin(), flag], check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual((r.returncode, r.stderr), (0, b""))
            self.assertRegex(r.stdout.decode(), "(?is)" + words)

    def test_bad_configuration(self):
        for line, words in (
                ("nonsense yes", "nonsense"),
                ("save 1", "save"), ("save a b", "save"),
                ("maxmemory lots", "maxmemory"),
                ("rdbcompression maybe", "rdbcompression"),
                ("dbfilename ../up.rdb", "dbfilename"),
                ("dbfilename", "dbfilename"),
                ('dbfilename "unbalanced', r"(?i)quot|unbalanced"),
                ("loglevel loud", "loglevel")):
            with self.subTest(line=line):
                d = harness.unique("data")
                os.mkdir(d)
                write_file(os.path.join(d, "keyfs.conf"), (
                    "# comment\nsave 900 1\n\n%s\nsave 60 1\n" %
                    line).encode())
                write_file(os.path.join(d, "dump.rdb"), b"not even looked at")
                text = self.refused(USAGE, r"keyfs\.conf", words, datadir=d)
                self.assertRegex(text, r"(?:line |keyfs\.conf:)4\b")

    def test_temporaries_are_not_swept_by_a_refusal(self):
        d = harness.unique("data")
        os.mkdir(d)
        write_file(os.path.join(d, "dump.rdb"), b"damaged")
        write_file(os.path.join(d, "temp-keyfs.rdb"), b"perhaps of use")
        write_file(os.path.join(d, "somebody's file"), b"x")
        self.refused(BAD_DATA, datadir=d)


class Detached(harness.Case):
    def start(self, command, mnt, shown_as=None, **kw):
        """Runs a command that leaves a daemon behind, whose command line
        names the mount point as @shown_as."""
        r = subprocess.run(command, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=60 * harness.SLOW, check=False, **kw)
        pid = daemon_of(shown_as or mnt)
        if pid:
            harness.watch_pid(pid)
        self.addCleanup(self.end, mnt, pid)
        return r

    def end(self, mnt, pid):
        harness.guardian.unmount_all(mnt)
        if pid:
            harness.wait_until(lambda: not os.path.exists("/proc/%d" % pid),
                               30, "end of the daemon")
            harness.unwatch_pid(pid)

    def paths(self):
        harness.need_mount()
        harness.keyfs_bin()
        mnt = harness.unique("mnt")
        os.mkdir(mnt)
        return harness.unique("data"), mnt

    def test_returns_when_the_mount_answers(self):
        d, mnt = self.paths()
        os.mkdir(d)
        with Redis() as r:
            r.pipeline(("SET", "key%d" % i, "x" * 100) for i in range(50000))
            shutil.copyfile(r.save(), os.path.join(d, "dump.rdb"))
        r = self.start(["sh", "-c", '"$0" "$1" "$2" && ls "$2" | wc -l',
                        harness.keyfs_bin(), d, mnt], mnt)
        self.assertEqual((r.returncode, r.stdout.strip()), (0, b"50000"),
                         r.stderr)
        pid = daemon_of(mnt)
        # It lets go of all that was the caller's.
        self.assertEqual(os.readlink("/proc/%d/cwd" % pid), "/")
        for fd in (0, 1, 2):
            self.assertEqual(os.readlink("/proc/%d/fd/%d" % (pid, fd)),
                             "/dev/null")
        self.assertEqual(os.getsid(pid), pid)

    def test_without_standard_streams(self):
        # The first files that it opens get the numbers 0, 1 and 2 then.
        for closed in ("<&- >&- 2>&-", "2>&-"):
            with self.subTest(closed=closed):
                d, mnt = self.paths()
                r = self.start(["timeout", "-s", "KILL", "20", "sh", "-c",
                                '"$0" "$1" "$2" ' + closed,
                                harness.keyfs_bin(), d, mnt], mnt)
                self.assertEqual(r.returncode, 0, r.stderr)
                write_file(mnt + "/f", b"x")
                write_file(mnt + "/.ctl/save", b"1\n")
                self.assertTrue(os.path.exists(d + "/dump.rdb"))

    def test_nothing_of_the_callers_stays_open(self):
        d, mnt = self.paths()
        lock = harness.unique("lock")
        with open(lock, "w", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            r = self.start([harness.keyfs_bin(), d, mnt], mnt,
                           pass_fds=(f.fileno(),))
            self.assertEqual(r.returncode, 0, r.stderr)
        with open(lock, "w", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_relative_paths(self):
        d, mnt = self.paths()
        r = self.start([harness.keyfs_bin(), os.path.basename(d),
                        os.path.basename(mnt)], mnt, os.path.basename(mnt),
                       cwd=harness.scratch())
        self.assertEqual(r.returncode, 0, r.stderr)
        write_file(mnt + "/f", b"x")
        write_file(mnt + "/.ctl/save", b"1\n")
        self.assertTrue(os.path.exists(d + "/dump.rdb"))
        write_file(mnt + "/.ctl/config/loglevel", b"verbose\n")
        self.assertTrue(os.path.exists(d + "/keyfs.conf"))

    def test_an_end_and_a_start_at_once(self):
        harness.need_root()
        d, mnt = self.paths()
        script = ('set -e\n"$0" "$1" "$2"\n'
                  'for i in 1 2 3 4 5; do\n'
                  '  echo $i > "$2/f$i"\n  umount "$2"\n  "$0" "$1" "$2"\n'
                  'done\ncat "$2"/f*\n')
        r = self.start(["sh", "-c", script, harness.keyfs_bin(), d, mnt], mnt)
        self.assertEqual((r.returncode, r.stdout), (0, b"1\n2\n3\n4\n5\n"),
                         r.stderr)

    def test_mount_8(self):
        # mount(8) looks for the program in the system's directories: one of
        # them is ours, in a mount namespace of its own.
        harness.need_root()
        harness.need("mount.fuse3", "unshare")
        d, mnt = self.paths()
        bin_dir = os.path.dirname(harness.public_bin())
        script = ('set -e\ntrap "umount -l $2 2>/dev/null || :" EXIT\n'
                  'mount --bind "$0" /usr/local/bin\n'
                  'mount -t fuse.keyfs -o sep=:,nofail,x-test=1,noexec '
                  '"$1" "$2"\n'
                  'grep " $2 fuse.keyfs " /proc/mounts\n'
                  'mkdir "$2/a"\nprintf x > "$2/a/b"\n'
                  'printf "#!/bin/sh\\n" > "$2/run"\nchmod 755 "$2/run"\n'
                  'if "$2/run" 2>/dev/null; then echo it ran; fi\n'
                  'umount "$2"\n')
        r = self.start(["unshare", "-m", "--propagation", "private", "sh",
                        "-c", script, bin_dir, d, mnt], mnt)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b" fuse.keyfs ", r.stdout)
        self.assertIn(b"noexec", r.stdout)
        self.assertNotIn(b"it ran", r.stdout)
        pid = daemon_of(mnt)
        if pid:
            self.end(mnt, pid)
        with Redis(dump=d + "/dump.rdb") as r:
            self.assertEqual(r("GET", "a:b"), b"x")

    def test_mount_8_with_the_program_in_the_source(self):
        harness.need_root()
        harness.need("mount.fuse3")
        d, mnt = self.paths()
        r = self.start(["mount", "-t", "fuse",
                        harness.keyfs_bin() + "#" + d, mnt], mnt)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(harness.mount_type(mnt), harness.FSTYPE)
        write_file(mnt + "/f", b"x")
        self.assertEqual(os.listdir(mnt), ["f"])


class Unprivileged(harness.Case):
    """As a user who is not root, through fusermount3."""

    def test_an_ordinary_user(self):
        harness.need_root()
        harness.need("fusermount3", "mount")
        if not os.stat(shutil.which("fusermount3")).st_mode & stat.S_ISUID:
            self.skipTest("fusermount3 is not set-user-ID")
        d = harness.unique("data")
        os.mkdir(d)
        os.chown(d, NOBODY, NOBODY)
        m = self.mount(datadir=d, run_as=NOBODY, start=False)
        got = harness.as_user(0, lambda: self.in_namespace(m))
        if isinstance(got, str):
            self.skipTest(got)
        seen_by_root, mine, code = got
        self.assertEqual(seen_by_root, errno.EACCES)
        self.assertEqual(mine, [NOBODY, NOBODY, True])
        self.assertEqual(code, 0, m.log())
        with Redis(dump=os.path.join(d, "dump.rdb")) as r:
            self.assertEqual(r("GET", "f"), b"mine")

    def in_namespace(self, m):
        """All of it, in a mount namespace where everybody may open /dev/fuse.
        Return: a reason to skip, or what is to be checked."""
        node = harness.unique("fuse")
        try:
            harness.unshare_mounts()
            os.mknod(node, 0o666 | stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
            os.chmod(node, 0o666)
            subprocess.run(["mount", "--bind", node, "/dev/fuse"], check=True)
            os.close(os.open("/dev/fuse", os.O_RDWR))
        except (OSError, subprocess.CalledProcessError) as e:
            return "no /dev/fuse for others: %s" % e
        with open(m.log_path, "ab") as log:
            p = subprocess.Popen(m.argv("-f"), stderr=log, user=NOBODY,
                                 group=NOBODY, extra_groups=[], cwd="/")
        harness.watch_pid(p.pid)

        def work():
            write_file(m / "f", b"mine")
            write_file(m.ctl_path("save"), b"1")
            return [os.stat(m / "f").st_uid, os.stat(m.mnt).st_uid,
                    len(read_file(m.ctl_path("dump.rdb"))) > 0]

        try:
            harness.wait_until(lambda: harness.mount_type(m.mnt) or
                               p.poll() is not None, 20, "mount")
            if p.returncode is not None:
                raise AssertionError(m.log())
            mine = harness.as_user(NOBODY, work)
            try:
                os.stat(m / "f")
                seen_by_root = 0
            except OSError as e:
                seen_by_root = e.errno  # root is nobody here
            subprocess.run(["fusermount3", "-u", m.mnt], user=NOBODY,
                           group=NOBODY, extra_groups=[], check=True)
            return [seen_by_root, mine, p.wait(30)]
        finally:
            p.kill()
            p.wait()
            harness.unwatch_pid(p.pid)


if __name__ == "__main__":
    harness.main()
