# SPDX-License-Identifier: MIT
"""The control files: what each reads and takes, how errors reach a shell, what
a failed save does, and that what was configured stays so."""

import errno
import hashlib
import os
import resource
import signal
import stat
import subprocess
import time

import harness
from harness import read_file, write_file
from redisdb import Redis, check_rdb

FILES = ["README", "bgsave", "digest", "dump.rdb", "info", "lastsave", "save"]
CONFIG = ["dbfilename", "loglevel", "maxmemory", "rdbchecksum",
          "rdbcompression", "save", "stop-writes-on-bgsave-error"]
# A directive, values it takes, what each then reads, values it refuses.
SETTABLE = [
    ("save", [("900 1 300 10", "900 1 300 10"), ("", '""'), ('""', '""'),
              ("3600 1", "3600 1"), ("  60   10000 ", "60 10000")],
     ["junk", "1", "1 2 3", "-1 5", "5 -1", "0 1", "1 x", "1 1 1 1 x x",
      "99999999999999999999 1"]),
    ("rdbcompression", [("no", "no"), ("yes", "yes")],
     ["maybe", "", "2", "yesno", "yes no"]),
    ("stop-writes-on-bgsave-error", [("no", "no"), ("yes", "yes")],
     ["on", "", "yes\nno"]),
    ("maxmemory", [("1073741824", "1073741824"), ("2gb", "2147483648"),
                   ("300m", "300000000"), ("1000mb", "1048576000"),
                   ("0", "0")],
     ["-1", "lots", "1.5gb", "10xb", "", "99999999999999999999999"]),
    ("loglevel", [("debug", "debug"), ("verbose", "verbose"),
                  ("warning", "warning"), ("notice", "notice")],
     ["loud", "", "3"]),
]


def shell(sh, command, m, check=False):
    """Runs a line in a shell whose directory is the mount's .ctl."""
    return subprocess.run([sh, "-c", command], cwd=m.ctl_path(""),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, LC_ALL="C"), check=check)


