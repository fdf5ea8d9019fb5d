# SPDX-License-Identifier: MIT
"""A process that outlives the test and cleans up behind it.

A test that waits for a file system which does not answer sits in a system
call; an alarm of its own cannot free it, and a thread may wait for the
interpreter's lock. So a process of its own watches the clock: it kills the
daemons, which makes every such call fail, and, when the test process is gone
for whatever reason, unmounts, kills and removes what is left of it.

The test talks to it through a pipe, a line each: `pid N` and `gone N` for
processes to be killed at the end, `limit SECONDS NAME` for the clock. The end
of the pipe is the end of the test.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time


def mounts_under(path):
    """The mount points at or below a directory, innermost first."""
    found = []
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            point = line.split()[4].decode("unicode_escape")
            if point == path or point.startswith(path + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


def unmount_all(path):
    for point in mounts_under(path):
        tool = ["umount", "-l"] if os.geteuid() == 0 else \
            ["fusermount3", "-uz"]
        subprocess.run(tool + [point], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)


def started_at(pid):
    """When a process started, in clock ticks: tells a reused number."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            return f.read().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return None


def tail(path, limit=8000):
    try:
        with open(path, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - limit))
            return f.read().decode("utf-8", "backslashreplace")
    except OSError as e:
        return str(e) + "\n"


def dump_logs(scratch):
    # Only the scratch directory itself is looked at: what is mounted below it
    # may not answer.
    for name in sorted(os.listdir(scratch)):
        if name.endswith(".log"):
            sys.stderr.write("--- %s ---\n%s" %
                             (name, tail(os.path.join(scratch, name))))
    sys.stderr.flush()


class _Watch:
    def __init__(self, pipe, scratch, test_pid):
        self.pipe, self.scratch, self.test_pid = pipe, scratch, test_pid
        self.pids = {}
        self.deadline = None
        self.name = ""
        self.strikes = 0

    def kill_all(self):
        for pid, start in self.pids.items():
            if start is not None and started_at(pid) == start:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass

    def command(self, line):
        word, _, rest = line.partition(" ")
        if word == "pid":
            self.pids[int(rest)] = started_at(int(rest))
        elif word == "gone":
            self.pids.pop(int(rest), None)
        elif word == "limit":
            seconds, _, self.name = rest.partition(" ")
            self.deadline = time.monotonic() + float(seconds)
            self.strikes = 0

    def overdue(self):
        self.strikes += 1
        if self.strikes == 1:
            sys.stderr.write("TIMEOUT: %s; killing its daemons\n" % self.name)
            dump_logs(self.scratch)
            self.kill_all()
            unmount_all(self.scratch)
            self.deadline = time.monotonic() + 20
        else:
            sys.stderr.write("TIMEOUT: %s does not end; killing the test\n" %
                             self.name)
            sys.stderr.flush()
            self.deadline = None
            try:
                os.kill(self.test_pid, signal.SIGKILL)
            except OSError:
                pass

    def run(self):
        rest = b""
        while True:
            wait = None
            if self.deadline is not None:
                wait = max(0, self.deadline - time.monotonic())
            if not select.select([self.pipe], [], [], wait)[0]:
                self.overdue()
                continue
            got = os.read(self.pipe, 4096)
            if not got:
                break
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                self.command(line.decode())
        self.kill_all()
        unmount_all(self.scratch)
        if not mounts_under(self.scratch):
            shutil.rmtree(self.scratch, ignore_errors=True)


def start(scratch):
    """Forks the guardian. Return: the pipe's end to write to, and its pid."""
    read_end, write_end = os.pipe()
    test_pid = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(read_end)
        return write_end, pid
    try:
        os.setsid()
        os.chdir("/")
        os.close(write_end)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                    signal.SIGPIPE):
            signal.signal(sig, signal.SIG_IGN)
        _Watch(read_end, scratch, test_pid).run()
    finally:
        os._exit(0)
