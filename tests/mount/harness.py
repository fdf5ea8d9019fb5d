# SPDX-License-Identifier: MIT
"""Running the daemon under test: scratch directories, mounts, time limits.

A test file is a unittest module whose classes derive from Case and which ends
in harness.main(). Each file runs in a process of its own, beside others; all
it makes lies in one scratch directory, which a guardian process removes with
every mount and process in it, however the test ends.

Environment: KEYFS_BIN, the binary (or `--keyfs PATH`); KEYFS_SEED, a number
for whatever is random, printed at the start.

Exit codes: 0 passed, 1 failed, 77 nothing could be run (the reasons are on
stdout).
"""

import ast
import ctypes
import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

import guardian

SKIPPED = 77
FSTYPE = "fuse.keyfs"
# For slow machines and sanitizers: whatever waits, waits so many times longer.
SLOW = float(os.environ.get("KEYFS_SLOW", "1"))

_state = {"scratch": None, "pipe": None, "guardian": None, "bin": None,
          "seed": None, "n": 0, "need_mount": None}
_libc = ctypes.CDLL(None, use_errno=True)


# --- the process --------------------------------------------------------

def scratch():
    """This process' scratch directory; its path is short (unix sockets)."""
    if _state["scratch"] is None:
        base = os.environ.get("TMPDIR", "/tmp")
        if len(base) > 60:
            base = "/tmp"
        _state["scratch"] = os.path.realpath(
            tempfile.mkdtemp(prefix="keyfs-test-", dir=base))
        # Other users get their own directories below; they must reach them.
        os.chmod(_state["scratch"], 0o711)
        _state["pipe"], _state["guardian"] = guardian.start(_state["scratch"])
        os.set_inheritable(_state["pipe"], False)
    return _state["scratch"]


def unique(stem):
    """A path in the scratch directory that nobody has used."""
    _state["n"] += 1
    return os.path.join(scratch(), "%s%d" % (stem, _state["n"]))


def _tell(line):
    scratch()
    os.write(_state["pipe"], (line + "\n").encode())


def watch_pid(pid):
    _tell("pid %d" % pid)


def unwatch_pid(pid):
    _tell("gone %d" % pid)


def _end():
    if _state["pipe"] is not None:
        os.close(_state["pipe"])
        os.waitpid(_state["guardian"], 0)
        _state["pipe"] = None


def seed():
    if _state["seed"] is None:
        given = os.environ.get("KEYFS_SEED")
        _state["seed"] = int(given) if given else \
            random.SystemRandom().randrange(1 << 31)
    return _state["seed"]


def rng(salt=""):
    """A random number generator that depends on the seed and @salt alone."""
    return random.Random("%d/%s" % (seed(), salt))


# --- requirements -------------------------------------------------------

def need(*tools):
    """Skips the test unless these programs are installed."""
    missing = [t for t in tools if shutil.which(t) is None]
    if missing:
        raise unittest.SkipTest("not installed: " + ", ".join(missing))


def need_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")


def need_memory(gigabytes):
    with open("/proc/meminfo", encoding="ascii") as f:
        kb = int(re.search(r"MemAvailable:\s+(\d+)", f.read()).group(1))
    if kb < gigabytes << 20:
        raise unittest.SkipTest("needs %d GB of free memory, has %.1f" %
                                (gigabytes, kb / (1 << 20)))


def mount_tmpfs(path, options="size=64m"):
    """Mounts a tmpfs; skips the test where that is not allowed."""
    need_root()
    os.makedirs(path, exist_ok=True)
    r = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "keyfs-test",
                        path], stderr=subprocess.PIPE, check=False)
    if r.returncode:
        raise unittest.SkipTest("cannot mount a tmpfs: " +
                                r.stderr.decode().strip())
    return path


def _why_not_mount():
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as e:
        return "cannot open /dev/fuse: " + e.strerror
    if os.geteuid() != 0:
        return None if shutil.which("fusermount3") else \
            "fusermount3 is not installed"
    probe = unique("probe")
    try:
        mount_tmpfs(probe)
    except unittest.SkipTest as e:
        return str(e)
    subprocess.run(["umount", probe], check=True)
    return None


def need_mount():
    if _state["need_mount"] is None:
        _state["need_mount"] = (_why_not_mount(),)
    if _state["need_mount"][0]:
        raise unittest.SkipTest(_state["need_mount"][0])


