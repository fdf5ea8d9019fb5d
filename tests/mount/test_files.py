# SPDX-License-Identifier: MIT
"""The ordinary calls. Each test runs on tmpfs too: what is expected is what
the kernel's own memory file system does, not what somebody believes."""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import stat
import subprocess
import sys
import threading
import time
import unittest

import harness
from harness import RENAME_EXCHANGE, RENAME_NOREPLACE, read_file, renameat2
from harness import write_file

_libc = ctypes.CDLL(None, use_errno=True)
SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61}.get(os.uname().machine)


def getdents(fd, size):
    """One getdents64(2). Return: [(ino, cookie after it, type, name)]."""
    buf = ctypes.create_string_buffer(size)
    n = _libc.syscall(SYS_GETDENTS64, fd, buf, size)
    if n < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    out, at, raw = [], 0, buf.raw
    while at < n:
        length = int.from_bytes(raw[at + 16:at + 18], sys.byteorder)
        out.append((int.from_bytes(raw[at:at + 8], sys.byteorder),
                    int.from_bytes(raw[at + 8:at + 16], sys.byteorder),
                    raw[at + 18],
                    raw[at + 19:at + length].split(b"\0", 1)[0]))
        at += length
    return out


def walk_names(fd, size=1024):
    """Every name of an open directory, dots left out, in small steps."""
    os.lseek(fd, 0, os.SEEK_SET)
    while True:
        part = getdents(fd, size)
        if not part:
            return
        for _, _, _, name in part:
            if name not in (b".", b".."):
                yield name


