"""`rawspawn.Popen`: what it adds to `subprocess.Popen`."""

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import rawspawn
from rawspawn import Popen


def output(command, **options):
    with Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        text, _ = process.communicate()
    assert process.returncode == 0, process.returncode
    return text


def made_how(**options):
    """The mode in which a child was made."""
    before = rawspawn.counts()
    with Popen(["/bin/true"], **options) as process:
        process.wait()
    return [name for name, count in rawspawn.counts().items() if count != before[name]]


class TestAsEver(unittest.TestCase):
    def test_it_needs_no_installing(self):
        self.assertFalse(rawspawn.is_installed())
        self.assertEqual(made_how(), ["vfork"])
        self.assertFalse(rawspawn.is_installed())
        self.assertIsInstance(Popen(["/bin/true"]).wait(), int)

    def test_posix_spawn_is_not_preferred(self):
        self.assertEqual(made_how(close_fds=False), ["vfork"])

    def test_preexec_fn_is_cpythons(self):
        self.assertEqual(made_how(preexec_fn=lambda: None), ["delegated"])
        with Popen(["sleep", "100"], preexec_fn=lambda: None) as process:
            self.assertIsNotNone(process.pidfd)
            process.kill()

    def test_errors_are_those_of_subprocess(self):
        with self.assertRaises(FileNotFoundError) as caught:
            Popen(["/nonexistent"])
        self.assertEqual(caught.exception.filename, "/nonexistent")
        with self.assertRaises(TypeError):
            Popen()
        with self.assertRaises(TypeError):
            Popen(["/bin/true"], nonsense=1)

    def test_a_context_manager_leaves_no_descriptor(self):
        gc.collect()
        before = os.listdir("/proc/self/fd")
        with Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.communicate(b"text"), (b"text", None))
        self.assertIsNone(process.pidfd)
        Popen(["/bin/true"]).wait()
        with contextlib.suppress(FileNotFoundError):
            Popen(["/nonexistent"])
        gc.collect()
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class TestFewDescriptors(unittest.TestCase):
    # Says of each class how many children it starts, of as many descriptors as are free.
    PROGRAM = """
import os, resource, subprocess, sys, rawspawn
free, options = int(sys.argv[1]), eval(sys.argv[2])

def started(made):
    processes = []
    try:
        while len(processes) < 12:
            processes.append(made(["sleep", "100"], **options))
    except OSError as error:
        assert error.errno == 24, error
    for process in processes:
        process.kill()
    # Here there is none for a pidfd, which wait and signals do without.
    for process in processes:
        assert process.wait(timeout=60) == -9
        if process.stdout is not None:
            process.stdout.close()
    return len(processes)

for fd in range(3, 64):
    if not os.path.exists(f"/proc/self/fd/{fd}"):
        os.dup2(0, fd)
resource.setrlimit(resource.RLIMIT_NOFILE, (64 + free, 64 + free))
print([started(made) for made in (subprocess.Popen, rawspawn.Popen)])
"""

    def test_as_many_are_started_as_by_subprocess(self):
        options = ["dict()", "dict(stdout=-1)"] + ["dict(user=1)"] * (os.geteuid() == 0)
        for kind in options:
            for free in range(9):
                with self.subTest(kind, free=free):
                    command = [sys.executable, "-c", self.PROGRAM, str(free), kind]
                    text = subprocess.check_output(command, text=True, timeout=60)
                    stock, here = eval(text)
                    self.assertEqual(stock, here)

    def test_a_pidfd_that_cannot_be_had_is_an_error_where_it_is_asked_for(self):
        program = (
            "import resource, rawspawn; process = rawspawn.Popen(['sleep', '100'])\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
            "try: process.pidfd\n"
            "except OSError as error: print(error.errno)\n"
            "process.kill(); print(process.wait(timeout=60))"
        )
        found = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60)
        self.assertEqual(found.split(), [str(errno.EMFILE), "-9"])


class TestPidfd(unittest.TestCase):
    def test_it_tells_of_the_end(self):
        process = Popen(["cat"], stdin=subprocess.PIPE)
        self.assertFalse(os.get_inheritable(process.pidfd))
        self.assertEqual(select.select([process.pidfd], [], [], 0)[0], [])
        process.stdin.close()
        self.assertEqual(select.select([process.pidfd], [], [], 60)[0], [process.pidfd])
        self.assertEqual(process.wait(timeout=0), 0)
        self.assertEqual(process.wait(timeout=5), 0)

    def test_a_wait_with_a_timeout(self):
        process = Popen(["sleep", "100"])
        for timeout in (0, 0.01, -1):
            with self.assertRaises(subprocess.TimeoutExpired) as caught:
                process.wait(timeout=timeout)
            self.assertEqual(
                (caught.exception.cmd, caught.exception.timeout), (["sleep", "100"], timeout)
            )
        self.assertIsNone(process.poll())
        process.terminate()
        self.assertEqual(process.wait(timeout=1e10), -signal.SIGTERM)
        process.terminate()  # it has ended, and nobody is hit
        self.assertEqual(process.poll(), -signal.SIGTERM)

    def test_a_wait_does_not_look_again_and_again(self):
        # CPython's wait looks up to every 50 ms: a hundred times before this.
        looks = []

        class Counting(Popen):
            def _try_wait(self, flags):
                looks.append(flags)
                return super()._try_wait(flags)

        process = Counting(["sleep", "0.5"])
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(len(looks), 1)

    def test_communicate_with_a_timeout(self):
        process = Popen(["sh", "-c", "echo a; exec sleep 100"], stdout=subprocess.PIPE)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.2)
        process.kill()
        self.assertEqual(process.communicate(timeout=60)[0], b"a\n")

    def test_several_threads_wait(self):
        process = Popen(["cat"], stdin=subprocess.PIPE)
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(process.wait(timeout=60)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        process.stdin.close()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [0] * 8)