def keyfs_bin():
    path = _state["bin"] or os.environ.get("KEYFS_BIN")
    if not path:
        raise unittest.SkipTest("KEYFS_BIN is not set")
    return os.path.abspath(path)


# --- other users --------------------------------------------------------

NOBODY = 65534


def as_user(uid, fn):
    """Calls a function in a child with another user's rights.
    Return: what it returns, which must be a literal (numbers, texts, lists);
    an OSError in it comes back as its errno."""
    need_root()
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            try:
                got = fn()
            except OSError as e:
                got = e.errno
            os.write(write_end, repr(got).encode())
        except BaseException:  # whatever it is, the parent says so
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as f:
        text = f.read()
    os.waitpid(pid, 0)
    if not text:
        raise AssertionError("the child failed")
    return ast.literal_eval(text.decode())


def unshare_mounts():
    """Gives this process, a child made for it, its own mount namespace."""
    clone_newns = 0x00020000
    if _libc.unshare(clone_newns):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def public_bin():
    """The binary, at a place that every user can reach."""
    path = os.path.join(scratch(), "bin", "keyfs")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(keyfs_bin(), path)
        os.chmod(path, 0o755)
        os.chmod(os.path.dirname(path), 0o755)
    return path


# --- waiting ------------------------------------------------------------

def wait_until(cond, seconds=10, what="condition", step=0.01):
    """Polls @cond until it is true and returns its value."""
    end = time.monotonic() + seconds * SLOW
    while True:
        got = cond()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("%s: not within %g s" % (what, seconds))
        time.sleep(step)


def mount_type(path):
    """The file system type mounted last at a path, or None. Does not touch
    the path itself, which may hang."""
    found = None
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            left, _, right = line.partition(b" - ")
            if left.split()[4].decode("unicode_escape") == path:
                found = right.split()[0].decode()
    return found


# --- the daemon ---------------------------------------------------------

class Died(AssertionError):
    """The daemon ended before it had mounted."""

    def __init__(self, code, log):
        super().__init__("keyfs ended with %s:\n%s" % (code, log))
        self.code, self.log = code, log