class Reading(harness.Case):
    def test_what_is_there(self):
        m = self.mount(options="ctl=visible")
        m.save()
        self.assertIn(".ctl", os.listdir(m.mnt))
        names = os.listdir(m.ctl_path(""))
        for n in FILES + ["config"]:
            self.assertIn(n, names)
        self.assertEqual(len(names), len(set(names)))
        for n in CONFIG:
            self.assertIn(n, os.listdir(m.ctl_path("config")))
        readme = m.ctl("README")
        for n in FILES + CONFIG:
            self.assertIn(n, readme)

    def test_sizes_are_true_and_walks_end(self):
        m = self.mount(options="ctl=visible")
        write_file(m / "f", b"x" * 1000)
        m.save()
        n = 0
        for base, _, files in os.walk(m.ctl_path("")):
            for name in files:
                p = os.path.join(base, name)
                fd = os.open(p, os.O_RDONLY)
                got = b""
                while True:
                    part = os.read(fd, 700)  # in pieces, all of one version
                    if not part:
                        break
                    got += part
                self.assertEqual(os.fstat(fd).st_size, len(got), p)
                os.close(fd)
                st = os.stat(p)
                self.assertEqual(st.st_nlink, 1)
                self.assertTrue(stat.S_ISREG(st.st_mode))
                if name != "dump.rdb":
                    self.assertEqual(got[-1:], b"\n", p)
                n += 1
        self.assertGreaterEqual(n, len(FILES) + len(CONFIG))
        tar = subprocess.run(["tar", "cf", "-", "-C", m.mnt, ".ctl"],
                             stdout=subprocess.PIPE, check=True).stdout
        self.assertGreater(len(tar), 1000)

    def test_not_listed(self):
        m = self.mount()
        write_file(m / "f", b"")
        self.assertEqual(os.listdir(m.mnt), ["f"])
        self.assertTrue(os.path.isdir(m.ctl_path("")))
        self.raises((errno.EEXIST,), os.mkdir, m / ".ctl")
        # It is special in the root alone.
        os.mkdir(m / "d")
        self.raises(errno.ENOENT, os.stat, m / "d/.ctl")
        write_file(m / "d/.ctl", b"mine")
        self.assertEqual(os.listdir(m / "d"), [".ctl"])
        os.unlink(m / "d/.ctl")
        subprocess.run("rm -rf ./*", shell=True, cwd=m.mnt, check=True)
        self.assertEqual(os.listdir(m.mnt), [])
        self.assertTrue(m.ctl("info"))

    def test_switched_off(self):
        m = self.mount(options="ctl=off")
        self.raises(errno.ENOENT, os.stat, m.ctl_path("info"))
        self.raises(errno.ENOENT, os.stat, m / ".ctl")
        write_file(m / "f", b"x")
        self.assertEqual(os.listdir(m.mnt), ["f"])

    def test_info(self):
        m = self.mount(conf="save 3600 1000\n")
        for i in range(10):
            write_file(m / ("f%d" % i), b"x" * 1000)
        text = m.ctl("info")
        for section in ("Memory", "Persistence", "Stats", "Keyspace"):
            self.assertRegex(text, r"(?m)^# %s\r?$" % section)
        i = m.info()
        for name in ("used_memory", "used_memory_human", "maxmemory",
                     "rdb_changes_since_last_save", "rdb_bgsave_in_progress",
                     "rdb_last_save_time", "rdb_last_bgsave_status",
                     "rdb_last_bgsave_time_sec", "loading", "expired_keys",
                     "db0"):
            self.assertIn(name, i)
        self.assertGreater(int(i["used_memory"]), 10000)
        self.assertGreaterEqual(int(i["rdb_changes_since_last_save"]), 10)
        self.assertEqual(i["db0"].split(",")[:2], ["keys=10", "expires=0"])
        self.assertEqual(i["rdb_bgsave_in_progress"], "0")
        m.save()
        i = m.info()
        self.assertEqual(i["rdb_changes_since_last_save"], "0")
        self.assertEqual(i["rdb_last_bgsave_status"], "ok")
        self.assertEqual(i["rdb_last_save_time"], m.ctl("lastsave"))
        os.unlink(m / "f3")
        harness.wait_until(lambda: m.info()["db0"].startswith("keys=9,"), 2,
                           "keys in info")
        self.assertGreaterEqual(int(m.info()["rdb_changes_since_last_save"]),
                                1)

    def test_info_is_never_torn(self):
        m = self.mount()
        end = time.monotonic() + 1.5
        i = 0
        while time.monotonic() < end:
            i += 1
            write_file(m / "f", b"x" * (i % 5000))
            text = read_file(m.ctl_path("info"))
            self.assertEqual(text.count(b"# Keyspace"), 1)
            self.assertTrue(text.endswith(b"\n"))
            for line in text.decode().splitlines():
                self.assertRegex(line, r"^(#.*|\w+:.*|\s*)$")

    def test_digest(self):
        m = self.mount()
        self.assertEqual(m.ctl("digest"), "0" * 40)
        data = {b"a": b"1", b"dir/b": b"xyz" * 1000, b"n\xff": b""}
        os.mkdir(m / "dir")
        total = self.mix(bytes(20), bytes(4))
        for k, v in data.items():
            write_file(m / k, v)
            d = self.mix(bytes(20), k)
            d = self.mix(d, bytes(4))
            d = self.mix(d, v)
            total = self.xor(total, hashlib.sha1(d).digest())
        self.assertEqual(m.ctl("digest"), total.hex())
        os.chmod(m / "a", 0o600)
        m.save()
        digest = m.ctl("digest")
        with Redis(dump=os.path.join(m.datadir, "dump.rdb")) as r:
            self.assertEqual(r.digest(), digest)

    @staticmethod
    def xor(a, b):
        return bytes(x ^ y for x, y in zip(a, b))

    @classmethod
    def mix(cls, d, data):
        """Redis' mixDigest() on the digest of what is mixed in."""
        return hashlib.sha1(cls.xor(d, hashlib.sha1(data).digest())).digest()