class FileCalls:
    """The tests; self.dir is an empty directory on the file system."""

    def path(self, name):
        if isinstance(name, bytes):
            return os.path.join(os.fsencode(self.dir), name)
        return os.path.join(self.dir, name)

    def make(self, name, data=b"", mode=None):
        p = self.path(name)
        write_file(p, data)
        if mode is not None:
            os.chmod(p, mode)
        return p

    def open_fd(self, path, flags, mode=0o644):
        fd = os.open(path, flags, mode)
        self.addCleanup(self._close_fd, fd)
        return fd

    @staticmethod
    def _close_fd(fd):
        try:
            os.close(fd)
        except OSError as e:
            if e.errno != errno.EBADF:
                raise

    # --- open

    def test_open_flags(self):
        p = self.make("f", b"data")
        d = self.path("d")
        os.mkdir(d)
        os.symlink("f", self.path("l"))
        os.symlink("nowhere", self.path("dangling"))
        self.raises(errno.EEXIST, os.open, p, os.O_CREAT | os.O_EXCL)
        self.raises(errno.EEXIST, os.open, self.path("dangling"),
                    os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.raises(errno.ENOENT, os.open, self.path("none"), os.O_RDWR)
        self.raises(errno.ENOENT, os.open, self.path("none/f"), os.O_CREAT)
        self.raises(errno.ENOTDIR, os.open, self.path("f/g"), os.O_CREAT)
        self.raises(errno.ENOTDIR, os.open, p, os.O_RDONLY | os.O_DIRECTORY)
        self.raises(errno.EISDIR, os.open, d, os.O_WRONLY)
        self.raises(errno.EISDIR, os.open, d, os.O_RDWR)
        self.raises(errno.EISDIR, os.open, d, os.O_WRONLY | os.O_CREAT)
        self.raises(errno.ELOOP, os.open, self.path("l"),
                    os.O_RDONLY | os.O_NOFOLLOW)
        fd = self.open_fd(self.path("l"), os.O_RDONLY)
        self.assertEqual(os.read(fd, 10), b"data")
        # Through a dangling link a file is made where it points.
        os.close(os.open(self.path("dangling"), os.O_CREAT | os.O_WRONLY))
        self.assertEqual(read_file(self.path("nowhere")), b"")

    def test_access_mode_of_the_descriptor(self):
        p = self.make("f", b"data")
        r = self.open_fd(p, os.O_RDONLY)
        w = self.open_fd(p, os.O_WRONLY)
        self.raises(errno.EBADF, os.write, r, b"x")
        self.raises(errno.EBADF, os.read, w, 1)
        self.raises((errno.EBADF, errno.EINVAL), os.ftruncate, r, 0)

    def test_o_trunc_leaves_no_old_tail(self):
        p = self.make("f", b"a long old value\n")
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT):
            write_file(p, b"a long old value\n")
            self.assertEqual(os.stat(p).st_size, 17)
            fd = self.open_fd(p, flags | os.O_TRUNC)
            self.assertEqual(os.fstat(fd).st_size, 0)
            os.write(fd, b"n\n")
            os.close(fd)
            self.assertEqual(read_file(p), b"n\n")
            self.assertEqual(os.stat(p).st_size, 2)
        subprocess.run(["sh", "-c", "echo short > '%s'" % p], check=True)
        self.assertEqual(read_file(p), b"short\n")

    def test_o_append(self):
        p = self.make("f", b"0123")
        a = self.open_fd(p, os.O_RDWR | os.O_APPEND)
        b = self.open_fd(p, os.O_WRONLY | os.O_APPEND)
        os.lseek(a, 0, os.SEEK_SET)
        os.write(a, b"A")
        os.write(b, b"B")
        os.lseek(a, 1, os.SEEK_SET)
        os.write(a, b"a")
        self.assertEqual(read_file(p), b"0123ABa")
        os.truncate(p, 1)
        os.write(b, b"b")
        self.assertEqual(read_file(p), b"0b")

    def test_appends_of_several_threads_stay_whole(self):
        p = self.make("log")

        def append(who):
            fd = os.open(p, os.O_WRONLY | os.O_APPEND)
            for i in range(400):
                os.write(fd, b"%d:%05d:%s\n" % (who, i, b"x" * (i % 90)))
            os.close(fd)

        threads = [threading.Thread(target=append, args=(i,))
                   for i in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        seen = {0: [], 1: [], 2: []}
        for line in read_file(p).splitlines():
            who, i, rest = line.split(b":")
            self.assertEqual(rest, b"x" * (int(i) % 90))
            seen[int(who)].append(int(i))
        for who in seen:
            self.assertEqual(seen[who], list(range(400)))

    # --- content

    def test_pread_and_pwrite(self):
        p = self.make("f", b"0123456789")
        fd = self.open_fd(p, os.O_RDWR)
        self.assertEqual(os.pread(fd, 4, 3), b"3456")
        self.assertEqual(os.pread(fd, 100, 8), b"89")
        self.assertEqual(os.pread(fd, 100, 10), b"")
        self.assertEqual(os.pread(fd, 100, 1 << 40), b"")
        self.assertEqual(os.pwrite(fd, b"abc", 8), 3)
        self.assertEqual(os.pwrite(fd, b"", 100), 0)
        self.assertEqual(read_file(p), b"01234567abc")
        self.assertEqual(os.pwritev(fd, [b"x", b"", b"yz"], 1), 3)
        self.assertEqual(read_file(p), b"0xyz4567abc")
        self.raises(errno.EINVAL, os.pread, fd, 1, -1)
        self.raises(errno.EINVAL, os.pwrite, fd, b"x", -1)

    def test_random_changes_equal_a_model(self):
        rng = harness.rng(self.id().rpartition(".")[2])
        p = self.make("f")
        fd = self.open_fd(p, os.O_RDWR)
        model = bytearray()
        for step in range(1500):
            size = rng.choice((10, 100, 5000, 70000, 300000))
            what = rng.random()
            if what < 0.5:
                data = rng.randbytes(rng.randrange(size))
                at = rng.randrange(size)
                os.pwrite(fd, data, at)
                if data:
                    if len(model) < at:
                        model += bytes(at - len(model))
                    model[at:at + len(data)] = data
            elif what < 0.65:
                n = rng.randrange(size)
                os.ftruncate(fd, n)
                if n < len(model):
                    del model[n:]
                else:
                    model += bytes(n - len(model))
            elif what < 0.95:
                at, n = rng.randrange(size), rng.randrange(size)
                self.assertEqual(os.pread(fd, n, at), model[at:at + n],
                                 "step %d" % step)
            else:
                self.assertEqual(os.stat(p).st_size, len(model))
        self.assertEqual(read_file(p), model)

    def test_truncate(self):
        p = self.make("f", b"0123456789")
        os.truncate(p, 4)
        self.assertEqual(read_file(p), b"0123")
        os.truncate(p, 8)
        self.assertEqual(read_file(p), b"0123" + bytes(4))
        os.truncate(p, 8)
        self.assertEqual(os.stat(p).st_size, 8)
        os.truncate(p, 0)
        self.assertEqual(read_file(p), b"")
        os.truncate(p, 100000)
        self.assertEqual(read_file(p), bytes(100000))
        self.raises(errno.EINVAL, os.truncate, p, -1)
        os.mkdir(self.path("d"))
        self.raises(errno.EISDIR, os.truncate, self.path("d"), 0)
        self.raises(errno.ENOENT, os.truncate, self.path("none"), 0)

    def test_what_was_cut_off_does_not_come_back(self):
        secret = b"S" * 200000
        for keep in (0, 1, 4095, 4096, 4097, 65536, 131071, 199999):
            p = self.make("f", secret)
            os.truncate(p, keep)
            os.truncate(p, 200000)
            self.assertEqual(read_file(p), secret[:keep] +
                             bytes(200000 - keep), keep)
            os.truncate(p, keep)
            with open(p, "r+b") as f:
                f.seek(150000 if keep <= 150000 else keep)
                f.write(b"!")
            self.assertEqual(read_file(p)[keep:-1].strip(b"\0"), b"", keep)

    def test_sparse_file(self):
        p = self.path("f")
        fd = self.open_fd(p, os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"end", 100 << 20)
        st = os.stat(p)
        self.assertEqual(st.st_size, (100 << 20) + 3)
        self.assertLess(st.st_blocks * 512, 8 << 20)
        self.assertEqual(os.pread(fd, 4096, 50 << 20), bytes(4096))
        self.assertEqual(os.pread(fd, 4096, (100 << 20) - 10),
                         bytes(10) + b"end")
        os.pwrite(fd, b"middle", 30 << 20)
        self.assertEqual(os.pread(fd, 8, (30 << 20) - 1), b"\0middle\0")

    def test_big_file(self):
        rng = harness.rng("big")
        chunks = []
        want = hashlib.sha256()
        p = self.path("big")
        fd = self.open_fd(p, os.O_RDWR | os.O_CREAT)
        left = 64 << 20
        while left:
            data = rng.randbytes(min(left, rng.randrange(1, 3 << 20)))
            chunks.append(len(data))
            want.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            left -= len(data)
        self.assertEqual(os.fstat(fd).st_size, 64 << 20)
        self.assertEqual(self._sha256(p), want.hexdigest())
        # Around again, past the page cache where that is allowed.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.assertEqual(self._sha256(p), want.hexdigest())
        copy = self.path("copy")
        subprocess.run(["cp", p, copy], check=True)
        self.assertEqual(self._sha256(copy), want.hexdigest())
        os.pwrite(fd, b"patch", 33333333)
        self.assertEqual(os.pread(fd, 5, 33333333), b"patch")
        # The copy is not an alias.
        self.assertEqual(self._sha256(copy), want.hexdigest())
        self.assertNotEqual(self._sha256(p), want.hexdigest())

    @staticmethod
    def _sha256(path):
        h = hashlib.sha256()
        with open(path, "rb", buffering=0) as f:
            while True:
                part = f.read(1 << 20)
                if not part:
                    return h.hexdigest()
                h.update(part)

    def test_copies_inside_the_kernel(self):
        data = harness.rng("copy").randbytes(300000)
        src = self.open_fd(self.make("src", data), os.O_RDONLY)
        dst = self.open_fd(self.path("dst"), os.O_RDWR | os.O_CREAT)
        done = 0
        while done < len(data):
            done += os.sendfile(dst, src, done, len(data) - done)
        self.assertEqual(read_file(self.path("dst")), data)
        at = os.copy_file_range(src, dst, 1000, 5, 200000)
        self.assertGreater(at, 0)
        self.assertEqual(os.pread(dst, at, 200000), data[5:5 + at])

    def test_posix_fallocate(self):
        p = self.make("f", b"abc")
        fd = self.open_fd(p, os.O_RDWR)
        os.posix_fallocate(fd, 1, 50000)
        self.assertEqual(read_file(p), b"abc" + bytes(50001 - 3))

    def test_fsync_and_friends_succeed(self):
        fd = self.open_fd(self.make("f", b"x"), os.O_RDWR)
        os.write(fd, b"y")
        os.fsync(fd)
        os.fdatasync(fd)
        d = self.open_fd(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(d)
        s = self.open_fd(self.path("s"),
                         os.O_WRONLY | os.O_CREAT | os.O_SYNC)
        os.write(s, b"synced")
        self.assertEqual(read_file(self.path("s")), b"synced")

    def test_a_child_shares_the_descriptor(self):
        p = self.path("f")
        fd = self.open_fd(p, os.O_RDWR | os.O_CREAT)
        os.write(fd, b"parent ")
        subprocess.run(["sh", "-c", "printf child"], stdout=fd, check=True)
        os.write(fd, b" parent")
        self.assertEqual(read_file(p), b"parent child parent")

    # --- mmap

    def test_mmap_shared(self):
        p = self.make("f", bytes(20000))
        fd = self.open_fd(p, os.O_RDWR)
        with mmap.mmap(fd, 20000) as m:
            m[5000:5005] = b"mmap1"
            m.flush()
            self.assertEqual(read_file(p)[5000:5005], b"mmap1")
            os.pwrite(fd, b"pwrite", 10000)
            self.assertEqual(m[10000:10006], b"pwrite")
            m[19990:20000] = b"0123456789"
        os.close(fd)
        want = bytearray(20000)
        want[5000:5005] = b"mmap1"
        want[10000:10006] = b"pwrite"
        want[19990:] = b"0123456789"
        self.assertEqual(read_file(p), want)

    def test_mmap_outlives_close_and_unlink(self):
        p = self.make("f", b"a" * 8192)
        fd = os.open(p, os.O_RDWR)
        m = mmap.mmap(fd, 8192)
        os.close(fd)
        os.unlink(p)
        m[0:4] = b"gone"
        m.flush()
        self.assertEqual(m[0:8], b"goneaaaa")
        m.close()
        self.raises(errno.ENOENT, os.stat, p)

    def test_mmap_private_does_not_reach_the_file(self):
        p = self.make("f", b"a" * 4096)
        fd = self.open_fd(p, os.O_RDONLY)
        with mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE,
                       prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
            m[0:3] = b"bbb"
            self.assertEqual(m[0:3], b"bbb")
        self.assertEqual(read_file(p), b"a" * 4096)

    # --- rename

    def test_rename_replaces(self):
        a, b = self.make("a", b"new"), self.make("b", b"old")
        ino = os.stat(a).st_ino
        os.rename(a, b)
        self.assertEqual(read_file(b), b"new")
        self.assertEqual(os.stat(b).st_ino, ino)
        self.raises(errno.ENOENT, os.stat, a)
        self.assertEqual(os.listdir(self.dir), ["b"])
        os.rename(b, b)
        self.assertEqual(read_file(b), b"new")
        self.raises(errno.ENOENT, os.rename, a, b)
        self.raises(errno.ENOENT, os.rename, b, self.path("none/b"))
        self.raises(errno.ENOTDIR, os.rename, b, self.path("b/c"))

    def test_rename_of_directories(self):
        for name in ("d", "d/sub", "e", "full"):
            os.mkdir(self.path(name))
        self.make("d/sub/f", b"deep")
        self.make("full/x")
        f = self.make("f")
        self.raises(errno.EINVAL, os.rename, self.path("d"),
                    self.path("d/sub/in"))
        self.raises(errno.EINVAL, os.rename, self.path("d"),
                    self.path("d/in"))
        self.raises(errno.ENOTEMPTY, os.rename, self.path("d"),
                    self.path("full"))
        self.raises(errno.ENOTEMPTY, os.rename, self.path("d/sub"),
                    self.path("d"))
        self.raises(errno.ENOTDIR, os.rename, self.path("d"), f)
        self.raises(errno.EISDIR, os.rename, f, self.path("e"))
        fd = self.open_fd(self.path("d/sub/f"), os.O_RDWR)
        os.rename(self.path("d"), self.path("e"))
        self.assertEqual(read_file(self.path("e/sub/f")), b"deep")
        self.raises(errno.ENOENT, os.stat, self.path("d/sub/f"))
        self.raises(errno.ENOENT, os.stat, self.path("d"))
        os.pwrite(fd, b"D", 0)
        self.assertEqual(read_file(self.path("e/sub/f")), b"Deep")
        os.rename(self.path("e/sub"), self.path("full/sub"))
        self.assertEqual(read_file(self.path("full/sub/f")), b"Deep")
        self.assertEqual(sorted(os.listdir(self.path("full"))), ["sub", "x"])
        self.assertEqual(os.listdir(self.path("e")), [])

    def test_dotdot_follows_a_rename(self):
        os.makedirs(self.path("a/x"))
        os.mkdir(self.path("b"))
        self.make("b/mark", b"here")
        fd = self.open_fd(self.path("a/x"), os.O_RDONLY)
        os.rename(self.path("a/x"), self.path("b/x"))
        up = os.open("../mark", os.O_RDONLY, dir_fd=fd)
        self.assertEqual(os.read(up, 10), b"here")
        os.close(up)

    def test_rename_noreplace(self):
        a, b = self.make("a", b"A"), self.make("b", b"B")
        os.mkdir(self.path("d"))
        self.raises(errno.EEXIST, renameat2, a, b, RENAME_NOREPLACE)
        self.raises(errno.EEXIST, renameat2, a, self.path("d"),
                    RENAME_NOREPLACE)
        renameat2(a, self.path("c"), RENAME_NOREPLACE)
        self.assertEqual(read_file(self.path("c")), b"A")
        self.assertEqual(read_file(b), b"B")
        renameat2(self.path("d"), self.path("e"), RENAME_NOREPLACE)
        self.raises(errno.EINVAL, renameat2, b, a,
                    RENAME_NOREPLACE | RENAME_EXCHANGE)
        self.raises(errno.EINVAL, renameat2, b, a, 1 << 10)

    def test_rename_exchange(self):
        a, b = self.make("a", b"A"), self.make("b", b"B")
        renameat2(a, b, RENAME_EXCHANGE)
        self.assertEqual((read_file(a), read_file(b)), (b"B", b"A"))
        os.makedirs(self.path("d/sub"))
        self.make("d/sub/x", b"X")
        renameat2(a, self.path("d"), RENAME_EXCHANGE)
        self.assertEqual(read_file(self.path("a/sub/x")), b"X")
        self.assertEqual(read_file(self.path("d")), b"B")
        renameat2(self.path("d"), self.path("a/sub/x"), RENAME_EXCHANGE)
        self.assertEqual(read_file(self.path("a/sub/x")), b"B")
        self.assertEqual(read_file(self.path("d")), b"X")
        self.raises(errno.ENOENT, renameat2, a, self.path("none"),
                    RENAME_EXCHANGE)
        # Neither may become its own ancestor.
        self.raises(errno.EINVAL, renameat2, self.path("a"),
                    self.path("a/sub"), RENAME_EXCHANGE)
        self.raises((errno.EINVAL, errno.ENOTEMPTY), renameat2,
                    self.path("a/sub"), self.path("a"), RENAME_EXCHANGE)
        self.assertEqual(sorted(os.listdir(self.dir)), ["a", "b", "d"])

    # --- unlink, rmdir

    def test_an_unlinked_file_lives_while_open(self):
        p = self.make("f", b"still here")
        fd = self.open_fd(p, os.O_RDWR)
        other = self.open_fd(p, os.O_RDONLY)
        ino = os.fstat(fd).st_ino
        os.unlink(p)
        self.raises(errno.ENOENT, os.stat, p)
        self.assertEqual(os.listdir(self.dir), [])
        st = os.fstat(fd)
        self.assertEqual((st.st_nlink, st.st_size), (0, 10))
        os.pwrite(fd, b"STILL", 0)
        self.assertEqual(os.pread(other, 100, 0), b"STILL here")
        os.ftruncate(fd, 3)
        os.fchmod(fd, 0o600)
        self.assertEqual(os.pread(other, 100, 0), b"STI")
        # The name is free, and the new file is another one.
        self.make("f", b"second")
        self.assertNotEqual(os.stat(p).st_ino, ino)
        self.assertEqual(os.pread(fd, 100, 0), b"STI")
        os.close(fd)
        os.close(other)
        self.assertEqual(read_file(p), b"second")

    def test_a_replaced_file_lives_while_open(self):
        a, b = self.make("a", b"new"), self.make("b", b"old value")
        fd = self.open_fd(b, os.O_RDWR)
        os.rename(a, b)
        self.assertEqual(os.pread(fd, 100, 0), b"old value")
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        os.pwrite(fd, b"OLD", 0)
        self.assertEqual(read_file(b), b"new")

    def test_unlink_and_rmdir_errors(self):
        os.makedirs(self.path("d/e"))
        f = self.make("f")
        self.raises(errno.EISDIR, os.unlink, self.path("d"))
        self.raises(errno.ENOTEMPTY, os.rmdir, self.path("d"))
        self.raises(errno.ENOTDIR, os.rmdir, f)
        self.raises(errno.ENOENT, os.unlink, self.path("none"))
        self.raises(errno.ENOENT, os.rmdir, self.path("none"))
        self.raises(errno.EINVAL, os.rmdir, self.path("d/."))
        self.raises(errno.ENOTEMPTY, os.rmdir, self.path("d/e/.."))
        self.raises(errno.EEXIST, os.mkdir, self.path("d"))
        self.raises(errno.EEXIST, os.mkdir, f)
        self.raises(errno.ENOENT, os.mkdir, self.path("none/d"))
        self.raises(errno.ENOTDIR, os.mkdir, self.path("f/d"))
        os.rmdir(self.path("d/e"))
        os.rmdir(self.path("d"))
        self.assertEqual(os.listdir(self.dir), ["f"])

    def test_a_removed_directory_takes_nothing(self):
        d = self.path("d")
        os.mkdir(d)
        fd = self.open_fd(d, os.O_RDONLY | os.O_DIRECTORY)
        os.rmdir(d)
        self.assertEqual(os.listdir(fd), [])
        self.raises(errno.ENOENT, os.open, "f", os.O_CREAT | os.O_WRONLY,
                    dir_fd=fd)
        self.raises(errno.ENOENT, os.mkdir, "e", dir_fd=fd)
        self.raises(errno.ENOENT, os.symlink, "x", "l", dir_fd=fd)
        f = self.make("f")
        self.raises(errno.ENOENT, os.rename, f, "f", dst_dir_fd=fd)
        self.assertTrue(os.path.exists(f))

    # --- links

    def test_symlinks(self):
        targets = ["f", "../up", "/abs/olute", "no where", "%25%", "x" * 4095]
        for i, t in enumerate(targets):
            os.symlink(t, self.path("l%d" % i))
        for i, t in enumerate(targets):
            self.assertEqual(os.readlink(self.path("l%d" % i)), t)
            st = os.lstat(self.path("l%d" % i))
            self.assertTrue(stat.S_ISLNK(st.st_mode))
            self.assertEqual(st.st_size, len(t))
        os.symlink(b"\xff\xfe\n", self.path(b"raw"))
        self.assertEqual(os.readlink(self.path(b"raw")), b"\xff\xfe\n")
        self.raises(errno.ENOENT, os.stat, self.path("l0"))
        self.make("f", b"via link")
        self.assertEqual(read_file(self.path("l0")), b"via link")
        write_file(self.path("l0"), b"written")
        self.assertEqual(read_file(self.path("f")), b"written")
        self.raises(errno.EEXIST, os.symlink, "y", self.path("l0"))
        self.raises(errno.ENOENT, os.symlink, "", self.path("empty"))
        self.raises(errno.EINVAL, os.readlink, self.path("f"))
        os.symlink("loop2", self.path("loop1"))
        os.symlink("loop1", self.path("loop2"))
        self.raises(errno.ELOOP, os.stat, self.path("loop1"))
        os.mkdir(self.path("d"))
        self.make("d/g", b"G")
        os.symlink("d", self.path("dl"))
        self.assertEqual(read_file(self.path("dl/g")), b"G")
        self.raises(errno.ENOTDIR, os.rmdir, self.path("dl"))
        os.unlink(self.path("dl"))
        self.assertEqual(os.listdir(self.path("d")), ["g"])
        os.rename(self.path("l0"), self.path("moved"))
        self.assertEqual(os.readlink(self.path("moved")), "f")

    # --- attributes

    def test_modes(self):
        old = os.umask(0o027)
        try:
            os.close(os.open(self.path("f"), os.O_CREAT, 0o666))
            os.mkdir(self.path("d"), 0o777)
        finally:
            os.umask(old)
        self.assertEqual(os.stat(self.path("f")).st_mode,
                         stat.S_IFREG | 0o640)
        self.assertEqual(os.stat(self.path("d")).st_mode,
                         stat.S_IFDIR | 0o750)
        for mode in (0, 0o777, 0o4755, 0o6711, 0o600):
            os.chmod(self.path("f"), mode)
            self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode),
                             mode)
        for mode in (0o1777, 0o2755, 0o700):
            os.chmod(self.path("d"), mode)
            self.assertEqual(stat.S_IMODE(os.stat(self.path("d")).st_mode),
                             mode)
        fd = self.open_fd(self.path("f"), os.O_RDWR)
        os.fchmod(fd, 0o444)
        self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o444)
        self.raises(errno.ENOENT, os.chmod, self.path("none"), 0o600)

    def test_mode_at_creation(self):
        old = os.umask(0)
        try:
            for mode in (0o4711, 0o600, 0o000, 0o777):
                p = self.path("f%o" % mode)
                fd = self.open_fd(p, os.O_CREAT | os.O_RDWR, mode)
                self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), mode)
                os.write(fd, b"whatever the mode")
                self.assertEqual(os.pread(fd, 4, 0), b"what")
                os.mkdir(self.path("d%o" % mode), mode & 0o777 | 0o1000)
                d = os.stat(self.path("d%o" % mode))
                self.assertEqual(stat.S_IMODE(d.st_mode),
                                 mode & 0o777 | 0o1000)
        finally:
            os.umask(old)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_owners(self):
        p = self.make("f", b"x", 0o6755)
        os.mkdir(self.path("d"))
        os.symlink("f", self.path("l"))
        os.chown(p, 1001, 1002)
        st = os.stat(p)
        self.assertEqual((st.st_uid, st.st_gid), (1001, 1002))
        # Changing the owner takes the set-ID bits.
        self.assertEqual(stat.S_IMODE(st.st_mode), 0o755)
        os.chown(p, -1, 7)
        self.assertEqual(os.stat(p).st_gid, 7)
        self.assertEqual(os.stat(p).st_uid, 1001)
        os.chown(p, 0x7fffffff, 0xfffffffe)
        st = os.stat(p)
        self.assertEqual((st.st_uid, st.st_gid), (0x7fffffff, 0xfffffffe))
        os.lchown(self.path("l"), 5, 6)
        self.assertEqual(os.lstat(self.path("l")).st_uid, 5)
        self.assertEqual(os.stat(p).st_uid, 0x7fffffff)
        os.chown(self.path("d"), 42, 43)
        self.assertEqual(os.stat(self.path("d")).st_gid, 43)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_set_group_id_directories_pass_their_group_on(self):
        d = self.path("d")
        os.mkdir(d)
        os.chown(d, 0, 4321)
        os.chmod(d, 0o2775)
        self.make("d/f")
        os.mkdir(self.path("d/sub"))
        os.symlink("x", self.path("d/l"))
        self.assertEqual(os.stat(self.path("d/f")).st_gid, 4321)
        self.assertEqual(os.lstat(self.path("d/l")).st_gid, 4321)
        sub = os.stat(self.path("d/sub"))
        self.assertEqual(sub.st_gid, 4321)
        self.assertTrue(sub.st_mode & stat.S_ISGID)

    def test_times(self):
        p = self.make("f", b"x")
        for ns in (0, 1, 1234567890123456789, -1500000000, 4102444800000000001):
            os.utime(p, ns=(ns, ns + 7))
            st = os.stat(p)
            self.assertEqual((st.st_atime_ns, st.st_mtime_ns), (ns, ns + 7))
        os.mkdir(self.path("d"))
        os.utime(self.path("d"), ns=(11, 22))
        self.assertEqual(os.stat(self.path("d")).st_mtime_ns, 22)
        os.symlink("f", self.path("l"))
        os.utime(self.path("l"), ns=(33, 44), follow_symlinks=False)
        self.assertEqual(os.lstat(self.path("l")).st_mtime_ns, 44)
        self.assertEqual(os.stat(p).st_mtime_ns, 4102444800000000008)
        before = time.time_ns()
        os.utime(p)
        self.assertGreaterEqual(os.stat(p).st_mtime_ns, before - 20000000)
        self.assertLessEqual(os.stat(p).st_mtime_ns, time.time_ns())

    def test_utime_omit(self):
        p = self.make("f")
        os.utime(p, ns=(1000, 2000))
        for a, m, want in ((5, (1 << 30) - 2, (5, 2000)),
                           ((1 << 30) - 2, 9, (5, 9))):
            times = (ctypes.c_long * 4)(0, a, 0, m)
            self.assertEqual(_libc.utimensat(-100, os.fsencode(p), times, 0),
                             0)
            st = os.stat(p)
            self.assertEqual((st.st_atime_ns, st.st_mtime_ns), want)

    def test_what_changes_which_time(self):
        p = self.make("f", b"x")
        d = self.path("d")
        os.mkdir(d)

        def back():
            for x in (p, d):
                os.utime(x, ns=(10**18, 10**18))

        def changed(path):
            st = os.stat(path)
            return (st.st_mtime_ns != 10**18,
                    st.st_ctime_ns > time.time_ns() - 60 * 10**9)

        back()
        os.chmod(p, 0o600)
        self.assertEqual(changed(p), (False, True))
        with open(p, "r+b", buffering=0) as f:
            f.write(b"y")
        self.assertEqual(changed(p), (True, True))
        back()
        os.truncate(p, 0)
        self.assertEqual(changed(p), (True, True))
        back()
        os.rename(p, self.path("d/f"))
        p = self.path("d/f")
        self.assertEqual(changed(d)[0], True)
        self.assertEqual(changed(p)[0], False)
        for change in (lambda: self.make("d/g"),
                       lambda: os.unlink(self.path("d/g")),
                       lambda: os.mkdir(self.path("d/e")),
                       lambda: os.rmdir(self.path("d/e")),
                       lambda: os.symlink("x", self.path("d/l")),
                       lambda: os.rename(self.path("d/l"),
                                         self.path("d/l2"))):
            back()
            change()
            self.assertTrue(changed(d)[0], change)
        back()
        read_file(p)
        self.assertFalse(changed(p)[0])

    def test_stat_numbers(self):
        p = self.make("f", b"x" * 1000)
        os.mkdir(self.path("d"))
        st = os.stat(p)
        self.assertEqual((st.st_nlink, st.st_size), (1, 1000))
        self.assertGreater(st.st_blocks, 0)
        self.assertNotEqual(st.st_ino, os.stat(self.path("d")).st_ino)
        self.assertEqual(st.st_dev, os.stat(self.path("d")).st_dev)
        os.rename(p, self.path("d/g"))
        self.assertEqual(os.stat(self.path("d/g")).st_ino, st.st_ino)

    def test_statfs(self):
        v = os.statvfs(self.dir)
        self.assertEqual(v.f_namemax, 255)
        self.assertGreater(v.f_bsize, 0)
        self.assertGreater(v.f_blocks, 0)
        self.assertLessEqual(v.f_bfree, v.f_blocks)
        self.assertLessEqual(v.f_bavail, v.f_bfree)
        self.assertGreater(v.f_files, 0)
        self.assertLessEqual(v.f_ffree, v.f_files)
        subprocess.run(["df", self.dir], stdout=subprocess.DEVNULL,
                       check=True)

    # --- names

    def test_long_names(self):
        n255, n256 = "n" * 255, "n" * 256
        for longest in (n255, "%+" + "x" * 253, "y" * 253 + "%+",
                        "%25" * 85, "ä" * 127 + "z"):
            write_file(self.path(longest), b"1")
            os.rename(self.path(longest), self.path("short"))
            os.rename(self.path("short"), self.path(longest))
            self.assertEqual(os.listdir(self.dir), [longest])
            self.assertEqual(read_file(self.path(longest)), b"1")
            os.unlink(self.path(longest))
            os.mkdir(self.path(longest))
            self.make(longest + "/" + longest, b"deep")
            self.assertEqual(os.listdir(self.path(longest)), [longest])
            os.unlink(self.path(longest + "/" + longest))
            os.rmdir(self.path(longest))
            os.symlink(longest, self.path(longest))
            self.assertEqual(os.readlink(self.path(longest)), longest)
            os.unlink(self.path(longest))
        f = self.make("f")
        code = errno.ENAMETOOLONG
        for name in (n256, "m" * 1000, "o" * 3000):
            p = self.path(name)
            self.raises(code, os.stat, p)
            self.raises(code, os.open, p, os.O_CREAT | os.O_WRONLY)
            self.raises(code, os.mkdir, p)
            self.raises(code, os.symlink, "x", p)
            self.raises(code, os.rename, f, p)
            self.raises(code, os.rename, p, f)
            self.raises(code, os.unlink, p)
            self.raises(code, os.rmdir, p)
        self.raises(code, os.stat, self.path("d/" * 2100))
        self.assertEqual(os.listdir(self.dir), ["f"])

    def test_any_byte_in_a_name(self):
        names = [bytes([c]) for c in range(1, 256) if bytes([c]) not in
                 (b"/", b".")]
        names += [b"...", b"..x", b".x", b"a b", b"a\nb", b"\xff\xfe",
                  b"%", b"%%", b"%00", b"%2E", b"%2E.", b"%2F", b"%25",
                  b"%2500", b"%25=", b"%+", b"100%", b"foo%20bar", b"%41",
                  b"%2Ectl", b".ctl", b"-rf", b"*", b"__keyfs__", b"\\"]
        for i, n in enumerate(dict.fromkeys(names)):
            write_file(self.path(n), b"%d" % i)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.dir))),
                         sorted(set(names)))
        for i, n in enumerate(dict.fromkeys(names)):
            self.assertEqual(read_file(self.path(n)), b"%d" % i, n)

    def test_deep_paths(self):
        fd = os.open(self.dir, os.O_RDONLY)
        for i in range(300):
            os.mkdir("deep-%03d" % i, dir_fd=fd)
            sub = os.open("deep-%03d" % i, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = sub
        leaf = os.open("leaf", os.O_CREAT | os.O_RDWR, dir_fd=fd)
        os.write(leaf, b"bottom")
        self.assertEqual(os.listdir(fd), ["leaf"])
        os.unlink("leaf", dir_fd=fd)
        os.close(leaf)
        for i in reversed(range(300)):
            up = os.open("..", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            os.rmdir("deep-%03d" % i, dir_fd=up)
            fd = up
        os.close(fd)
        self.assertEqual(os.listdir(self.dir), [])

    # --- directories

    def test_listing(self):
        self.make("f")
        os.mkdir(self.path("d"))
        os.symlink("f", self.path("l"))
        with os.scandir(self.dir) as it:
            found = {e.name: (e.is_dir(follow_symlinks=False),
                              e.is_symlink(), e.inode()) for e in it}
        self.assertEqual(set(found), {"f", "d", "l"})
        self.assertEqual([found[n][0] for n in "fdl"], [False, True, False])
        self.assertEqual([found[n][1] for n in "fdl"], [False, False, True])
        for n in "fdl":
            self.assertEqual(found[n][2], os.lstat(self.path(n)).st_ino)
        fd = self.open_fd(self.dir, os.O_RDONLY)
        all_names = [e[3] for e in getdents(fd, 65536)]
        self.assertEqual(sorted(all_names), [b".", b"..", b"d", b"f", b"l"])
        # A listing asked for again shows what is there now.
        os.unlink(self.path("f"))
        self.make("g")
        self.assertEqual(sorted(os.listdir(self.dir)), ["d", "g", "l"])
        self.assertEqual(sorted(walk_names(fd)), [b"d", b"g", b"l"])

    @unittest.skipUnless(SYS_GETDENTS64, "getdents64: unknown number")
    def test_a_position_in_a_directory_stays_good(self):
        names = [b"name-%04d" % i for i in range(500)]
        for n in names:
            self.make(n)
        fd = self.open_fd(self.dir, os.O_RDONLY)
        entries = []
        while True:
            part = getdents(fd, 512)
            if not part:
                break
            entries += part
        self.assertEqual(sorted(e[3] for e in entries),
                         sorted(names + [b".", b".."]))
        for i in range(0, len(entries) - 1, 37):
            os.lseek(fd, entries[i][1], os.SEEK_SET)
            self.assertEqual(getdents(fd, 512)[0][3], entries[i + 1][3])

    @unittest.skipUnless(SYS_GETDENTS64, "getdents64: unknown number")
    def test_removing_while_reading_finds_all(self):
        for i in range(1500):
            self.make("name-%04d" % i)
        fd = self.open_fd(self.dir, os.O_RDONLY)
        removed = 0
        for name in walk_names(fd, 600):
            os.unlink(self.path(name))
            removed += 1
        self.assertEqual(removed, 1500)
        self.assertEqual(os.listdir(self.dir), [])

    def test_untouched_names_appear_once_while_others_change(self):
        rng = harness.rng("readdir")
        stay = {b"stay-%05d" % i for i in range(2000)}
        names = list(stay) + [b"go-%d" % i for i in range(300)]
        rng.shuffle(names)
        for n in names:
            self.make(n)
        stop = threading.Event()
        trouble = []

        def churn():
            here = [n for n in names if n.startswith(b"go")]
            count = 0
            try:
                while not stop.is_set():
                    count += 1
                    new = b"new-%d" % count
                    write_file(self.path(new), b"")
                    here.append(new)
                    victim = here.pop(rng.randrange(len(here)))
                    if count % 3:
                        os.unlink(self.path(victim))
                    else:
                        os.rename(self.path(victim),
                                  self.path(b"ren-%d" % count))
                        here.append(b"ren-%d" % count)
            except OSError as e:
                trouble.append(e)

        t = threading.Thread(target=churn)
        t.start()
        try:
            for size in (300, 4096, 65536) * 4:
                fd = os.open(self.dir, os.O_RDONLY)
                seen = [n for n in walk_names(fd, size)
                        if n.startswith(b"stay")]
                os.close(fd)
                self.assertEqual(len(seen), len(set(seen)), "a name twice")
                self.assertEqual(set(seen), stay)
                listed = [n for n in os.listdir(os.fsencode(self.dir))
                          if n.startswith(b"stay")]
                self.assertEqual(sorted(listed), sorted(stay))
        finally:
            stop.set()
            t.join()
        self.assertEqual(trouble, [])

    def test_many_threads_in_one_directory(self):
        errors = []

        def work(who):
            rng = harness.rng("thread%d" % who)
            mine = {}
            try:
                for i in range(300):
                    n = "t%d-%d" % (who, rng.randrange(40))
                    if n in mine and rng.random() < 0.3:
                        os.unlink(self.path(n))
                        del mine[n]
                    else:
                        mine[n] = rng.randbytes(rng.randrange(9000))
                        write_file(self.path(n), mine[n])
                for n, data in mine.items():
                    if read_file(self.path(n)) != data:
                        errors.append("%s differs" % n)
                everything.update(mine)
            except OSError as e:
                errors.append(e)

        everything = {}
        threads = [threading.Thread(target=work, args=(i,))
                   for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(errors, [])
        self.assertEqual(sorted(os.listdir(self.dir)), sorted(everything))

    # --- locks

    def test_locks_between_processes(self):
        p = self.make("f", b"0123456789")
        fd = self.open_fd(p, os.O_RDWR)
        script = ("import fcntl,os,sys\n"
                  "fd = os.open(sys.argv[1], os.O_RDWR)\n"
                  "for lock in (lambda: fcntl.flock(fd, fcntl.LOCK_EX |"
                  " fcntl.LOCK_NB),\n"
                  "             lambda: fcntl.lockf(fd, fcntl.LOCK_EX |"
                  " fcntl.LOCK_NB, 2, 0)):\n"
                  "    try:\n"
                  "        lock()\n"
                  "        print('got')\n"
                  "    except BlockingIOError:\n"
                  "        print('busy')\n")

        def other():
            return subprocess.run([sys.executable, "-c", script, p],
                                  stdout=subprocess.PIPE,
                                  check=True).stdout.split()

        self.assertEqual(other(), [b"got", b"got"])
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.assertEqual(other(), [b"busy", b"got"])
        fcntl.flock(fd, fcntl.LOCK_UN)
        fcntl.lockf(fd, fcntl.LOCK_EX, 5, 0)
        self.assertEqual(other(), [b"got", b"busy"])


class OnTmpfs(FileCalls, harness.Case):
    """What the kernel does."""

    @classmethod
    def setUpClass(cls):
        try:
            cls.top = harness.mount_tmpfs(harness.unique("tmpfs"), "size=1g")
        except unittest.SkipTest:
            if harness.mount_type("/dev/shm") != "tmpfs":
                raise
            cls.top = harness.tempfile.mkdtemp(prefix="keyfs-test-",
                                               dir="/dev/shm")

    @classmethod
    def tearDownClass(cls):
        if cls.top.startswith("/dev/shm/"):
            harness.shutil.rmtree(cls.top, ignore_errors=True)

    def setUp(self):
        self.dir = os.path.join(self.top, self._testMethodName)
        os.mkdir(self.dir)

    def tearDown(self):
        harness.shutil.rmtree(self.dir)


class OnKeyfs(FileCalls, harness.Case):
    """The same, on a mount."""

    @classmethod
    def setUpClass(cls):
        cls.m = harness.Mount()

    @classmethod
    def tearDownClass(cls):
        cls.m.close()

    def setUp(self):
        self.dir = self.m / self._testMethodName
        os.mkdir(self.dir)

    def tearDown(self):
        harness.shutil.rmtree(self.dir)

    # --- what is keyfs' own

    def test_what_is_not_there_yet(self):
        f = self.make("f", b"x")
        self.raises(errno.EPERM, os.link, f, self.path("hard"))
        self.raises(errno.EPERM, os.mkfifo, self.path("fifo"))
        self.raises(errno.ENOTSUP, os.setxattr, f, "user.a", b"1")
        self.assertEqual(os.listdir(self.dir), ["f"])

    def test_the_largest_file(self):
        f = self.make("f")
        limit = 512 << 20
        os.truncate(f, limit)
        self.assertEqual(os.stat(f).st_size, limit)
        self.raises(errno.EFBIG, os.truncate, f, limit + 1)
        fd = self.open_fd(f, os.O_RDWR)
        self.raises(errno.EFBIG, os.pwrite, fd, b"x", limit)
        os.pwrite(fd, b"x", limit - 1)
        self.assertEqual(os.stat(f).st_size, limit)

    def test_the_value_of_a_directory(self):
        os.mkdir(self.path("d"))
        self.make("d/%=", b"value of d")
        self.assertEqual(os.listdir(self.path("d")), ["%="])
        self.assertEqual(read_file(self.path("d/%=")), b"value of d")
        os.unlink(self.path("d/%="))
        self.raises(errno.EINVAL, os.mkdir, self.path("d/%="))
        os.mkdir(self.path("e"))
        self.raises(errno.EINVAL, os.rename, self.path("e"),
                    self.path("d/%="))


class Root(harness.Case):
    """The root directory of a mount."""

    def test_the_root(self):
        m = self.mount()
        st = os.stat(m.mnt)
        self.assertTrue(stat.S_ISDIR(st.st_mode))
        self.assertEqual(st.st_uid, os.geteuid())
        self.assertEqual(os.listdir(m.mnt), [])
        self.raises(errno.EBUSY, os.rmdir, m.mnt)
        os.chmod(m.mnt, 0o711)
        os.utime(m.mnt, ns=(5, 6))
        self.assertEqual(os.stat(m.mnt).st_mtime_ns, 6)
        m.restart()
        st = os.stat(m.mnt)
        self.assertEqual(stat.S_IMODE(st.st_mode), 0o711)
        self.assertEqual(st.st_mtime_ns, 6)

    def test_file_handles(self):
        # What a NFS server does: files by number, when the kernel has
        # forgotten them all.
        harness.need_root()
        libc = ctypes.CDLL(None, use_errno=True)

        class Handle(ctypes.Structure):
            _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int),
                        ("bytes", ctypes.c_ubyte * 128)]

        def handle_of(path):
            handle, mount_id = Handle(128), ctypes.c_int()
            if libc.name_to_handle_at(-100, os.fsencode(path),
                                      ctypes.byref(handle),
                                      ctypes.byref(mount_id), 0):
                raise OSError(ctypes.get_errno(), path)
            return handle

        # By the number of a directory the kernel looks for its name in the
        # directory above: `.ctl` has to be listed.
        m = self.mount(options="ctl=visible")
        os.makedirs(m / "a/b")
        write_file(m / "a/file", b"data")
        names = ["a/b", "a", "a/file", ".ctl", ".ctl/config", ".ctl/info"]
        handles = [handle_of(m / n) for n in names]
        # A remount drops what the kernel has cached.
        remount, nosuid, nodev = 32, 2, 4
        self.assertEqual(libc.mount(None, os.fsencode(m.mnt), None,
                                    remount | nosuid | nodev, None), 0)
        root = os.open(m.mnt, os.O_RDONLY)
        try:
            for name, handle in zip(names, handles):
                fd = libc.open_by_handle_at(root, ctypes.byref(handle),
                                            os.O_RDONLY)
                self.assertGreaterEqual(
                    fd, 0, (name, os.strerror(ctypes.get_errno())))
                self.assertEqual(os.readlink("/proc/self/fd/%d" % fd)
                                 if os.path.isdir(m / name) else
                                 m / name, m / name)
                os.close(fd)
        finally:
            os.close(root)
        self.assertEqual(stat.S_IMODE(os.stat(m.mnt).st_mode), 0o755)
        write_file(m / "f", b"the root is as it was")

    def test_mount_options(self):
        m = self.mount()
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            line = [x for x in f if " %s " % m.mnt in x][0].split()
        options = line[5].split(",")
        self.assertIn("nosuid", options)
        self.assertIn("nodev", options)
        self.assertIn("default_permissions", line[-1].split(","))
        self.assertNotIn("allow_other", line[-1].split(","))
        self.assertIn(m.datadir, " ".join(line))


if __name__ == "__main__":
    harness.main()
