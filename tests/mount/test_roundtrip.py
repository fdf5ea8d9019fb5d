# SPDX-License-Identifier: MIT
"""Random file operations against a model; then what was made goes through a
save, a stock redis-server and back, and must be the same everywhere.

`--piece I/N` runs the I-th of N shares of the seeds, so that they run side by
side; KEYFS_OPS is the number of operations of a seed (10,000).
"""

import errno
import os
import sys

import harness
import tree
from redisdb import Redis, check_rdb
from tree import Entry

N_SEEDS = 10
N_OPS = int(os.environ.get("KEYFS_OPS", "10000"))
PIECE, N_PIECES = 0, 1

LITERALS = [b"%", b"%%", b"%00", b"%2E", b"%2E.", b"%2F", b"%25", b"%2500",
            b"%252E", b"%25=", b"%2525=", b"%+", b"%25+", b"%2Ectl",
            b"%252Ectl", b".ctl", b"100%", b"foo%20bar", b"%41", b"...",
            b"..x", b"a b", b" ", b"a\nb", b"\n", b"-", b"\\", b"\xff\xfe",
            b"\x80", b"__keyfs__", b"d", b"%=x", b"x%=", b":", b"a:b", b"::",
            b"0", b"12", b"-1", b"007", b"1e3", b"%253", b"%2",
            b"\xc3\xa4", b"*", b"$x", b"'", b'"', b"\t\r", b"%3D"]
ALPHABET = [bytes([c]) for c in b"%%%025E=+.:a\n ~\xff\x01"]


def random_name(rng):
    what = rng.random()
    if what < 0.35:
        return b"n%d" % rng.randrange(30)
    if what < 0.6:
        return rng.choice(LITERALS)
    if what < 0.85:
        name = b"".join(rng.choice(ALPHABET)
                        for _ in range(rng.randrange(1, 12)))
    elif what < 0.95:
        # Around the length at which names are cut, with what marks a cut.
        name = rng.choice((b"L", b"%", b"%25", b"\xff")) * 260
        name = name[:rng.randrange(248, 256)]
        if rng.random() < 0.5:
            name = name[:-2] + b"%+"
    else:
        name = bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 9)))
        name = name.replace(b"/", b"_")
    return b"dots" if name in (b".", b"..") else name