class Mount:
    """A DATADIR, a mount point and the daemon between them, in foreground.

    with Mount() as m:
        open(m / "file", "w").close()
        m.restart("kill")

    At the end the daemon is stopped (if it still runs) and its log checked:
    lines of level error fail the test unless @errors, a list of regular
    expressions, allows them; so does what a sanitizer or an assertion says.
    """

    # `2026-01-31 12:34:56.789 error: text`, or `keyfs: error: text`.
    LOG_ERROR = re.compile(r"^(\S+ \S+|keyfs:) error: ")
    LOG_FATAL = re.compile(r"Sanitizer|runtime error:|[Aa]ssert(ion)?\b.*fail"
                           r"|jemalloc>: ")

    def __init__(self, datadir=None, options="", conf=None, errors=(),
                 mnt=None, run_as=None, start=True):
        need_mount()
        keyfs_bin()
        self.datadir = datadir or unique("data")
        self.mnt = mnt or unique("mnt")
        self.log_path = unique("keyfs") + ".log"
        self.options = options
        self.errors = list(errors)
        self.run_as = run_as
        self.proc = None
        self._log_mark = 0
        os.makedirs(self.mnt, exist_ok=True)
        if run_as:
            os.chown(self.mnt, run_as, run_as)
        if conf is not None:
            os.makedirs(self.datadir, exist_ok=True)
            with open(os.path.join(self.datadir, "keyfs.conf"), "w",
                      encoding="utf-8") as f:
                f.write(conf)
        if start:
            self.start()

    def __truediv__(self, name):
        if isinstance(name, bytes):
            return os.path.join(os.fsencode(self.mnt), name)
        return os.path.join(self.mnt, name)

    # --- control files

    def ctl_path(self, name):
        return os.path.join(self.mnt, ".ctl", name)

    def ctl(self, name):
        """A control file's text, without the white space around it."""
        with open(self.ctl_path(name), encoding="utf-8",
                  errors="surrogateescape") as f:
            return f.read().strip()

    def ctl_write(self, name, text):
        """Writes a control file as a shell would, in one write(2)."""
        fd = os.open(self.ctl_path(name), os.O_WRONLY | os.O_TRUNC)
        try:
            data = text if isinstance(text, bytes) else text.encode()
            n = os.write(fd, data)
            if n != len(data):
                raise AssertionError("%s took %d of %d bytes" %
                                     (name, n, len(data)))
        finally:
            os.close(fd)

    def save(self):
        self.ctl_write("save", "1\n")

    def info(self):
        """INFO's fields as a dictionary of strings."""
        # What is shown may be 100 ms old, so that no reader sees it torn.
        time.sleep(0.12)
        out = {}
        for line in self.ctl("info").splitlines():
            line = line.strip()
            if line and not line.startswith("#"):
                key, sep, value = line.partition(":")
                if not sep:
                    raise AssertionError("info: no field: %r" % line)
                out[key] = value.strip()
        return out

    # --- life

    def argv(self, *more):
        argv = [public_bin() if self.run_as else keyfs_bin()] + list(more)
        if self.options:
            argv += ["-o", self.options]
        return argv + [self.datadir, self.mnt]

    def start(self, seconds=60):
        """Starts the daemon and waits for the mount.
        Raises Died if the daemon ends instead."""
        kw = {}
        if self.run_as:
            kw = {"user": self.run_as, "group": self.run_as,
                  "extra_groups": []}
        with open(self.log_path, "ab") as log:
            self._log_mark = log.tell()
            self.proc = subprocess.Popen(
                self.argv("-f"), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, cwd=scratch(), **kw)
        watch_pid(self.proc.pid)
        wait_until(self._is_up, seconds, "mount of " + self.mnt)
        return self

    def _is_up(self):
        code = self.proc.poll()
        if code is not None:
            self._reaped()
            raise Died(code, self.log_since_start())
        if mount_type(self.mnt) != FSTYPE:
            return False
        try:
            # Not stat: its answer may come from what the kernel remembers of
            # a dead mount of ours that this start has yet to take away.
            os.statvfs(self.mnt)
        except OSError as e:
            if e.errno in (errno.ENOTCONN, errno.ECONNABORTED):
                return False
            raise
        return True

    def _reaped(self):
        unwatch_pid(self.proc.pid)
        self.proc = None

    @property
    def pid(self):
        return self.proc.pid

    def kill(self):
        """kill -9; leaves the dead mount where it is."""
        self.proc.kill()
        self.proc.wait()
        self._reaped()

    def stop(self, how="umount", seconds=60):
        """Ends the daemon: "umount", "fusermount", "term", "int" or "kill".
        Return: its exit code (negative: the signal that ended it)."""
        if how == "kill":
            self.kill()
            return -signal.SIGKILL
        if how in ("term", "int"):
            self.proc.send_signal(signal.SIGTERM if how == "term"
                                  else signal.SIGINT)
        else:
            self._unmount(how)
        try:
            code = self.proc.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon does not end after %s:\n%s" %
                                 (how, self.log())) from None
        self._reaped()
        return code

    def _unmount(self, how):
        tool = ["umount"]
        if how == "fusermount" or os.geteuid() != 0:
            need("fusermount3")
            tool = ["fusermount3", "-u"]
        # A scanner of the machine may look at the mount just now.
        for _ in range(50):
            r = subprocess.run(tool + [self.mnt], stderr=subprocess.PIPE,
                               check=False)
            if r.returncode == 0:
                return
            if b"busy" not in r.stderr:
                break
            time.sleep(0.1)
        raise AssertionError("%s: %s" % (tool, r.stderr.decode()))

    def restart(self, how="umount"):
        """Stops and starts again; a clean end must be exit code 0."""
        code = self.stop(how)
        if how != "kill" and code != 0:
            raise AssertionError("ended by %s with exit code %d:\n%s" %
                                 (how, code, self.log_since_start()))
        return self.start()

    def abandon(self):
        """Takes the mount and the daemon away without asking for anything."""
        if self.proc is not None:
            self.kill()
        guardian.unmount_all(self.mnt)

    # --- log

    def log(self):
        with open(self.log_path, encoding="utf-8",
                  errors="backslashreplace") as f:
            return f.read()

    def log_since_start(self):
        with open(self.log_path, "rb") as f:
            f.seek(self._log_mark)
            return f.read().decode("utf-8", "backslashreplace")

    def bad_log_lines(self):
        bad = []
        for line in self.log().splitlines():
            if self.LOG_FATAL.search(line):
                bad.append(line)
            elif self.LOG_ERROR.search(line) and \
                    not any(re.search(e, line) for e in self.errors):
                bad.append(line)
        return bad

    def close(self, check=True):
        """Ends the daemon and checks its end and its log."""
        code = 0
        try:
            if check and self.proc is not None:
                code = self.stop()
        finally:
            self.abandon()
        if not check:
            return
        bad = self.bad_log_lines()
        if bad:
            raise AssertionError("unexpected in the daemon's log:\n" +
                                 "\n".join(bad))
        if code != 0:
            raise AssertionError("the daemon ended with exit code %d:\n%s" %
                                 (code, self.log_since_start()))

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, tb):
        if exc_type is not None:
            sys.stderr.write("--- log of the daemon ---\n%s" %
                             guardian.tail(self.log_path))
        self.close(check=exc_type is None)


