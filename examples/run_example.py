#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs an example as its reader would, on a private mount, and checks it.

    run_example.py --keyfs KEYFS --source ROOT NAME COMMAND...

NAME says what to check: `notes` (in any language), `quickstart`, `clone` (the
quickstart in a copy of the source tree, which it has to build), or `readme` (the
sessions of README.md).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

SOURCE = Path(sys.argv[sys.argv.index("--source") + 1])
sys.path.insert(0, str(SOURCE / "tests" / "mount"))
sys.path.insert(0, str(SOURCE / "tests" / "lint"))

import harness  # noqa: E402 (found just now)
import tree  # noqa: E402

COMMAND = []  # set at the end

SHOPPING = "milk\neggs\nbread\n"
IDEAS = "a cache that is a directory\n"
OUTPUT = ["To buy:", "milk", "eggs", "All notes:", "ideas", "shopping",
          "After the restore, to buy:", "milk", "eggs", "bread"]


def run(argv, cwd=None, **env):
    """Runs a command; returns its status and what it said."""
    done = subprocess.run(
        argv, cwd=cwd or harness.scratch(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="backslashreplace",
        env={**os.environ, "KEYFS": harness.keyfs_bin(), **env}, check=False)
    return done.returncode, done.stdout


def new_dir(stem):
    path = harness.unique(stem)
    os.mkdir(path)
    return path


class Notes(harness.Case):
    def setUp(self):
        harness.need("fusermount3")

    def test_does_what_it_says(self):
        m = self.mount()
        work = new_dir("work")
        status, said = run([*COMMAND, m.mnt, work])
        self.assertEqual(status, 0, said)
        # A directory's order is its own.
        lines = said.splitlines()
        self.assertEqual(sorted(lines[4:6]), ["ideas", "shopping"], said)
        self.assertEqual(lines[:4] + sorted(lines[4:6]) + lines[6:], OUTPUT)

        self.check_notes(m.mnt)
        self.assertFalse(harness.mount_type(
            os.path.join(work, "restored.mnt")), "a mount is left behind")
        self.check_backup(os.path.join(work, "backup.rdb"))

    def check_notes(self, mnt):
        notes = os.path.join(mnt, "notes")
        self.assertEqual(sorted(os.listdir(notes)), ["ideas", "shopping"])
        self.assertEqual(Path(notes, "shopping").read_text(), SHOPPING)
        self.assertEqual(Path(notes, "ideas").read_text(), IDEAS)

    def check_backup(self, backup):
        """It is a dump, and holds the notes as they were before the loss."""
        self.assertEqual(Path(backup).read_bytes()[:9], b"REDIS0010")
        if shutil.which("redis-check-rdb"):
            status, said = run(["redis-check-rdb", backup])
            self.assertEqual(status, 0, said)
        data = new_dir("data")
        shutil.copyfile(backup, os.path.join(data, "dump.rdb"))
        self.check_notes(self.mount(datadir=data).mnt)

    def test_fails_loudly_without_keyfs(self):
        plain = new_dir("plain")
        status, said = run([*COMMAND, plain, new_dir("work")])
        self.assertNotEqual(status, 0)
        self.assertIn("no keyfs is mounted at " + plain, said)
        self.assertEqual(os.listdir(plain), [])

    def test_fails_loudly_when_the_restore_does(self):
        m = self.mount()
        status, said = run([*COMMAND, m.mnt, new_dir("work")],
                           KEYFS=os.path.join(harness.scratch(), "missing"))
        self.assertNotEqual(status, 0)
        self.assertIn("missing", said)
        self.assertNotIn("After the restore", said)

    def test_wants_two_arguments(self):
        status, said = run([*COMMAND, new_dir("one")])
        self.assertNotEqual(status, 0)
        self.assertIn("usage:", said)


class Quickstart(harness.Case):
    def setUp(self):
        harness.need("fusermount3")
        harness.need_mount()
        self.dir = harness.unique("quick start")
        self.addCleanup(self.stop)

    def stop(self):
        """The example leaves its mount running: that is what it is for."""
        mnt = os.path.join(self.dir, "mnt")
        if harness.mount_type(mnt):
            subprocess.run(["fusermount3", "-u", mnt], check=True)
        lock = os.path.join(self.dir, "data", "keyfs.lock")
        harness.wait_until(lambda: not os.path.exists(lock),
                           what="end of the daemon")

    def check(self, said):
        mnt = Path(self.dir, "mnt")
        self.assertEqual(harness.mount_type(str(mnt)), harness.FSTYPE)
        self.assertEqual((mnt / "user/1/name").read_text(), "Ada\n")
        self.assertIn("have survived a restart", said)
        self.assertIn("fusermount3 -u " + str(mnt), said)

    def test_ends_with_a_mount_that_survived_a_restart(self):
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        self.check(said)

    def test_can_be_run_again(self):
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        mine = Path(self.dir, "mnt", "mine")
        mine.write_text("kept\n")
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        self.assertIn("running here already", said)
        self.check(said)
        self.assertEqual(mine.read_text(), "kept\n")

    def test_leaves_a_mount_in_use_alone(self):
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        with open(os.path.join(self.dir, "mnt", "user", "1", "name"),
                  encoding="ascii") as f:
            status, said = run([*COMMAND, self.dir])
            self.assertEqual(status, 0, said)
            self.assertIn("it was not restarted", said)
            self.assertTrue(f.read())

    def test_mounts_over_what_a_crash_left(self):
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        info = Path(self.dir, "mnt", ".ctl", "info").read_text()
        pid = int(re.search(r"^process_id:(\d+)", info, re.M).group(1))
        os.kill(pid, signal.SIGKILL)
        harness.wait_until(lambda: not os.path.exists("/proc/%d/exe" % pid),
                           what="end of the daemon")
        status, said = run([*COMMAND, self.dir])
        self.assertEqual(status, 0, said)
        self.assertNotIn("running here already", said)
        self.check(said)

    def test_says_what_is_missing(self):
        status, said = run([*COMMAND, self.dir],
                           KEYFS=os.path.join(harness.scratch(), "missing"))
        self.assertNotEqual(status, 0)
        self.assertIn("there is no program", said)


class Clone(Quickstart):
    SECONDS = 600

    def setUp(self):
        if os.environ.get("KEYFS_QUICK"):
            self.skipTest("a whole build: not in quick runs")
        super().setUp()

    def test_ends_with_a_mount_that_survived_a_restart(self):
        clone = harness.unique("clone")
        for path in tree.source_files(str(SOURCE)):
            target = os.path.join(clone, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.join(SOURCE, path), target)
        data = new_dir("data")
        self.dir = os.path.join(data, "keyfs-quickstart")
        status, said = run(["sh", "examples/quickstart.sh"], cwd=clone,
                           KEYFS="", XDG_DATA_HOME=data)
        self.assertEqual(status, 0, said)
        self.check(said)

    test_can_be_run_again = None
    test_leaves_a_mount_in_use_alone = None
    test_mounts_over_what_a_crash_left = None
    test_says_what_is_missing = None


class Readme(harness.Case):
    """The sessions are typed one after another and must say what they say;
    only numbers may differ."""

    def setUp(self):
        harness.need("fusermount3", "redis-server", "redis-cli")
        harness.need_mount()
        self.dir = new_dir("readme")
        os.mkdir(os.path.join(self.dir, "m"))
        os.symlink(harness.keyfs_bin(), os.path.join(self.dir, "keyfs"))
        self.addCleanup(self.stop)

    def stop(self):
        self.type("redis-cli -s sock shutdown nosave")
        mnt = os.path.join(self.dir, "m")
        if harness.mount_type(mnt):
            subprocess.run(["fusermount3", "-u", mnt], check=True)

    def type(self, command):
        path = self.dir + ":" + os.environ["PATH"]
        return run(["sh", "-c", command], cwd=self.dir, PATH=path)

    @staticmethod
    def sessions():
        """Yields each command and what follows it."""
        text = (SOURCE / "README.md").read_text(encoding="utf-8")
        for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
            for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
                # A command goes on after a backslash at the line's end.
                command = re.match(r"(?:.*\\\n)*.*", step).group()
                yield command, step[len(command) + 1:]

    def test_sessions_are_true(self):
        steps = list(self.sessions())
        self.assertGreater(len(steps), 5)
        for command, shown in steps:
            status, said = self.type(command)
            self.assertEqual(status, 0, command + "\n" + said)
            self.assertEqual(re.sub(r"\d+", "0", said),
                             re.sub(r"\d+", "0", shown), command)


CASES = {"notes": Notes, "quickstart": Quickstart, "clone": Clone,
         "readme": Readme}


def load_tests(loader, _tests, _pattern):
    return loader.loadTestsFromTestCase(CASES[NAME])


if __name__ == "__main__":
    where = sys.argv.index("--source")
    NAME, *COMMAND = sys.argv[where + 2:]
    del sys.argv[where:]
    harness.main()