def random_data(rng):
    what = rng.random()
    if what < 0.1:
        return b""
    if what < 0.2:
        return b"%d" % rng.randrange(-10**12, 10**12)
    size = rng.choice((10, 100, 3000, 40000))
    n = rng.randrange(size)
    if rng.random() < 0.5:
        return rng.randbytes(n)
    return (rng.randbytes(rng.randrange(1, 60)) * (n // 8 + 1))[:n]


class Workload:
    """Random operations on a mount and on a model of it, in step."""

    def __init__(self, case, top, rng):
        self.case, self.rng = case, rng
        self.top = os.fsencode(top)
        st = os.stat(top)
        self.uid, self.gid = os.geteuid(), os.getegid()
        self.tree = {b"": Entry("dir", mode=st.st_mode & 0o7777,
                                uid=st.st_uid, gid=st.st_gid)}
        self.done = {}

    def full(self, path):
        return os.path.join(self.top, path)

    # --- choosing

    def paths(self, kind):
        # In order of creation: the same for the same seed.
        return [p for p, e in self.tree.items() if e.kind == kind and p]

    def pick(self, kind):
        some = self.paths(kind)
        return self.rng.choice(some) if some else None

    def pick_dir(self):
        some = [b""] + self.paths("dir")
        return self.rng.choice(some)

    def pick_any(self):
        some = [p for p in self.tree if p]
        return self.rng.choice(some) if some else None

    def new_path(self, for_dir=False):
        """A path in some directory, there or not."""
        while True:
            parent = self.pick_dir()
            name = random_name(self.rng)
            if not parent and name == b".ctl":
                continue
            if for_dir and name == b"%=":
                continue
            path = parent + b"/" + name if parent else name
            if len(path) < 3500:
                return path

    # --- the model's rules

    @staticmethod
    def parent(path):
        return path.rpartition(b"/")[0]

    def touched(self, path):
        """Something in this path's directory came, went or moved."""
        self.tree[self.parent(path)].mtime = None

    def children(self, path):
        prefix = path + b"/"
        return [p for p in self.tree if p.startswith(prefix)]

    def add(self, path, entry):
        self.tree[path] = entry
        self.touched(path)

    def inside(self, path, directory):
        return path == directory or path.startswith(directory + b"/")

    # --- operations: each returns False if there was nothing to do it with

    def op_create(self):
        path, data = self.new_path(), random_data(self.rng)
        old = self.tree.get(path)
        mode = self.rng.choice((0o644, 0o644, 0o644, 0o600, 0o755))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        if old is not None:
            self.case.raises(errno.EEXIST, os.open, self.full(path), flags)
            return True
        fd = os.open(self.full(path), flags, mode)
        self.write_all(fd, data)
        os.close(fd)
        self.add(path, Entry("file", data, mode, self.uid, self.gid))
        return True

    @staticmethod
    def write_all(fd, data):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]

    def op_overwrite(self):
        path = self.pick("file")
        if path is None:
            return False
        data = random_data(self.rng)
        fd = os.open(self.full(path), os.O_WRONLY | os.O_TRUNC)
        self.write_all(fd, data)
        os.close(fd)
        e = self.tree[path]
        e.data, e.mtime = data, None
        return True

    def op_write(self):
        path = self.pick("file")
        if path is None:
            return False
        e, data = self.tree[path], random_data(self.rng)[:5000]
        at = self.rng.randrange(len(e.data) + 1)
        if self.rng.random() < 0.1:
            at += self.rng.randrange(20000)
        fd = os.open(self.full(path), os.O_WRONLY)
        os.pwrite(fd, data, at)
        os.close(fd)
        if data:
            old = e.data + bytes(max(0, at - len(e.data)))
            e.data = old[:at] + data + old[at + len(data):]
            e.mtime = None
        return True

    def op_append(self):
        path = self.pick("file")
        if path is None:
            return False
        e, data = self.tree[path], random_data(self.rng)[:3000]
        fd = os.open(self.full(path), os.O_WRONLY | os.O_APPEND)
        self.write_all(fd, data)
        os.close(fd)
        if data:
            e.data += data
            e.mtime = None
        return True

    def op_truncate(self):
        path = self.pick("file")
        if path is None:
            return False
        e = self.tree[path]
        n = self.rng.randrange(2 * len(e.data) + 10)
        os.truncate(self.full(path), n)
        e.data = e.data[:n] + bytes(max(0, n - len(e.data)))
        e.mtime = None
        return True

    def op_unlink(self):
        path = self.pick(self.rng.choice(("file", "file", "link")))
        if path is None:
            return False
        os.unlink(self.full(path))
        del self.tree[path]
        self.touched(path)
        return True

    def op_mkdir(self):
        path = self.new_path(for_dir=True)
        mode = self.rng.choice((0o755, 0o755, 0o700, 0o1777))
        if path in self.tree:
            self.case.raises(errno.EEXIST, os.mkdir, self.full(path))
            return True
        os.mkdir(self.full(path), mode)
        self.add(path, Entry("dir", b"", mode, self.uid, self.gid))
        return True

    def op_rmdir(self):
        path = self.pick("dir")
        if path is None:
            return False
        if self.children(path):
            self.case.raises(errno.ENOTEMPTY, os.rmdir, self.full(path))
            return True
        os.rmdir(self.full(path))
        del self.tree[path]
        self.touched(path)
        return True

    def op_symlink(self):
        path = self.new_path()
        if path in self.tree:
            self.case.raises(errno.EEXIST, os.symlink, b"x", self.full(path))
            return True
        target = random_name(self.rng)
        if self.rng.random() < 0.3:
            target = b"../" * self.rng.randrange(1, 60) + target
        os.symlink(target, self.full(path))
        self.add(path, Entry("link", target, 0o777, self.uid, self.gid))
        return True

    def op_rename(self):
        old = self.pick_any()
        if old is None:
            return False
        is_dir = self.tree[old].kind == "dir"
        new = self.new_path(for_dir=is_dir)
        if self.rng.random() < 0.25:
            new = self.pick_any()
            if is_dir and new.rpartition(b"/")[2] == b"%=":
                return False
        code = self.rename_error(old, new)
        if code:
            self.case.raises(code, os.rename, self.full(old), self.full(new))
            return True
        os.rename(self.full(old), self.full(new))
        if old != new:
            self.move(old, new)
        return True

    def rename_error(self, old, new):
        """What rename(2) must say, in the kernel's order of checks."""
        a, b = self.tree[old], self.tree.get(new)
        if a.kind == "dir" and new != old and self.inside(new, old):
            return errno.EINVAL
        if b is None or new == old:
            return 0
        if self.inside(old, new):
            return errno.ENOTEMPTY
        if a.kind == "dir" and b.kind != "dir":
            return errno.ENOTDIR
        if a.kind != "dir" and b.kind == "dir":
            return errno.EISDIR
        if b.kind == "dir" and self.children(new):
            return errno.ENOTEMPTY
        return 0

    def move(self, old, new):
        self.tree.pop(new, None)
        moved = {}
        for p in [old] + (self.children(old)
                          if self.tree[old].kind == "dir" else []):
            moved[new + p[len(old):]] = self.tree.pop(p)
        self.tree.update(moved)
        self.touched(old)
        self.touched(new)

    def op_exchange(self):
        a, b = self.pick_any(), self.pick_any()
        if a is None or a == b or self.inside(a, b) or self.inside(b, a):
            return False
        for x, y in ((a, b), (b, a)):
            if self.tree[x].kind == "dir" and y.rpartition(b"/")[2] == b"%=":
                return False
        harness.renameat2(self.full(a), self.full(b), harness.RENAME_EXCHANGE)
        # By way of a name that cannot be: all of one side moves at once.
        self.move(a, b"\0")
        self.move(b, a)
        self.move(b"\0", b)
        return True

    def op_chmod(self):
        path = self.pick_any()
        if path is None or self.tree[path].kind == "link":
            return False
        e = self.tree[path]
        mode = self.rng.choice((0o600, 0o640, 0o444, 0o777, 0o4755)) \
            if e.kind == "file" else \
            self.rng.choice((0o700, 0o755, 0o1777, 0o511))
        os.chmod(self.full(path), mode)
        e.mode = mode
        return True

    def op_chown(self):
        path = self.pick_any()
        if path is None or os.geteuid() != 0:
            return False
        e = self.tree[path]
        e.uid, e.gid = self.rng.randrange(5), self.rng.randrange(1 << 31)
        os.lchown(self.full(path), e.uid, e.gid)
        if e.kind == "file" and e.mode & 0o4000:
            e.mode &= ~0o4000
        return True

    def op_utimens(self):
        path = self.pick_any()
        if path is None:
            return False
        e = self.tree[path]
        e.atime = self.rng.randrange(1 << 61)
        e.mtime = self.rng.choice((0, 10**9, self.rng.randrange(1 << 61),
                                   -self.rng.randrange(1 << 60)))
        os.utime(self.full(path), ns=(e.atime, e.mtime),
                 follow_symlinks=False)
        return True

    OPS = (("create", 24), ("overwrite", 10), ("write", 12), ("append", 8),
           ("truncate", 6), ("unlink", 10), ("mkdir", 8), ("rmdir", 4),
           ("symlink", 5), ("rename", 12), ("exchange", 3), ("chmod", 4),
           ("chown", 2), ("utimens", 6))

    def run(self, n):
        names = [o for o, _ in self.OPS]
        weights = [w for _, w in self.OPS]
        left = n
        while left:
            name = self.rng.choices(names, weights)[0]
            try:
                if getattr(self, "op_" + name)():
                    left -= 1
                    self.done[name] = self.done.get(name, 0) + 1
            except OSError as e:
                raise AssertionError("operation %d, %s: %s" % (
                    n - left, name, e)) from e

    # --- what it must look like

    def n_keys(self):
        return sum(e.kind != "dir" for e in self.tree.values())


class RoundTrip(harness.Case):
    SECONDS = 300

    def equal(self, want, mnt, when):
        bad = tree.differences(want, tree.read_tree(mnt))
        if bad:
            self.fail("%s:\n%s" % (when, "\n".join(bad)))

    def one_seed(self, number):
        rng = harness.rng("ops%d" % number)
        sep = ":" if number % 3 == 2 else "/"
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        m = self.mount(options="" if sep == "/" else "sep=:",
                       conf="loglevel notice\nsave 900 1\n")
        w = Workload(self, m.mnt, rng)
        w.run(N_OPS)
        for name, _ in w.OPS:
            self.assertGreater(w.done.get(name, 0),
                               0 if name != "chown" or os.geteuid() == 0
                               else -1, name)
        want = w.tree
        self.equal(want, m.mnt, "before anything was saved")
        m.save()
        digest = m.ctl("digest")
        self.equal(want, m.mnt, "after a save")
        # Implicit write times ride along as long as keyfs itself reloads.
        times = {p: e.mtime for p, e in tree.read_tree(m.mnt).items()
                 if e.kind == "file"}

        dump = os.path.join(m.datadir, "dump.rdb")
        ok, text = check_rdb(dump)
        self.assertTrue(ok, text)
        from_redis = self.through_redis(dump, digest, w, sep)

        m.restart()
        self.equal(want, m.mnt, "after a restart")
        self.assertEqual(m.ctl("digest"), digest)
        self.assertEqual(times, {p: e.mtime for p, e in
                                 tree.read_tree(m.mnt).items()
                                 if e.kind == "file"})
        m.close()

        # What Redis wrote itself. The other separator than the default must
        # be said, or be asked for: files must not come out misnamed.
        if sep != "/":
            try:
                n = harness.Mount(datadir=from_redis)
                n.close()
            except harness.Died as e:
                self.assertEqual(e.code, 3)
                self.assertIn("sep=", e.log)
        n = self.mount(datadir=from_redis, options="sep=" + sep)
        self.equal(want, n.mnt, "after a load and save by redis-server")
        self.assertEqual(n.ctl("digest"), digest)
        n.close()

    def through_redis(self, dump, digest, w, sep):
        """Loads a dump in Redis, compares, lets Redis save it.
        Return: a DATADIR with what Redis wrote."""
        with Redis(dump=dump) as r:
            self.assertEqual(r.digest(), digest)
            # Beside the files there is one hash, of modes and the like.
            hashes = [k for k in r.keys() if r("TYPE", k) == "hash"]
            self.assertEqual(len(hashes), 1)
            self.assertRegex(hashes[0], rb"^__keyfs__\d*$")
            self.assertEqual(r("DBSIZE"), w.n_keys() + 1)
            checked = 0
            for path, e in w.tree.items():
                if e.kind == "dir" or b"%" in path:
                    continue
                key = path if sep == "/" else path.translate(
                    bytes.maketrans(b":/", b"/:"))
                self.assertEqual(r("GET", key), e.data, path)
                checked += 1
            self.assertGreater(checked, 0)
            datadir = harness.unique("from-redis")
            os.mkdir(datadir)
            harness.shutil.copyfile(r.save(),
                                    os.path.join(datadir, "dump.rdb"))
            return datadir


def _add_seed(number):
    def test(self):
        self.one_seed(number)

    setattr(RoundTrip, "test_seed_%d" % number, test)


if __name__ == "__main__":
    if "--piece" in sys.argv:
        at = sys.argv.index("--piece")
        PIECE, N_PIECES = map(int, sys.argv[at + 1].split("/"))
        del sys.argv[at:at + 2]
    for i in range(PIECE, N_SEEDS, N_PIECES):
        _add_seed(i)
    harness.main()
