# SPDX-License-Identifier: MIT
"""What people do with a file system: tar, rsync, git, SQLite, make. All of it
again after a save and a restart."""

import os
import shutil
import sqlite3
import subprocess

import harness
import tree
from harness import read_file, write_file


def run(argv, cwd=None, ok=(0,), **kw):
    """Runs a tool. Return: its standard output."""
    env = dict(os.environ, LC_ALL="C", HOME=harness.scratch(),
               GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a",
               GIT_AUTHOR_EMAIL="a@example.org", GIT_COMMITTER_NAME="a",
               GIT_COMMITTER_EMAIL="a@example.org")
    r = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       check=False, **kw)
    if r.returncode not in ok:
        raise AssertionError("%s: exit code %d\n%s%s" % (
            argv, r.returncode, r.stdout.decode("utf-8", "replace"),
            r.stderr.decode("utf-8", "replace")))
    return r.stdout


class Tools(harness.Case):
    SECONDS = 240

    def sample(self):
        """A directory on disk with a bit of everything."""
        rng = harness.rng("sample")
        top = harness.unique("sample")
        os.mkdir(top)
        for i in range(30):
            d = os.path.join(top, "dir %d" % (i % 7))
            os.makedirs(d, exist_ok=True)
            p = os.path.join(d, "file%d" % i)
            write_file(p, rng.randbytes(rng.choice((0, 10, 5000, 300000))))
            os.chmod(p, rng.choice((0o644, 0o600, 0o755, 0o444)))
            os.utime(p, ns=(rng.randrange(1 << 60), rng.randrange(1 << 60)))
        os.symlink("file0", os.path.join(top, "dir 0", "link"))
        os.symlink("/nowhere/at all", os.path.join(top, "dangling"))
        for link in ("dir 0/link", "dangling"):
            os.utime(os.path.join(top, link), ns=(5, 10**18 + 5),
                     follow_symlinks=False)
        os.makedirs(os.path.join(top, "empty", "deeper"))
        write_file(os.path.join(top, "nasty \n%20 \xe4"), b"name")
        for base, _, _ in os.walk(top):
            os.utime(base, ns=(1, rng.randrange(1 << 60)))
        return top

    def same(self, a, b):
        want = tree.read_tree(a)
        for e in want.values():
            e.atime = None
        self.assertEqual(tree.differences(want, tree.read_tree(b)), [])

    def test_cp_and_diff(self):
        m = self.mount()
        src = self.sample()
        run(["cp", "-a", src, m / "copy"])
        run(["diff", "-r", "--no-dereference", src, m / "copy"])
        self.same(src, m / "copy")
        run(["cp", "-a", m / "copy", m / "again"])
        m.restart()
        run(["diff", "-r", "--no-dereference", src, m / "copy"])
        self.same(src, m / "again")
        run(["rm", "-r", m / "copy"])
        self.assertEqual(os.listdir(m.mnt), ["again"])
        run(["find", m / "again", "-delete"])
        self.assertEqual(os.listdir(m.mnt), [])

    def test_tar(self):
        harness.need("tar")
        m = self.mount()
        src = self.sample()
        ball = harness.unique("ball") + ".tar"
        run(["tar", "--format=posix", "-cf", ball, "-C", src, "."])
        os.mkdir(m / "out")
        run(["tar", "-xpf", ball, "-C", m / "out"])
        self.same(src, m / "out")
        run(["tar", "-df", ball, "-C", m / "out"])
        # An archive on the mount, of what is on the mount.
        run(["tar", "--format=posix", "-cf", m / "b.tar", "-C", m / "out",
             "."])
        back = harness.unique("back")
        os.mkdir(back)
        run(["tar", "-xpf", m / "b.tar", "-C", back])
        self.same(src, back)
        m.save()
        m.restart("kill")
        run(["tar", "-df", ball, "-C", m / "out"])
        run(["tar", "-df", m / "b.tar", "-C", m / "out"])

    def test_rsync(self):
        harness.need("rsync")
        m = self.mount()
        src = self.sample()

        def nothing_to_do():
            return run(["rsync", "-a", "--delete", "-n", "-i", src + "/",
                        m / "mirror/"])

        for _ in range(2):
            run(["rsync", "-a", src + "/", m / "mirror/"])
        self.assertEqual(nothing_to_do(), b"")
        self.same(src, m / "mirror")
        m.save()
        self.assertEqual(nothing_to_do(), b"")
        m.restart("kill")
        self.assertEqual(nothing_to_do(), b"")
        m.restart()
        self.assertEqual(nothing_to_do(), b"")
        # With the contents read, both ways.
        self.assertEqual(run(["rsync", "-aic", "--delete", src + "/",
                              m / "mirror/"]), b"")
        # A change goes over, and only it.
        changed = os.path.join(src, "dir 3", "file3")
        os.chmod(changed, 0o640)
        write_file(changed, b"changed")
        os.unlink(os.path.join(src, "dir 4", "file4"))
        # rsync leaves a time alone that differs by less than a second.
        os.utime(os.path.join(src, "dir 4"), ns=(7, 10**18 + 7))
        out = run(["rsync", "-a", "--delete", "-i", src + "/",
                   m / "mirror/"]).decode()
        self.assertIn("dir 3/file3", out)
        self.assertIn("*deleting   dir 4/file4", out)
        self.assertNotIn("file5", out)
        self.assertEqual(nothing_to_do(), b"")
        out = harness.unique("out")
        run(["rsync", "-a", m / "mirror/", out])
        self.same(src, out)

    def test_git(self):
        harness.need("git")
        m = self.mount()
        repo = m / "repo"
        os.mkdir(repo)
        rng = harness.rng("git")
        run(["git", "init", "-q", "-b", "main"], repo)
        for i in range(12):
            os.makedirs(os.path.join(repo, "d%d" % (i % 3)), exist_ok=True)
            for j in range(10):
                write_file(os.path.join(repo, "d%d" % (i % 3), "f%d" % j),
                           b"%d %d\n" % (i, j) + rng.randbytes(200))
            write_file(os.path.join(repo, "script"), b"#!/bin/sh\n: %d\n" % i)
            os.chmod(os.path.join(repo, "script"), 0o755)
            run(["git", "add", "-A"], repo)
            run(["git", "commit", "-q", "-m", "commit %d" % i], repo)
        run(["git", "checkout", "-q", "-b", "side", "HEAD~5"], repo)
        write_file(os.path.join(repo, "side.txt"), b"side\n")
        run(["git", "add", "side.txt"], repo)
        run(["git", "commit", "-q", "-m", "on the side"], repo)
        run(["git", "checkout", "-q", "main"], repo)
        run(["git", "merge", "-q", "--no-edit", "side"], repo)
        run(["git", "tag", "-a", "-m", "a tag", "v1"], repo)
        run(["git", "fsck", "--strict", "--full"], repo)
        run(["git", "gc", "-q", "--aggressive", "--prune=now"], repo)
        run(["git", "fsck", "--strict", "--full"], repo)
        self.assertEqual(run(["git", "status", "--porcelain"], repo), b"")
        log = run(["git", "log", "--format=%H %s", "--all"], repo)
        self.assertEqual(len(log.splitlines()), 14)
        m.save()
        m.restart("kill")
        run(["git", "fsck", "--strict", "--full"], repo)
        self.assertEqual(run(["git", "status", "--porcelain"], repo), b"")
        self.assertEqual(run(["git", "log", "--format=%H %s", "--all"], repo),
                         log)
        write_file(os.path.join(repo, "d0/f0"), b"after the restart\n")
        run(["git", "commit", "-q", "-a", "-m", "after"], repo)
        run(["git", "clone", "-q", "--no-hardlinks", repo, m / "clone"])
        run(["git", "fsck", "--strict", "--full"], m / "clone")
        self.assertEqual(run(["git", "rev-parse", "HEAD"], m / "clone"),
                         run(["git", "rev-parse", "HEAD"], repo))
        run(["git", "worktree", "add", "-q", m / "wt", "side"], repo)
        self.assertEqual(read_file(m / "wt/side.txt"), b"side\n")

    # --- SQLite

    def sqlite(self, journal):
        m = self.mount()
        path = m / "data.db"
        rng = harness.rng("sqlite")
        con = sqlite3.connect(path, timeout=20, isolation_level=None)
        self.assertEqual(con.execute("PRAGMA journal_mode=%s" %
                                     journal).fetchone()[0], journal)
        con.execute("PRAGMA synchronous=FULL")
        con.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB, w TEXT)")
        con.execute("CREATE INDEX i ON t(w)")
        model = {}
        for _ in range(60):
            con.execute("BEGIN")
            change = dict(model)
            for _ in range(rng.randrange(1, 60)):
                k = rng.randrange(800)
                if k in change and rng.random() < 0.3:
                    con.execute("DELETE FROM t WHERE k=?", (k,))
                    del change[k]
                else:
                    v = rng.randbytes(rng.randrange(3000))
                    con.execute("INSERT OR REPLACE INTO t VALUES(?,?,?)",
                                (k, v, "w%d" % (k % 50)))
                    change[k] = v
            if rng.random() < 0.2:
                con.execute("ROLLBACK")
            else:
                con.execute("COMMIT")
                model = change
        # Others see what is committed, through locks and shared memory.
        script = ("import sqlite3,sys\n"
                  "c = sqlite3.connect(sys.argv[1], timeout=20)\n"
                  "print(c.execute('SELECT count(*), sum(k) FROM t')"
                  ".fetchone())\n"
                  "c.execute(\"INSERT INTO t VALUES(100000, x'00', 'o')\")\n"
                  "c.commit()\n")
        out = run(["python3", "-c", script, path]).decode()
        self.assertEqual(out.strip(), str((len(model), sum(model))))
        self.assertEqual(con.execute("SELECT count(*) FROM t").fetchone()[0],
                         len(model) + 1)
        con.execute("DELETE FROM t WHERE k=100000")
        self.check(con, model)
        # The dump is taken while the database is open: SQLite then recovers
        # from its own journal, as after a crash.
        m.save()
        m.kill()
        try:
            con.close()
        except sqlite3.Error:
            pass
        m.start()
        con = sqlite3.connect(path, isolation_level=None)
        self.check(con, model)
        con.execute("VACUUM")
        self.check(con, model)
        con.close()
        m.restart()
        con = sqlite3.connect(path)
        self.check(con, model)
        con.close()

    def check(self, con, model):
        self.assertEqual(con.execute("PRAGMA integrity_check").fetchall(),
                         [("ok",)])
        self.assertEqual(dict(con.execute("SELECT k, v FROM t")), model)

    def test_sqlite_rollback_journal(self):
        self.sqlite("delete")

    def test_sqlite_truncated_journal(self):
        self.sqlite("truncate")

    def test_sqlite_wal(self):
        self.sqlite("wal")

    # --- make

    def test_make(self):
        harness.need("make", "cc")
        m = self.mount()
        src = m / "src"
        os.mkdir(src)
        names = ["m%d" % i for i in range(6)]
        write_file(os.path.join(src, "all.h"), "".join(
            "int %s(void);\n" % n for n in names).encode())
        for i, n in enumerate(names):
            write_file(os.path.join(src, n + ".c"),
                       b'#include "all.h"\nint %s(void) { return %d; }\n' %
                       (n.encode(), i))
        write_file(os.path.join(src, "main.c"), (
            '#include <stdio.h>\n#include "all.h"\nint main(void)\n{\n'
            '\tprintf("%%d\\n", %s);\n\treturn 0;\n}\n' %
            " + ".join(n + "()" for n in names)).encode())
        objs = " ".join(n + ".o" for n in names + ["main"])
        write_file(os.path.join(src, "Makefile"), (
            "prog: %s\n\tcc -o $@ %s\n%%.o: %%.c all.h\n"
            "\tcc -O0 -c -o $@ $<\n" % (objs, objs)).encode())
        out = run(["make", "-j2"], src)
        self.assertEqual(out.count(b"-c -o"), 7)
        self.assertEqual(run([os.path.join(src, "prog")]), b"15\n")
        self.assertIn(b"up to date", run(["make"], src))
        m.save()
        self.assertIn(b"up to date", run(["make"], src))
        m.restart("kill")
        self.assertIn(b"up to date", run(["make"], src))
        self.assertEqual(run([os.path.join(src, "prog")]), b"15\n")
        write_file(os.path.join(src, "m3.c"),
                   b'#include "all.h"\nint m3(void) { return 100; }\n')
        out = run(["make"], src)
        self.assertEqual(out.count(b"-c -o"), 1)
        self.assertEqual(run([os.path.join(src, "prog")]), b"112\n")

    # --- the rest of the toolbox

    def test_editors_and_filters(self):
        m = self.mount()
        write_file(m / "f", b"one\ntwo\nthree\n")
        run(["sed", "-i", "s/two/2/", "f"], m.mnt)
        self.assertEqual(read_file(m / "f"), b"one\n2\nthree\n")
        run(["sh", "-c", "sort f > g && mv g f && cat f f >> h && "
             "cut -c1 h | uniq | tee i && head -c 3 f > j && "
             "dd if=h of=k bs=4 conv=notrunc status=none && cmp h k"], m.mnt)
        self.assertEqual(read_file(m / "f"), b"2\none\nthree\n")
        self.assertEqual(sorted(os.listdir(m.mnt)),
                         ["f", "h", "i", "j", "k"])
        run(["sh", "-c", "install -m 600 h l && truncate -s 1M l && "
             "touch -d @12345 l && ln -s l s && find . -newermt 1980-01-01 "
             "-type f | wc -l"], m.mnt)
        self.assertEqual(os.stat(m / "l").st_mtime, 12345)
        self.assertEqual(os.stat(m / "l").st_size, 1 << 20)
        run(["du", "-s", "."], m.mnt)
        if shutil.which("flock"):
            run(["flock", "lock", "true"], m.mnt)


if __name__ == "__main__":
    harness.main()