class Writing(harness.Case):
    def test_directives(self):
        m = self.mount()
        for name, good, bad in SETTABLE:
            path = "config/" + name
            for text, reads in good:
                for end in ("\n", ""):
                    if text + end == "":
                        continue
                    m.ctl_write(path, text + end)
                    self.assertEqual(m.ctl(path), reads, (name, text))
                    # What is read may be written.
                    same = read_file(m.ctl_path(path))
                    m.ctl_write(path, same)
                    self.assertEqual(read_file(m.ctl_path(path)), same)
            value = m.ctl(path)
            conf = read_file(os.path.join(m.datadir, "keyfs.conf"))
            for text in bad:
                if name == "save" and text == "":
                    continue
                with self.subTest(directive=name, text=text):
                    self.raises(errno.EINVAL, m.ctl_write, path, text + "\n")
                    self.assertEqual(m.ctl(path), value)
            self.raises(errno.EINVAL, m.ctl_write, path, b"\xff\0\n")
            self.raises(errno.EINVAL, m.ctl_write, path, b"x" * 4000)
            self.assertEqual(m.ctl(path), value)
            self.assertEqual(read_file(os.path.join(m.datadir,
                                                    "keyfs.conf")), conf)

    def test_fixed_directives(self):
        m = self.mount(conf="rdbchecksum yes\ndbfilename dump.rdb\n")
        for name, value, other in (("dbfilename", "dump.rdb", "other.rdb"),
                                   ("rdbchecksum", "yes", "no")):
            self.assertEqual(m.ctl("config/" + name), value)
            self.raises((errno.EPERM, errno.EACCES), m.ctl_write,
                        "config/" + name, other + "\n")
            self.assertEqual(m.ctl("config/" + name), value)

    def test_each_write_is_parsed_alone(self):
        m = self.mount()
        p = m.ctl_path("config/loglevel")
        fd = os.open(p, os.O_WRONLY)
        os.pwrite(fd, b"verbose\n", 100)
        self.assertEqual(m.ctl("config/loglevel"), "verbose")
        os.write(fd, b"debug\n")
        os.write(fd, b"notice\n")
        self.assertEqual(m.ctl("config/loglevel"), "notice")
        self.raises(errno.EINVAL, os.write, fd, b"not\n")
        os.write(fd, b"warning")
        os.close(fd)
        self.assertEqual(m.ctl("config/loglevel"), "warning")
        with open(p, "ab") as f:  # >>
            f.write(b"verbose\n")
        self.assertEqual(m.ctl("config/loglevel"), "verbose")
        # Truncation alone neither sets nor triggers anything.
        with open(p, "wb"):
            pass
        os.truncate(p, 0)
        self.assertEqual(m.ctl("config/loglevel"), "verbose")
        last = m.ctl("save")
        with open(m.ctl_path("save"), "wb"):
            pass
        self.assertEqual(m.ctl("save"), last)

    def test_shells_see_the_errors(self):
        harness.need("bash", "dash")
        m = self.mount()
        for sh, text in (("bash", b"Invalid argument"), ("dash", b"rror")):
            r = shell(sh, "echo maybe > config/rdbcompression", m)
            self.assertNotEqual(r.returncode, 0, sh)
            self.assertIn(text, r.stderr)
            r = shell(sh, "printf 'no\\n' >> config/rdbcompression && "
                          "cat config/rdbcompression", m)
            self.assertEqual((r.returncode, r.stdout), (0, b"no\n"), r.stderr)
            r = shell(sh, "echo yes > config/rdbcompression; "
                          "echo 1 > save && cat lastsave", m)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertLess(abs(int(r.stdout) - time.time()), 60)
            r = shell(sh, "echo 1 > no-such-file", m)
            self.assertNotEqual(r.returncode, 0)
        r = shell("bash", "echo other > config/dbfilename", m)
        self.assertNotEqual(r.returncode, 0)
        r = shell("bash", "echo no-such | tee config/loglevel >/dev/null", m)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(b"Invalid argument", r.stderr)

    def test_nothing_can_be_made_moved_or_removed(self):
        m = self.mount()
        m.save()
        write_file(m / "f", b"x")
        deny = (errno.EACCES, errno.EPERM)
        for where in ("", "config/"):
            p = m.ctl_path(where + "new")
            self.raises(errno.EACCES, os.open, p, os.O_CREAT | os.O_WRONLY)
            self.raises(deny, os.mkdir, p)
            self.raises(deny, os.symlink, "x", p)
            self.raises(deny, os.rename, m / "f", p)
            self.raises(errno.ENOENT, os.stat, p)
        for n in FILES + ["config/save"]:
            p = m.ctl_path(n)
            self.raises(deny, os.unlink, p)
            self.raises(deny, os.rename, p, m / "stolen")
            self.raises(deny, os.rename, m / "f", p)
            self.raises(deny, os.chmod, p, 0o777)
            self.raises(deny + (errno.EXDEV,), os.link, p, m / "hard")
        self.raises(deny + (errno.EBUSY, errno.ENOTEMPTY), os.rmdir,
                    m.ctl_path("config"))
        self.raises(deny + (errno.EBUSY, errno.ENOTEMPTY), os.rmdir,
                    m / ".ctl")
        self.raises(deny + (errno.EBUSY,), os.rename, m / ".ctl", m / "c")
        self.assertEqual(os.listdir(m.mnt), ["f"])
        self.raises(deny, write_file, m.ctl_path("info"), b"x")
        self.raises(deny, write_file, m.ctl_path("dump.rdb"), b"x")

    def test_who_may(self):
        harness.need_root()
        m = self.mount(options="allow_other")
        write_file(m / "f", b"x")
        m.save()
        p = m.ctl_path

        def attempts():
            out = []
            for n in ("info", "README", "config/save", "lastsave", "dump.rdb"):
                try:
                    out.append(len(read_file(p(n))) > 0)
                except OSError as e:
                    out.append(e.errno)
            for n in ("save", "bgsave", "config/loglevel", "info"):
                try:
                    os.close(os.open(p(n), os.O_WRONLY))
                    out.append(True)
                except OSError as e:
                    out.append(e.errno)
            return out

        self.assertEqual(harness.as_user(harness.NOBODY, attempts),
                         [True] * 4 + [errno.EACCES] * 5)
        self.assertEqual(harness.as_user(
            harness.NOBODY, lambda: read_file(m / "f")), b"x")


