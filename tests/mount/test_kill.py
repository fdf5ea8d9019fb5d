# SPDX-License-Identifier: MIT
"""kill -9 at random moments under load, with saves running: every restart
shows exactly the state of the last completed save.

One thread does all the work, so at the write(2) that asks for a save the model
is exactly what the cut must show. A state may be found after the kill if it is
that of the last save that was seen to end well, or of one asked for after it
(it may have ended unseen). KEYFS_KILLS is the number of kills.
"""

import errno
import hashlib
import os
import threading
import time

import harness
from harness import write_file

KILLS = int(os.environ.get("KEYFS_KILLS", "25"))
N_BALLAST = 6  # files of 1 MiB, so that a save takes a while
DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV,
        errno.EINTR)


def digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()


def read_state(top):
    """All below the mount point: path to a digest, or None for directories."""
    state = {}
    for base, dirs, files in os.walk(top):
        rel = os.path.relpath(base, top)
        for name in files + dirs:
            path = os.path.normpath(os.path.join(rel, name))
            full = os.path.join(base, name)
            if name in dirs:
                state[path] = None
            elif os.path.islink(full):
                state[path] = b"->" + os.fsencode(os.readlink(full))
            else:
                with open(full, "rb") as f:
                    state[path] = digest(f.read())
    return state


class Load:
    """The workload. state is the model: what the mount shows now."""

    def __init__(self, m, rng, state):
        self.m, self.rng, self.state = m, rng, dict(state)
        self.saved = [dict(state)]  # the last known one, then those after it
        self.unseen = False  # a bgsave is under way
        self.n_saves = self.n_done = 0
        self.n_ops = 0

    # --- operations. The model follows once the call has returned; if it did
    # --- not return, its effect cannot be in any save.

    def files(self):
        return [p for p, v in self.state.items() if v is not None]

    def op_write(self):
        path = "f%d" % self.rng.randrange(150)
        dirs = [p for p, v in self.state.items() if v is None]
        if dirs and self.rng.random() < 0.5:
            path = self.rng.choice(dirs) + "/" + path
        data = self.rng.randbytes(self.rng.choice((5, 100, 4000, 60000)))
        # In place of what is there, by one rename: no state in between.
        write_file(self.m / "tmp", data)
        self.state["tmp"] = digest(data)
        os.rename(self.m / "tmp", self.m / path)
        del self.state["tmp"]
        self.state[path] = digest(data)

    def op_unlink(self):
        some = [p for p in self.files() if not p.startswith("ballast")]
        if some:
            path = self.rng.choice(some)
            os.unlink(self.m / path)
            del self.state[path]

    def op_mkdir(self):
        path = "d%d" % self.rng.randrange(20)
        if path not in self.state:
            os.mkdir(self.m / path)
            self.state[path] = None

    def op_symlink(self):
        path = "l%d" % self.rng.randrange(20)
        if path not in self.state:
            target = "t%d" % self.rng.randrange(1000)
            os.symlink(target, self.m / path)
            self.state[path] = b"->" + target.encode()

    def op_rename_dir(self):
        dirs = [p for p, v in self.state.items() if v is None and "/" not in p]
        new = "d%d" % self.rng.randrange(20)
        if dirs and new not in self.state:
            old = self.rng.choice(dirs)
            os.rename(self.m / old, self.m / new)
            for p in list(self.state):
                if p == old or p.startswith(old + "/"):
                    self.state[new + p[len(old):]] = self.state.pop(p)

    def op_ballast(self):
        path = "ballast%d" % self.rng.randrange(N_BALLAST)
        data = self.rng.randbytes(1 << 20)
        write_file(self.m / "tmp", data)
        self.state["tmp"] = digest(data)
        os.rename(self.m / "tmp", self.m / path)
        del self.state["tmp"]
        self.state[path] = digest(data)

    def op_bgsave(self):
        self.saved.append(dict(self.state))  # what the cut would show
        try:
            self.m.ctl_write("bgsave", "1\n")
        except OSError as e:
            if e.errno == errno.EALREADY:
                self.saved.pop()
                return
            raise
        self.unseen = True
        self.n_saves += 1

    def op_save(self):
        self.saved.append(dict(self.state))
        self.m.save()
        self.n_saves += 1
        self.n_done += 1
        # It has ended, and so has whatever was under way before it.
        self.saved = self.saved[-1:]
        self.unseen = False

    def op_look(self):
        if self.unseen and self.m.ctl("bgsave") == "idle":
            self.saved = self.saved[-1:]
            self.unseen = False
            self.n_done += 1

    OPS = (("write", 60), ("unlink", 20), ("mkdir", 6), ("symlink", 4),
           ("rename_dir", 6), ("ballast", 2), ("bgsave", 4), ("save", 1),
           ("look", 6))

    def run_until_dead(self):
        names = [o for o, _ in self.OPS]
        weights = [w for _, w in self.OPS]
        try:
            while True:
                op = self.rng.choices(names, weights)[0]
                getattr(self, "op_" + op)()
                self.n_ops += 1
        except OSError as e:
            if e.errno not in DEAD:
                raise


class Kill(harness.Case):
    SECONDS = 120 + 12 * KILLS

    def test_every_restart_shows_the_last_completed_save(self):
        rng = harness.rng("kill")
        m = self.mount(conf='save ""\n')
        for i in range(N_BALLAST):
            write_file(m / ("ballast%d" % i), rng.randbytes(1 << 20))
        m.save()
        state = read_state(m.mnt)
        saves = done = unseen = in_flight = 0
        for n in range(KILLS):
            load = Load(m, rng, state)
            pid = m.pid
            delay = rng.choice((0.05, 0.3, 1.2)) * rng.random() * harness.SLOW
            timer = threading.Timer(delay + 0.01, os.kill, (pid, 9))
            timer.start()
            try:
                load.run_until_dead()
            finally:
                timer.join()
            m.proc.wait(20)
            m.kill()
            temp = os.path.join(m.datadir, "temp-keyfs.rdb")
            in_flight += os.path.exists(temp)
            m.start()
            self.assertFalse(os.path.exists(temp))
            state = read_state(m.mnt)
            if state not in load.saved:
                self.fail("kill %d after %.3f s: what is there is none of "
                          "the %d states that may be:\n%s" % (
                              n, delay, len(load.saved),
                              self.explain(state, load.saved)))
            saves += load.n_saves
            done += load.n_done
            unseen += state != load.saved[0]
        print("%d kills, %d saves asked for, %d seen to end, %d ended unseen, "
              "%d found half written" % (KILLS, saves, done, unseen,
                                         in_flight), flush=True)
        if KILLS >= 25:
            self.assertGreater(done, 0)
            self.assertGreater(in_flight, 0, "no kill met a running save")

    @staticmethod
    def explain(state, candidates):
        out = []
        for i, c in enumerate(candidates):
            diff = [p for p in sorted(set(state) | set(c))
                    if state.get(p, 0) != c.get(p, 0)]
            out.append("state %d: %d paths differ: %s" % (i, len(diff),
                                                          diff[:8]))
        return "\n".join(out)

    def test_dead_mounts_do_not_pile_up(self):
        m = self.mount(conf='save ""\n')
        write_file(m / "f", b"x")
        m.save()
        for _ in range(5):
            t = time.monotonic()
            m.restart("kill")
            self.assertLess(time.monotonic() - t, 20 * harness.SLOW)
            self.assertEqual(harness.guardian.mounts_under(m.mnt), [m.mnt])
        self.assertEqual(os.listdir(m.mnt), ["f"])


if __name__ == "__main__":
    harness.main()
