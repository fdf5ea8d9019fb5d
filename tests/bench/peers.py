# SPDX-License-Identifier: MIT
"""What is measured: each peer is started fresh in a directory of its own and
taken down again whatever happens in between.

A peer that is not there says so with Missing, which is no failure; one that
does not do what it should raises Failed.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time


class Missing(Exception):
    pass


class Failed(Exception):
    pass


def mounted(path):
    """Whether something is mounted there; never asks the file system itself,
    which may hang."""
    with open('/proc/self/mountinfo', encoding='utf-8',
              errors='surrogateescape') as f:
        return any(line.split()[4] == path for line in f)


def mounts_below(path):
    with open('/proc/self/mountinfo', encoding='utf-8',
              errors='surrogateescape') as f:
        return [m for m in (line.split()[4] for line in f)
                if m.startswith(path + '/')]


def unmount(path):
    """Busy mounts are waited for, then detached."""
    command = ['umount'] if os.getuid() == 0 else ['fusermount3', '-u']
    for _ in range(20):
        if not mounted(path):
            return
        if subprocess.run(command + [path], stdin=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False,
                          timeout=120).returncode == 0:
            return
        time.sleep(0.1)
    lazy = ['umount', '-l'] if os.getuid() == 0 else ['fusermount3', '-uz']
    subprocess.run(lazy + [path], check=False, stderr=subprocess.DEVNULL)


def pin_to(cpu):
    """For preexec_fn; None leaves the choice to the scheduler."""
    if cpu is None:
        return None
    return lambda: os.sched_setaffinity(0, {cpu})


def wait_until(condition, process, log, what, timeout=600):
    """Polls; a server that ends meanwhile has failed."""
    end = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            with open(log, encoding='utf-8', errors='replace') as f:
                tail = ' | '.join(f.read().strip().splitlines()[-3:])
            state = 'timed out' if process.returncode is None else \
                f'ended with status {process.returncode}'
            raise Failed(f'{what} {state}: {tail}')
        time.sleep(0.002)


def stop_process(process, timeout):
    if process is None:
        return
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            process.wait(timeout)
            return
        except subprocess.TimeoutExpired:
            timeout = 10


def memory_of(pid):
    """Resident bytes."""
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        for line in f:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) * 1024
    raise Failed(f'process {pid} has ended')


def info_field(text, name):
    for line in text.splitlines():
        if line.startswith(name + ':'):
            return line.split(':', 1)[1].strip()
    raise Failed(f'no {name} in its info')


class Peer:
    """A context manager: leaving it stops and removes everything.

    cpu: the processor the server is pinned to, or None
    keys, dirs: the data set it holds from the start
    dump: a file that has that data set, for those that read dumps
    """
    name = ''
    has_cold = True  # holds data that no cache has seen

    def __init__(self, tools, scratch, cpu=None, keys=0, dirs=1, dump=None):
        self.tools = tools
        self.cpu = cpu
        self.keys, self.dirs, self.dump = keys, dirs, dump
        self.process = None
        self.load_s = None  # from the start of the process to its service
        self.work = tempfile.mkdtemp(prefix=self.name + '-', dir=scratch)
        self.mnt = os.path.join(self.work, 'mnt')
        self.log = os.path.join(self.work, 'log')

    @classmethod
    def require(cls, tools):
        """Raises Missing if this machine has no such peer."""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        raise NotImplementedError

    def stop(self):
        shutil.rmtree(self.work, ignore_errors=True)

    def target(self):
        """Arguments that lead client and stall to it."""
        return [self.mnt]

    def spawn(self, command, **kwargs):
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=pin_to(self.cpu), cwd=self.work,
                start_new_session=True,  # ^C is ours: it gets unmounted
                **kwargs)


class Tmpfs(Peer):
    name = 'tmpfs'
    has_cold = False

    @classmethod
    def require(cls, tools):
        if os.getuid() != 0:
            raise Missing('only root may mount one')

    def start(self):
        os.mkdir(self.mnt)
        subprocess.run(['mount', '-t', 'tmpfs', 'none', self.mnt], check=True)

    def stop(self):
        unmount(self.mnt)
        super().stop()


class FuseServer(Peer):
    def mount(self, command):
        os.mkdir(self.mnt)
        begin = time.monotonic()
        self.spawn(command)
        wait_until(lambda: mounted(self.mnt), self.process, self.log,
                   self.name)
        os.statvfs(self.mnt)  # it answers
        self.load_s = time.monotonic() - begin

    def stop(self):
        try:
            unmount(self.mnt)
        except subprocess.TimeoutExpired:  # it hangs: its end frees all
            self.process.kill()
        stop_process(self.process, 60)
        unmount(self.mnt)
        if not mounted(self.mnt):
            super().stop()


def require_fuse():
    if not os.access('/dev/fuse', os.R_OK | os.W_OK):
        raise Missing('/dev/fuse cannot be opened')


class Floor(FuseServer):
    name = 'floor'

    @classmethod
    def require(cls, tools):
        require_fuse()

    def start(self):
        self.mount([self.tools.floor, '-n', str(self.keys), '-d',
                    str(self.dirs), self.mnt])


class Keyfs(FuseServer):
    name = 'keyfs'

    @classmethod
    def require(cls, tools):
        require_fuse()
        if not tools.keyfs:
            raise Missing('no program was named with --keyfs')
        if not os.access(tools.keyfs, os.X_OK):
            raise Missing(f'{tools.keyfs} is not there')

    def start(self):
        data = os.path.join(self.work, 'data')
        os.mkdir(data)
        with open(os.path.join(data, 'keyfs.conf'), 'w',
                  encoding='ascii') as f:
            f.write('save ""\n')  # none but those that are asked for
        if self.dump:
            os.link(self.dump, os.path.join(data, 'dump.rdb'))
        self.mount([self.tools.keyfs, '-f', data, self.mnt])

    def dump_path(self):
        return os.path.join(self.work, 'data', 'dump.rdb')

    def save(self):
        """Seconds until the dump is on disk."""
        begin = time.monotonic()
        fd = os.open(os.path.join(self.mnt, '.ctl', 'save'), os.O_WRONLY)
        try:
            os.write(fd, b'1\n')
        finally:
            os.close(fd)
        return time.monotonic() - begin

    save_beside = save  # writers never wait for either

    def used_memory(self):
        with open(os.path.join(self.mnt, '.ctl', 'info'),
                  encoding='utf-8') as f:
            return int(info_field(f.read(), 'used_memory'))


class Redis(Peer):
    name = 'redis'

    @classmethod
    def require(cls, tools):
        if not shutil.which('redis-server'):
            raise Missing('redis-server is not installed')

    def start(self):
        self.socket = os.path.join(self.work, 's')
        if len(self.socket) > 100:
            raise Failed('the path of its socket is too long; see --dir')
        self.connection = None
        if self.dump:
            os.link(self.dump, self.dump_path())
        begin = time.monotonic()
        self.spawn(['redis-server', '--port', '0', '--unixsocket', self.socket,
                    '--dir', self.work, '--dbfilename', 'dump.rdb',
                    '--save', '', '--appendonly', 'no'])
        wait_until(self.answers, self.process, self.log, self.name)
        self.load_s = time.monotonic() - begin

    def stop(self):
        if getattr(self, 'connection', None):
            self.connection.close()
        if self.process and self.process.poll() is None:
            self.process.terminate()  # no save points: nothing is saved
        stop_process(self.process, 60)
        super().stop()

    def dump_path(self):
        return os.path.join(self.work, 'dump.rdb')

    def target(self):
        return ['-r', self.socket]

    def answers(self):
        try:
            if not self.connection:
                self.connection = Resp(self.socket)
            return self.connection.call('PING') == 'PONG'
        except (OSError, Failed):  # not yet there, or loading
            return False

    def call(self, *words):
        return self.connection.call(*words)

    def logged_load_s(self):
        """What it says itself, without the start of the process."""
        with open(self.log, encoding='utf-8', errors='replace') as f:
            for line in f:
                if 'DB loaded from disk:' in line:
                    return float(line.rsplit(':', 1)[1].split()[0])
        return self.load_s

    def save(self):
        begin = time.monotonic()
        self.call('SAVE')
        return time.monotonic() - begin

    def save_beside(self):
        """By a forked child, while it serves."""
        begin = time.monotonic()
        self.call('BGSAVE')
        while self.info('persistence', 'rdb_bgsave_in_progress') != '0':
            time.sleep(0.005)
        if self.info('persistence', 'rdb_last_bgsave_status') != 'ok':
            raise Failed('BGSAVE failed')
        return time.monotonic() - begin

    def info(self, section, field):
        return info_field(self.call('INFO', section), field)

    def used_memory(self):
        return int(self.info('memory', 'used_memory'))


class Resp:
    """A connection to a Redis server: one command, one reply."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        self.file = self.sock.makefile('rb')

    def close(self):
        self.file.close()
        self.sock.close()

    def call(self, *words):
        parts = [b'*%d\r\n' % len(words)]
        for word in words:
            raw = word.encode()
            parts.append(b'$%d\r\n%s\r\n' % (len(raw), raw))
        self.sock.sendall(b''.join(parts))
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise Failed('redis-server closed the connection')
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b'-':
            raise Failed(f'redis-server: {rest}')
        if kind == b'$':
            return self.file.read(int(rest) + 2)[:-2].decode()
        return rest


ALL = [Tmpfs, Floor, Keyfs, Redis]