class Saving(harness.Case):
    def fill(self, m, megabytes):
        """Data that takes a while to save: nothing in it can be squeezed."""
        rng = harness.rng("fill")
        for i in range(megabytes):
            write_file(m / ("fill%d" % i), rng.randbytes(1 << 20))

    def running(self, m):
        return m.ctl("bgsave").startswith("running")

    def wait_idle(self, m, seconds=60):
        harness.wait_until(lambda: m.ctl("bgsave") == "idle", seconds,
                           "end of the save")

    def test_save_waits_until_it_is_durable(self):
        m = self.mount()
        t = int(time.time())
        for i in range(5):
            write_file(m / "k", b"%d" % i)
            m.save()
            copy = harness.unique("copy")
            harness.shutil.copyfile(os.path.join(m.datadir, "dump.rdb"), copy)
            with Redis(dump=copy) as r:
                self.assertEqual(r("GET", "k"), b"%d" % i)
        self.assertGreaterEqual(int(m.ctl("lastsave")), t)
        self.assertEqual(sorted(n for n in os.listdir(m.datadir)
                                if n.endswith(".rdb")), ["dump.rdb"])
        said = m.ctl("save")
        self.assertRegex(said, r"\bok\b")
        self.assertIn("keys=1", said)
        self.assertIn("bytes=%d" % os.stat(os.path.join(
            m.datadir, "dump.rdb")).st_size, said)

    def test_before_the_first_save(self):
        t = int(time.time())
        m = self.mount()
        self.raises(errno.ENOENT, os.stat, m.ctl_path("dump.rdb"))
        self.assertEqual(m.ctl("bgsave"), "idle")
        # As Redis: the time of the start.
        self.assertLess(abs(int(m.ctl("lastsave")) - t), 60)
        self.assertNotRegex(m.ctl("save"), r"\bok\b|error")

    def test_a_second_bgsave_is_refused(self):
        m = self.mount(conf='save ""\n')
        self.fill(m, 96)
        for _ in range(20):
            m.ctl_write("bgsave", "1\n")
            said = m.ctl("bgsave")
            try:
                m.ctl_write("bgsave", "1\n")
            except OSError as e:
                self.assertEqual(e.errno, errno.EALREADY)
                self.assertRegex(said, r"^running \d+%$")
                break
            self.wait_idle(m)
        else:
            self.fail("20 saves of 96 MB all ended between two writes")
        self.wait_idle(m)
        self.assertEqual(m.info()["rdb_last_bgsave_status"], "ok")

    def test_the_cut_of_bgsave(self):
        m = self.mount(conf='save ""\n')
        self.fill(m, 64)
        write_file(m / "k", b"before")
        m.ctl_write("bgsave", "1\n")
        write_file(m / "k", b"after!")
        write_file(m / "new", b"after!")
        os.unlink(m / "fill0")
        os.rename(m / "fill1", m / "moved")
        self.wait_idle(m)
        with Redis(dump=os.path.join(m.datadir, "dump.rdb")) as r:
            self.assertEqual(r("GET", "k"), b"before")
            self.assertEqual(r("EXISTS", "new", "moved"), 0)
            self.assertEqual(r("EXISTS", "fill0", "fill1"), 2)

    def test_nothing_after_the_request_is_in_the_dump(self):
        m = self.mount(conf='save ""\n')
        fd = os.open(m / "k", os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        for i in range(12):
            os.pwrite(fd, b"before %02d" % i, 0)
            m.ctl_write("bgsave", "1\n")
            os.pwrite(fd, b"after! %02d" % i, 0)
            self.wait_idle(m)
            with Redis(dump=os.path.join(m.datadir, "dump.rdb")) as r:
                self.assertEqual(r("GET", "k"), b"before %02d" % i)

    def test_a_save_during_a_save_cuts_later(self):
        m = self.mount(conf='save ""\n')
        self.fill(m, 64)
        for i in range(5):
            try:
                m.ctl_write("bgsave", "1\n")
            except OSError as e:
                self.assertEqual(e.errno, errno.EALREADY)
            write_file(m / "k", b"%d" % i)
            m.save()
            harness.shutil.copyfile(os.path.join(m.datadir, "dump.rdb"),
                                    harness.scratch() + "/now.rdb")
            with Redis(dump=harness.scratch() + "/now.rdb") as r:
                self.assertEqual(r("GET", "k"), b"%d" % i)

    def test_a_signal_ends_the_waiting_not_the_save(self):
        m = self.mount(conf='save ""\n')
        self.fill(m, 128)
        for _ in range(10):
            saves = int(m.info()["rdb_saves"])
            p = subprocess.Popen(["sh", "-c", "echo 1 > save"],
                                 cwd=m.ctl_path(""),
                                 stderr=subprocess.DEVNULL)
            while not self.running(m) and p.poll() is None:
                time.sleep(0.001)
            t = time.monotonic()
            p.send_signal(signal.SIGINT)
            p.wait(30)
            waited = time.monotonic() - t
            was_running = self.running(m)
            self.wait_idle(m)
            self.assertEqual(int(m.info()["rdb_saves"]), saves + 1)
            if p.returncode == -signal.SIGINT and was_running:
                self.assertLess(waited, 1 * harness.SLOW)
                return
        self.fail("no signal ever reached a waiting writer")

    def test_save_points_run_by_themselves(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "f", b"1")
        time.sleep(1.5)
        self.assertEqual(m.info()["rdb_saves"], "0")
        m.ctl_write("config/save", "1 3\n")
        time.sleep(1.6)
        self.assertEqual(m.info()["rdb_saves"], "0", "1 change, 3 needed")
        for i in range(3):
            write_file(m / ("g%d" % i), b"1")
        harness.wait_until(lambda: m.info()["rdb_saves"] == "1", 5,
                           "a save by save point")
        time.sleep(2.5)
        self.assertEqual(m.info()["rdb_saves"], "1", "nothing had changed")
        for i in range(4):
            os.unlink(m / ("g%d" % i if i < 3 else "f"))
        harness.wait_until(lambda: m.info()["rdb_saves"] == "2", 5,
                           "a second one")
        with Redis(dump=os.path.join(m.datadir, "dump.rdb")) as r:
            self.assertEqual(r("DBSIZE"), r("EXISTS", "__keyfs__"))

    # --- dump.rdb

    def test_copies_of_the_dump_are_the_dump(self):
        harness.need("cp", "tar", "rsync")
        m = self.mount()
        self.fill(m, 5)
        m.save()
        want = read_file(os.path.join(m.datadir, "dump.rdb"))
        src = m.ctl_path("dump.rdb")
        st = os.stat(src)
        self.assertEqual(st.st_size, len(want))
        self.assertEqual(st.st_mtime_ns // 10**9,
                         os.stat(os.path.join(m.datadir, "dump.rdb"))
                         .st_mtime_ns // 10**9)
        out = harness.unique("out")
        os.mkdir(out)
        subprocess.run(["cp", src, out + "/cp"], check=True)
        subprocess.run(["rsync", "-a", src, out + "/rsync"], check=True)
        tar = subprocess.run(["tar", "cf", "-", "-C", m.ctl_path(""),
                              "dump.rdb"], stdout=subprocess.PIPE, check=True)
        with open(out + "/tar", "wb") as f:
            subprocess.run(["tar", "xOf", "-", "dump.rdb"], input=tar.stdout,
                           stdout=f, check=True)
        for n in ("cp", "rsync", "tar"):
            self.assertEqual(read_file(os.path.join(out, n)), want, n)
        ok, text = check_rdb(out + "/cp")
        self.assertTrue(ok, text)

    def test_an_open_dump_stays_whole(self):
        m = self.mount()
        self.fill(m, 3)
        m.save()
        first = read_file(os.path.join(m.datadir, "dump.rdb"))
        fd = os.open(m.ctl_path("dump.rdb"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        got = os.read(fd, 100000)
        ino = os.fstat(fd).st_ino
        write_file(m / "fill0", b"other")
        os.unlink(m / "fill1")
        m.save()
        second = read_file(os.path.join(m.datadir, "dump.rdb"))
        self.assertNotEqual(first, second)
        self.assertEqual(read_file(m.ctl_path("dump.rdb")), second)
        self.assertNotEqual(os.stat(m.ctl_path("dump.rdb")).st_ino, ino)
        self.assertEqual(os.fstat(fd).st_size, len(first))
        while True:
            part = os.read(fd, 1 << 20)
            if not part:
                break
            got += part
        self.assertEqual(hashlib.sha1(got).digest(),
                         hashlib.sha1(first).digest())


class Failing(harness.Case):
    """A save that fails says why, everywhere, and the next good one heals."""

    ERRORS = [r"save failed"]

    def check_failed(self, m, words):
        said = m.ctl("save")
        self.assertRegex(said, r"error|failed")
        self.assertRegex(said, words)
        i = m.info()
        self.assertEqual(i["rdb_last_bgsave_status"], "err")
        self.assertEqual(i["rdb_bgsave_in_progress"], "0")
        lines = [x for x in m.log().splitlines() if m.LOG_ERROR.search(x)]
        self.assertTrue(lines, "the log says nothing")
        self.assertRegex(lines[-1], words)
        self.assertEqual([n for n in os.listdir(m.datadir)
                          if n.startswith("temp-")], [])

    def check_healed(self, m):
        m.save()
        self.assertRegex(m.ctl("save"), r"\bok\b")
        self.assertEqual(m.info()["rdb_last_bgsave_status"], "ok")
        write_file(m / "grows again", b"x" * 1000)
        os.mkdir(m / "dir again")

    def on_full_disk(self, conf):
        harness.need_root()
        disk = harness.mount_tmpfs(harness.unique("disk"), "size=2m")
        m = self.mount(datadir=disk + "/data", conf=conf, errors=self.ERRORS)
        write_file(m / "small", b"fits")
        m.save()
        good = read_file(os.path.join(m.datadir, "dump.rdb"))
        rng = harness.rng("full")
        for i in range(6):
            write_file(m / ("big%d" % i), rng.randbytes(1 << 20))
        return disk, m, good

    def test_a_full_disk(self):
        harness.need("bash")
        disk, m, good = self.on_full_disk("save 3600 1\n")
        saved_at = m.ctl("lastsave")
        self.raises(errno.ENOSPC, m.save)
        self.check_failed(m, r"ENOSPC|No space left")
        r = shell("bash", "echo 1 > save", m)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(b"No space left", r.stderr)
        self.assertEqual(m.ctl("lastsave"), saved_at)
        self.assertEqual(read_file(os.path.join(m.datadir, "dump.rdb")), good)
        # Growth is refused, the rest goes on.
        refused = (errno.ENOSPC, errno.EIO)
        self.raises(refused, write_file, m / "new", b"x")
        self.raises(refused, os.mkdir, m / "dir")
        self.raises(refused, os.symlink, "x", m / "link")
        fd = os.open(m / "small", os.O_RDWR)
        self.raises(refused, os.pwrite, fd, b"more", 100)
        os.close(fd)
        self.raises(refused, os.truncate, m / "small", 1000)
        self.assertEqual(read_file(m / "small"), b"fits")
        self.assertEqual(len(read_file(m / "big1")), 1 << 20)
        os.truncate(m / "big1", 1000)
        os.unlink(m / "big2")
        self.assertEqual(len(os.listdir(m.mnt)), 6)
        # More room, and all is well.
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.check_healed(m)
        m.restart()
        self.assertEqual(len(os.listdir(m.mnt)), 8)

    def test_without_stop_writes(self):
        disk, m, _ = self.on_full_disk("save 3600 1\n"
                                       "stop-writes-on-bgsave-error no\n")
        self.raises(errno.ENOSPC, m.save)
        write_file(m / "new", b"x")
        self.assertEqual(m.info()["rdb_last_bgsave_status"], "err")
        # Switched on, it takes hold at once; and lets go again.
        m.ctl_write("config/stop-writes-on-bgsave-error", "yes\n")
        self.raises((errno.ENOSPC, errno.EIO), write_file, m / "new2", b"x")
        m.ctl_write("config/stop-writes-on-bgsave-error", "no\n")
        write_file(m / "new3", b"x")
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.check_healed(m)

    def test_without_save_points_nothing_stops(self):
        disk, m, _ = self.on_full_disk('save ""\n')
        self.raises(errno.ENOSPC, m.save)
        write_file(m / "new", b"x")
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.check_healed(m)

    def test_the_last_save_fails(self):
        disk, m, good = self.on_full_disk("save 3600 1\n")
        self.assertEqual(m.stop("umount"), 4)
        self.assertRegex(m.log_since_start(), r"No space left|ENOSPC")
        self.assertEqual(read_file(os.path.join(m.datadir, "dump.rdb")), good)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        m.start()
        self.assertEqual(os.listdir(m.mnt), ["small"])

    def test_a_file_size_limit(self):
        m = self.mount(conf="save 3600 1\n", errors=self.ERRORS)
        write_file(m / "small", b"fits")
        m.save()
        good = read_file(os.path.join(m.datadir, "dump.rdb"))
        write_file(m / "big", harness.rng("limit").randbytes(1 << 20))
        hard = resource.prlimit(m.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(m.pid, resource.RLIMIT_FSIZE, (100000, hard))
        self.raises(errno.EFBIG, m.save)
        self.check_failed(m, r"EFBIG|File too large")
        self.assertEqual(read_file(os.path.join(m.datadir, "dump.rdb")), good)
        resource.prlimit(m.pid, resource.RLIMIT_FSIZE, (hard, hard))
        self.check_healed(m)

    def test_a_directory_that_takes_no_writes(self):
        harness.need_root()
        harness.need("chattr")
        disk = harness.mount_tmpfs(harness.unique("disk"), "size=8m")
        m = self.mount(datadir=disk + "/data", conf="save 3600 1\n",
                       errors=self.ERRORS)
        write_file(m / "f", b"1")
        m.save()
        before = harness.listing(m.datadir)
        write_file(m / "f", b"2")
        if subprocess.run(["chattr", "+i", m.datadir], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("this tmpfs knows no immutable directories")
        try:
            self.raises(errno.EPERM, m.save)
            self.check_failed(m, r"EPERM|not permitted")
            self.raises(errno.EPERM, m.ctl_write, "config/loglevel",
                        "debug\n")
            self.assertEqual(m.ctl("config/loglevel"), "notice")
            self.assertEqual(harness.listing(m.datadir), before)
        finally:
            subprocess.run(["chattr", "-i", m.datadir], check=True)
        m.ctl_write("config/loglevel", "verbose\n")
        self.check_healed(m)


class Memory(harness.Case):
    def test_maxmemory(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "first", b"x" * 100000)
        used = int(m.info()["used_memory"])
        m.ctl_write("config/maxmemory", "%d\n" % (used + (8 << 20)))
        data = b"d" * 100000
        n = 0
        with self.assertRaises(OSError) as e:
            for n in range(1000):
                write_file(m / ("f%d" % n), data)
        self.assertEqual(e.exception.errno, errno.ENOSPC)
        self.assertGreater(n, 60)
        self.assertLess(n, 90)
        fd = os.open(m / "first", os.O_RDWR)
        self.raises(errno.ENOSPC, self.grow, fd)
        os.close(fd)
        v = os.statvfs(m.mnt)
        self.assertLess(v.f_bavail * v.f_frsize, 1 << 20)
        # What shrinks is never refused, also far above the limit.
        m.ctl_write("config/maxmemory", "1mb\n")
        self.raises(errno.ENOSPC, write_file, m / "more", b"x" * 10000)
        os.rename(m / "f0", m / "renamed")
        self.assertEqual(read_file(m / "renamed"), data)
        os.truncate(m / "f1", 10)
        os.truncate(m / "f2", 0)
        for i in range(3, n):
            os.unlink(m / ("f%d" % i))
        self.assertEqual(read_file(m / "f1"), data[:10])
        m.ctl_write("config/maxmemory", "0\n")
        write_file(m / "more", b"x" * 10000)
        m.save()

    @staticmethod
    def grow(fd):
        for i in range(200):
            os.pwrite(fd, b"g" * 100000, 100000 * (i + 1))

    def test_writing_over_what_is_there_needs_no_room(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "f", b"x" * 500000)
        used = int(m.info()["used_memory"])
        m.ctl_write("config/maxmemory", "%d\n" % (used + (2 << 20)))
        for i in range(50):
            write_file(m / "f", bytes([i]) * 500000)
        self.assertEqual(read_file(m / "f"), bytes([49]) * 500000)


class Configuration(harness.Case):
    def conf(self, m):
        with open(os.path.join(m.datadir, "keyfs.conf"),
                  encoding="utf-8") as f:
            return f.read()

    def test_changes_stay(self):
        m = self.mount(conf="# my settings\nsave 900 1\n\n"
                            "loglevel verbose\n# the end\n")
        self.assertEqual(m.ctl("config/save"), "900 1")
        self.assertEqual(m.ctl("config/loglevel"), "verbose")
        changed = {"save": "60 7 30 9", "loglevel": "debug",
                   "maxmemory": "123456789", "rdbcompression": "no",
                   "stop-writes-on-bgsave-error": "no"}
        for name, value in changed.items():
            m.ctl_write("config/" + name, value + "\n")
        text = self.conf(m)
        self.assertIn("# my settings\n", text)
        self.assertIn("# the end\n", text)
        self.assertLess(text.index("# my settings"), text.index("save"))
        self.assertEqual(text.count("loglevel"), 1)
        for name, value in changed.items():
            if name != "save":
                self.assertRegex(text, r"(?m)^%s\s+%s$" % (name, value))
        m.restart("kill")
        for name, value in changed.items():
            self.assertEqual(m.ctl("config/" + name), value, name)
        m.ctl_write("config/save", "\n")
        m.restart("kill")
        self.assertEqual(m.ctl("config/save"), '""')
        litter = set(os.listdir(m.datadir)) - {"keyfs.conf", "dump.rdb"}
        self.assertLessEqual(len(litter), 1, litter)  # the lock

    def test_settings_are_in_force(self):
        m = self.mount(conf="rdbcompression yes\n")
        write_file(m / "f", b"a" * 1000000)
        m.save()
        dump = os.path.join(m.datadir, "dump.rdb")
        self.assertLess(os.stat(dump).st_size, 100000)
        m.ctl_write("config/rdbcompression", "no\n")
        m.save()
        self.assertGreater(os.stat(dump).st_size, 1000000)
        m.restart()
        m.save()
        self.assertGreater(os.stat(dump).st_size, 1000000)
        for level, more in (("warning", False), ("notice", True)):
            m.ctl_write("config/loglevel", level + "\n")
            n = len(m.log())
            m.save()
            self.assertEqual(" info: " in m.log()[n:], more, level)

    def test_the_checksum_can_be_left_out(self):
        m = self.mount(conf="rdbchecksum no\n")
        write_file(m / "f", b"x")
        m.save()
        dump = os.path.join(m.datadir, "dump.rdb")
        self.assertEqual(read_file(dump)[-8:], bytes(8))
        m.restart()
        self.assertEqual(read_file(m / "f"), b"x")

    def test_another_file_name(self):
        m = self.mount(conf="dbfilename my.rdb\n")
        write_file(m / "f", b"x")
        m.save()
        self.assertIn("my.rdb", os.listdir(m.datadir))
        self.assertNotIn("dump.rdb", os.listdir(m.datadir))
        self.assertEqual(read_file(m.ctl_path("dump.rdb")),
                         read_file(os.path.join(m.datadir, "my.rdb")))
        m.restart()
        self.assertEqual(os.listdir(m.mnt), ["f"])

    def test_redis_syntax(self):
        m = self.mount(conf="  SAVE 900 1\nsave 300 10\n"
                            "LogLevel  NOTICE\n"
                            'dbfilename "dump.rdb"\n'
                            "maxmemory 100MB\n\n   # comment\n")
        self.assertEqual(m.ctl("config/save"), "900 1 300 10")
        self.assertEqual(m.ctl("config/maxmemory"), str(100 << 20))

    def test_defaults_are_those_of_redis(self):
        m = self.mount()
        self.assertEqual(m.ctl("config/save"), "3600 1 300 100 60 10000")
        for name, value in (("rdbcompression", "yes"), ("rdbchecksum", "yes"),
                            ("dbfilename", "dump.rdb"), ("maxmemory", "0"),
                            ("stop-writes-on-bgsave-error", "yes"),
                            ("loglevel", "notice")):
            self.assertEqual(m.ctl("config/" + name), value)


if __name__ == "__main__":
    harness.main()
