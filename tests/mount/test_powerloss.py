# SPDX-License-Identifier: MIT
"""Power loss and full disks on real file systems, in loop images.

DATADIR lies on a file system of its own. Under load, with saves running, that
file system is shut down by its ioctl: from then on nothing reaches the image,
as when the power goes. Then the daemon is killed, the image mounted again (its
journal is replayed), and the daemon started: it must show exactly the last save
that was told to be durable, or one asked for after it.

What the ioctl lets through is told by its flag: 0 writes all out first, 1 the
journal, 2 nothing. KEYFS_POWERLOSS is the number of rounds for each file
system.
"""

import errno
import fcntl
import os
import struct
import subprocess
import threading
import unittest

import harness
import test_kill  # not its classes: they would run here as well
from harness import read_file, write_file
from test_kill import N_BALLAST, read_state

ROUNDS = int(os.environ.get("KEYFS_POWERLOSS", "9"))
# EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h) and XFS_IOC_GOINGDOWN (xfsprogs' xfs_fs.h)
# are the same _IOR('X', 125, __u32), and so are the flags.
IOC_SHUTDOWN = 0x8004587d
FLAGS = (2, 1, 0)
TEMP = "temp-keyfs.rdb"
# With this the daemon's own log may tell of the failures that were made.
ERRORS = ("save failed: ",)


def run(*argv):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False)
    return r.returncode, r.stdout.decode("utf-8", "replace").strip()


class Image:
    """A file system in a file. `mount -o loop` makes a device that goes by
    itself with the last mount, however that ends, so what the guardian
    unmounts leaves none behind."""

    # The least that each makes without complaint.
    SIZES = {"ext4": "64M", "xfs": "320M"}

    def __init__(self, fstype, size=None):
        harness.need_root()
        harness.need("mkfs." + fstype, "mount", "umount")
        self.fstype = fstype
        self.path = harness.unique("image")
        self.dir = harness.unique("disk")
        os.mkdir(self.dir)
        fd = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)
        size = size or self.SIZES[fstype]
        os.ftruncate(fd, int(size[:-1]) << 20)
        os.close(fd)
        code, text = run("mkfs." + fstype, "-q", self.path)
        if code:
            raise AssertionError("mkfs.%s: %s" % (fstype, text))
        code, text = self._mount()
        if code:
            raise unittest.SkipTest("cannot mount %s in a loop device: %s" %
                                    (fstype, text))

    def _mount(self):
        return run("mount", "-t", self.fstype, "-o", "loop,nosuid,nodev",
                   self.path, self.dir)

    def mount(self):
        code, text = self._mount()
        if code:
            raise AssertionError("mount of %s again: %s" % (self.fstype, text))

    def unmount(self):
        # A scanner of the machine may look at the mount just now.
        harness.wait_until(lambda: run("umount", self.dir)[0] == 0, 10,
                           "umount of " + self.dir, 0.1)

    def shutdown(self, fd, flag):
        """Takes the power away. @fd: any descriptor on the file system."""
        fcntl.ioctl(fd, IOC_SHUTDOWN, struct.pack("I", flag))

    def loop_devices(self):
        return run("losetup", "-j", self.path)[1]

    def remove(self):
        if self.dir in harness.guardian.mounts_under(self.dir):
            self.unmount()
        if os.path.exists(self.path):
            os.unlink(self.path)