class TestFdMap(unittest.TestCase):
    def test_descriptors_are_exchanged(self):
        with tempfile.TemporaryFile() as a, tempfile.TemporaryFile() as b:
            a.write(b"A"), b.write(b"B")
            a.seek(0), b.seek(0)
            fds = {a.fileno(): b, b.fileno(): a.fileno(), 30: 0}
            command = [
                "sh",
                "-c",
                f"cat <&{a.fileno()} <&{b.fileno()}; test -e /dev/fd/30 && echo +",
            ]
            self.assertEqual(output(command, fd_map=fds), "A+\n")
            self.assertEqual(made_how(fd_map=fds), ["vfork"])

    def test_they_go_with_the_rest(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as reader:
            with Popen(["sh", "-c", "echo error >&2; echo third >&7"], fd_map={7: writer},
                       stderr=subprocess.PIPE, pass_fds=[0]) as process:  # fmt: skip
                os.close(writer)
                self.assertEqual(process.communicate(), (None, b"error\n"))
            self.assertEqual(reader.read(), b"third\n")

    def test_what_is_wrong_is_said(self):
        with self.assertRaisesRegex(ValueError, "fd_map has 1"):
            Popen(["/bin/true"], fd_map={1: 0}, stdout=subprocess.PIPE)
        with self.assertRaisesRegex(ValueError, "fd_map has 9"):
            Popen(["/bin/true"], fd_map={9: 0}, pass_fds=[9])
        with self.assertRaisesRegex(OSError, r"\[Errno 9\] move a descriptor \(item 1\): "):
            Popen(["/bin/true"], fd_map={7: 0, 8: 9999})
        with self.assertRaises(ValueError):
            Popen(["/bin/true"], fd_map={7: 0}, preexec_fn=lambda: None)
        self.assertEqual(made_how(), ["vfork"])


class TestRlimits(unittest.TestCase):
    def test_they_are_the_childs(self):
        limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: (64, 128)}
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        text = output(["sh", "-c", "ulimit -c; ulimit -Sn; ulimit -Hn"], rlimits=limits)
        self.assertEqual(text.split(), ["0", "64", "128"])
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), before)
        infinite = {resource.RLIMIT_CPU: resource.RLIM_INFINITY}
        if resource.getrlimit(resource.RLIMIT_CPU)[1] == resource.RLIM_INFINITY:
            self.assertEqual(output(["sh", "-c", "ulimit -t"], rlimits=infinite), "unlimited\n")

    def test_what_is_wrong_is_said(self):
        limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: (2, 1)}
        with self.assertRaisesRegex(OSError, r"\[Errno 22\] set a resource limit \(item 1\): "):
            Popen(["/bin/true"], rlimits=limits)


class TestCgroup(unittest.TestCase):
    def test_a_child_is_made_in_it(self):
        with open("/proc/self/mounts") as mounts, open("/proc/self/cgroup") as own:
            mount = next(
                (line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), "/none"
            )
            path = next((line[3:].strip() for line in own if line.startswith("0::")), "/")
        path = f"{path.rstrip('/')}/rawspawn-{os.getpid()}"
        try:
            os.mkdir(mount + path)
        except OSError as error:
            self.skipTest(f"a cgroup of version 2: {error}")
        self.addCleanup(os.rmdir, mount + path)
        self.assertIn(f"0::{path}\n", output(["cat", "/proc/self/cgroup"], cgroup=mount + path))
        fd = os.open(mount + path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.assertIn(f"0::{path}\n", output(["cat", "/proc/self/cgroup"], cgroup=fd))
        # What is out of memory there is killed with all who share its memory.
        self.assertEqual(made_how(cgroup=fd), ["fork"])

    def test_what_is_wrong_is_said(self):
        with self.assertRaises(FileNotFoundError):
            Popen(["/bin/true"], cgroup="/nonexistent")
        with self.assertRaisesRegex(OSError, "enter the cgroup: "):
            Popen(["/bin/true"], cgroup="/")


if __name__ == "__main__":
    unittest.main()
