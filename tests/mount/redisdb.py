# SPDX-License-Identifier: MIT
"""A private redis-server and a client that speaks RESP, for comparison."""

import os
import shutil
import socket
import subprocess

import guardian
import harness


class RedisError(Exception):
    """An error reply."""


class Redis:
    """A redis-server on a unix socket in the scratch directory.

    with Redis(dump="path/to/dump.rdb") as r:
        r("SET", "key", b"value")

    Replies: integers as int, bulk strings as bytes, arrays as lists, nil as
    None, simple strings as str; errors raise RedisError.
    """

    def __init__(self, dump=None, options=(), seconds=120):
        harness.need("redis-server")
        self.dir = harness.unique("redis")
        os.mkdir(self.dir)
        self.dump = os.path.join(self.dir, "dump.rdb")
        self.log_path = self.dir + ".log"
        if dump:
            shutil.copyfile(dump, self.dump)
        sock_path = os.path.join(self.dir, "s")
        argv = ["redis-server", "--port", "0", "--unixsocket", sock_path,
                "--save", "", "--appendonly", "no", "--dir", self.dir,
                "--dbfilename", "dump.rdb", "--enable-debug-command", "yes",
                "--daemonize", "no", "--proto-max-bulk-len", "2gb",
                "--lfu-decay-time", "0"] + list(options)
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log,
                                         start_new_session=True)
        harness.watch_pid(self.proc.pid)
        self.sock = None
        self.file = None
        try:
            harness.wait_until(lambda: self._connect(sock_path), seconds,
                               "start of redis-server")
            harness.wait_until(self._loaded, seconds, "load by redis-server")
        except BaseException:
            self.close()
            raise

    def _connect(self, path):
        if self.proc.poll() is not None:
            raise AssertionError("redis-server ended with %d:\n%s" % (
                self.proc.returncode, guardian.tail(self.log_path)))
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(path)
        except OSError:
            s.close()
            return False
        self.sock, self.file = s, s.makefile("rb")
        return True

    def _loaded(self):
        try:
            return self("PING") == "PONG"
        except RedisError as e:
            if "LOADING" in str(e):
                return False
            raise
        except (ConnectionError, EOFError) as e:
            self.proc.wait(10)
            raise AssertionError("redis-server ended with %d:\n%s" % (
                self.proc.returncode, guardian.tail(self.log_path))) from e

    # --- protocol

    @staticmethod
    def _encode(args):
        out = [b"*%d\r\n" % len(args)]
        for a in args:
            if isinstance(a, str):
                a = a.encode()
            elif isinstance(a, (int, float)):
                a = repr(a).encode()
            out += [b"$%d\r\n" % len(a), a, b"\r\n"]
        return b"".join(out)

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("redis-server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        if kind == b"$":
            data = self.file.read(n + 2)
            if len(data) != n + 2:
                raise EOFError("redis-server closed the connection")
            return data[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(n)]
        raise AssertionError("reply %r" % line)

    def __call__(self, *args):
        self.sock.sendall(self._encode(args))
        got = self._reply()
        if isinstance(got, RedisError):
            raise got
        return got

    def pipeline(self, commands):
        """Sends many commands, then reads as many replies."""
        commands = list(commands)
        out = []
        for i in range(0, len(commands), 500):
            part = commands[i:i + 500]
            self.sock.sendall(b"".join(self._encode(c) for c in part))
            out += [self._reply() for _ in part]
        for got in out:
            if isinstance(got, RedisError):
                raise got
        return out

    # --- what tests ask

    def digest(self):
        return self("DEBUG", "DIGEST")

    def save(self):
        """SAVE. Return: the dump's path."""
        self("SAVE")
        return self.dump

    def keys(self):
        """All keys of the selected database, unordered."""
        found, cursor = [], b"0"
        while True:
            cursor, part = self("SCAN", cursor, "COUNT", 1000)
            found += part
            if cursor == b"0":
                return sorted(set(found))

    def close(self):
        if self.sock is not None:
            self.file.close()
            self.sock.close()
            self.sock = None
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        harness.unwatch_pid(self.proc.pid)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def check_rdb(path):
    """Runs redis-check-rdb. Return: (passed, its output)."""
    harness.need("redis-check-rdb")
    r = subprocess.run(["redis-check-rdb", path], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    return r.returncode == 0, r.stdout.decode("utf-8", "backslashreplace")