class Loss(harness.Case):
    """One case for each file system."""

    SECONDS = 60 + 15 * ROUNDS

    def image(self, fstype, size=None):
        image = Image(fstype, size)
        self.addCleanup(image.remove)
        return image

    def lose_power(self, m, image, load, delay, flag, after_save):
        """Works until the power has gone: after @delay, or, @after_save, at
        the end of the first save after it. Leaves the daemon dead."""
        fd = os.open(image.dir, os.O_RDONLY | os.O_DIRECTORY)
        ended = threading.Event()
        trouble = []

        def cut():
            try:
                image.shutdown(fd, flag)
            except OSError as e:
                trouble.append(e)

        def wait_and_cut():
            ended.wait(delay)
            if after_save:
                load.at_save = cut
                load.has_cut.wait(5 * harness.SLOW)
            else:
                cut()
            # The rest of a save may still try its luck on the dead disk; what
            # it says then must not be that it is durable.
            ended.wait(0.15 * harness.SLOW)
            os.kill(m.pid, 9)

        timer = threading.Thread(target=wait_and_cut)
        timer.start()
        try:
            load.run_until_dead()
        finally:
            ended.set()
            timer.join()
            os.close(fd)
        if trouble:
            raise trouble[0]
        m.proc.wait(20)
        m.kill()

    def check_losses(self, fstype):
        rng = harness.rng("powerloss " + fstype)
        image = self.image(fstype)
        m = self.mount(datadir=os.path.join(image.dir, "data"),
                       conf='save ""\n', errors=ERRORS)
        # Else a loss brings the save points back, and with them refusals of
        # writes while saves fail: the load is to go on.
        for path in (os.path.join(m.datadir, "keyfs.conf"), m.datadir,
                     image.dir):
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        for i in range(N_BALLAST):
            write_file(m / ("ballast%d" % i), rng.randbytes(1 << 20))
        m.save()
        state = read_state(m.mnt)
        done = unseen = in_flight = 0
        for n in range(ROUNDS):
            load = LossLoad(m, rng, state)
            flag = FLAGS[n % len(FLAGS)]
            delay = rng.choice((0.1, 0.3, 0.8)) * rng.random() * harness.SLOW
            self.lose_power(m, image, load, delay, flag,
                            after_save=n // len(FLAGS) % 2 == 0)
            harness.guardian.unmount_all(m.mnt)
            image.unmount()
            image.mount()
            temp = os.path.join(m.datadir, TEMP)
            in_flight += os.path.exists(temp)
            m.start()
            self.assertFalse(os.path.exists(temp))
            state = read_state(m.mnt)
            if state not in load.saved:
                self.fail("%s, round %d, flag %d after %.3f s: what is there "
                          "is none of the %d states that may be:\n%s" % (
                              fstype, n, flag, delay, len(load.saved),
                              test_kill.Kill.explain(state, load.saved)))
            done += load.n_done
            unseen += state != load.saved[0]
        print("%s: power lost %d times, %d saves seen to end, %d ended "
              "unseen, %d found half written" % (
                  fstype, ROUNDS, done, unseen, in_flight), flush=True)
        m.stop()
        image.unmount()
        harness.wait_until(lambda: image.loop_devices() == "", 5,
                           "end of the loop device")

    def test_ext4(self):
        self.check_losses("ext4")

    def test_xfs(self):
        self.check_losses("xfs")


class LossLoad(test_kill.Load):
    """Load that saves more often, and goes on when a save fails."""

    OPS = (("write", 50), ("unlink", 15), ("mkdir", 5), ("symlink", 3),
           ("rename_dir", 5), ("ballast", 3), ("bgsave", 3), ("save", 5),
           ("look", 4))

    def __init__(self, m, rng, state):
        super().__init__(m, rng, state)
        self.failed = False  # a save has failed
        self.at_save = None  # called at the end of a save
        self.has_cut = threading.Event()

    def op_save(self):
        try:
            super().op_save()
            if self.at_save:
                self.at_save, cut = None, self.at_save
                cut()
                self.has_cut.set()
        except OSError as e:
            # Without power, or its answer was lost with the daemon: then the
            # next operation says so.
            if e.errno not in (errno.EIO, errno.EROFS):
                raise
            # The first to fail may have got to the disk just before; those
            # that began later cannot.
            if self.failed:
                self.saved.pop()
            self.failed = True

    def op_bgsave(self):
        if not self.failed:
            super().op_bgsave()

    def op_look(self):
        """A background save that is over has ended well only if it says so."""
        if self.unseen and self.m.ctl("bgsave") == "idle" and \
                self.m.ctl("save").startswith("status=ok "):
            super().op_look()


class FullDisk(harness.Case):
    SECONDS = 60

    def test_a_full_disk_fails_the_save_and_nothing_else(self):
        image = Image("ext4", "16M")
        self.addCleanup(image.remove)
        data = os.path.join(image.dir, "data")
        m = self.mount(datadir=data, conf='save ""\n', errors=ERRORS)
        rng = harness.rng("full")
        old = rng.randbytes(2 << 20)
        write_file(m / "old", old)
        m.save()
        dump = read_file(os.path.join(data, "dump.rdb"))
        filler = os.path.join(image.dir, "filler")
        self.fill(filler)
        new = rng.randbytes(3 << 20)
        write_file(m / "new", new)
        self.raises(errno.ENOSPC, m.save)
        self.assertRegex(m.ctl("save"), r"^status=error .* errno=ENOSPC "
                         r"error=No space left on device while ")
        # Reads go on; the dump is what it was; no temporary takes room.
        self.assertEqual(read_file(m / "old"), old)
        self.assertEqual(read_file(m / "new"), new)
        self.assertEqual(read_file(os.path.join(data, "dump.rdb")), dump)
        self.assertFalse(os.path.exists(os.path.join(data, TEMP)))
        self.raises(errno.ENOSPC, m.save)
        os.unlink(filler)
        m.save()
        self.assertTrue(m.ctl("save").startswith("status=ok "))
        m.restart("kill")
        self.assertEqual(read_file(m / "new"), new)
        self.assertEqual(sorted(os.listdir(m.mnt)), ["new", "old"])
        m.stop()
        image.unmount()

    @staticmethod
    def fill(path):
        with open(path, "wb", buffering=0) as f:
            size = 1 << 20
            while size >= 512:
                try:
                    f.write(bytes(size))
                    os.fsync(f.fileno())
                except OSError as e:
                    if e.errno != errno.ENOSPC:
                        raise
                    size //= 2


if __name__ == "__main__":
    harness.main()