# --- test cases ---------------------------------------------------------

class Case(unittest.TestCase):
    """A test with a time limit and a scratch directory of its own."""

    SECONDS = 120

    def run(self, result=None):
        scratch()
        _tell("limit %g %s" % (self.SECONDS * SLOW, self.id()))
        return super().run(result)

    def raises(self, code, fn, *args, **kw):
        """Asserts that a call fails with just this errno (or one of them)."""
        codes = code if isinstance(code, tuple) else (code,)
        try:
            got = fn(*args, **kw)
        except OSError as e:
            if e.errno in codes:
                return e
            raise AssertionError("%s%r: %s, expected %s" % (
                getattr(fn, "__name__", fn), args,
                errno.errorcode.get(e.errno, e.errno),
                " or ".join(errno.errorcode[c] for c in codes))) from e
        raise AssertionError("%s%r: returned %r, expected %s" % (
            getattr(fn, "__name__", fn), args, got,
            " or ".join(errno.errorcode[c] for c in codes)))

    def mount(self, *args, **kw):
        """A Mount that ends, and is checked, with the test."""
        m = Mount(*args, **kw)
        self.addCleanup(self._close, m)
        return m

    def _close(self, m):
        failed = self.failed()
        if failed:
            sys.stderr.write("--- %s: log of the daemon ---\n%s" % (
                self.id(), guardian.tail(m.log_path)))
        m.close(check=not failed)

    def failed(self):
        """True if the test's own code has failed already."""
        # The outcome's fields are those of Python 3.4 to 3.13.
        outcome = self._outcome
        result = getattr(outcome, "result", None)
        own = [t for t, _ in getattr(result, "failures", []) +
               getattr(result, "errors", [])]
        return self in own or not getattr(outcome, "success", True)


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def write_file(path, data):
    with open(path, "wb", buffering=0) as f:
        view = memoryview(data)
        while view:
            view = view[f.write(view):]


def renameat2(old, new, flags):
    """rename(2) with flags: 1 NOREPLACE, 2 EXCHANGE."""
    r = _libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    if r:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old)


RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


def listing(path):
    """What is in a directory tree on disk: name to (type, bytes or target).
    For DATADIR, to see that nothing has changed."""
    out = {}
    for base, dirs, files in os.walk(path):
        for name in dirs:
            out[os.path.relpath(os.path.join(base, name), path)] = ("dir", b"")
        for name in files:
            full = os.path.join(base, name)
            out[os.path.relpath(full, path)] = ("file", read_file(full))
    return out


def main():
    """Runs the tests of the calling module; ends the process."""
    argv = sys.argv[:1]
    args = sys.argv[1:]
    while args:
        a = args.pop(0)
        if a == "--keyfs":
            _state["bin"] = args.pop(0)
        else:
            argv.append(a)
    print("seed: KEYFS_SEED=%d" % seed(), flush=True)
    scratch()
    prog = unittest.main(argv=argv, exit=False, verbosity=2,
                         testRunner=unittest.TextTestRunner(
                             stream=sys.stdout, verbosity=2))
    result = prog.result
    _end()
    for test, reason in result.skipped:
        print("SKIP %s: %s" % (test, reason))
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == 0 or len(result.skipped) >= result.testsRun:
        sys.exit(SKIPPED)
    sys.exit(0)
