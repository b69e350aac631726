"""What the change to CPython that rawspawn began with asks for, and the rest of a call.

Run from an installed package: `python -m unittest discover -s tests`.
"""

import errno
import gc
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import unittest

import _posixsubprocess

import rawspawn

STOCK = _posixsubprocess.fork_exec
SINCE_3_11 = sys.version_info >= (3, 11)
HAS_ALLOW_VFORK = (3, 11) <= sys.version_info < (3, 14)
# The places of some arguments: gid, extra_groups, uid, umask, preexec_fn.
GID = 17 if SINCE_3_11 else 16
PREEXEC_FN = GID + 4
IS_ROOT = os.geteuid() == 0


def changed(before):
    """The counts that differ from `before`, by how much."""
    now = rawspawn.counts()
    return {name: now[name] - before[name] for name in now if now[name] != before[name]}


class Installed(unittest.TestCase):
    """A test with rawspawn installed, and its counts before."""

    def setUp(self):
        # Or a plain spawn would not come here, since 3.13.
        self.addCleanup(setattr, subprocess, "_USE_POSIX_SPAWN", subprocess._USE_POSIX_SPAWN)
        subprocess._USE_POSIX_SPAWN = False
        rawspawn.install()
        self.addCleanup(rawspawn.uninstall)
        self.before = rawspawn.counts()

    def assert_made(self, **expected):
        self.assertEqual(changed(self.before), expected)


class TestMode(Installed):
    def test_a_plain_spawn_shares_memory(self):
        self.assertEqual(subprocess.call(["/bin/true"]), 0)
        self.assert_made(vfork=1)

    @unittest.skipUnless(IS_ROOT, "other credentials, which take root")
    def test_other_credentials_change_in_a_program_of_their_own(self):
        for credentials in ({"user": 1}, {"group": 1}, {"extra_groups": [1]}):
            with self.subTest(credentials):
                before = rawspawn.counts()
                self.assertEqual(subprocess.call(["/bin/true"], **credentials), 0)
                self.assertEqual(changed(before), {"stub": 1})

    def test_preexec_fn_is_cpythons_own_fork(self):
        calls = []
        os.register_at_fork(before=lambda: calls.append("before"))
        code = subprocess.call(["sh", "-c", "exit $X"], preexec_fn=lambda: os.putenv("X", "3"))
        self.assertIn(code, (0, 3))
        self.assertEqual(calls, ["before"])
        self.assert_made(delegated=1)

    def test_use_vfork_is_honoured(self):
        if not hasattr(subprocess, "_USE_VFORK"):
            self.skipTest("_USE_VFORK, which 3.10.5 brought and 3.14 took away")
        old = subprocess._USE_VFORK
        subprocess._USE_VFORK = False
        try:
            self.assertEqual(subprocess.call(["/bin/true"]), 0)
        finally:
            subprocess._USE_VFORK = old
        self.assert_made(fork=1)

    def test_posix_spawn_stays_as_it_is(self):
        subprocess._USE_POSIX_SPAWN = True
        self.assertEqual(subprocess.call(["/bin/true"], close_fds=False), 0)
        self.assert_made()

    @unittest.skipUnless(shutil.which("strace"), "strace")
    def test_strace_sees_the_clone(self):
        program = (
            "import rawspawn, subprocess; rawspawn.install()\n"
            "subprocess._USE_POSIX_SPAWN = False; subprocess.call(%s)"
        )
        rows = [
            ("['/bin/true']", True),
            ("['/bin/true'], preexec_fn=lambda: None", False),
            ("['/bin/true'], umask=0o77, start_new_session=True", True),
        ]
        if IS_ROOT:
            # While somebody traces, a fork, whose program a debugger can follow.
            rows.append(("['/bin/true'], user=1", False))
        calls = "trace=clone,clone3,vfork,execve,execveat,setresuid"
        for arguments, shares in rows:
            with self.subTest(arguments), tempfile.NamedTemporaryFile("r") as trace:
                command = ["strace", "-f", "-o", trace.name, "-e", calls]
                subprocess.run([*command, sys.executable, "-c", program % arguments], check=True)
                text = trace.read()
                # The last child is the one: an old kernel is asked what it has by others before.
                last = re.findall(r"flags=([A-Z_|]+)", text)[-1]
                self.assertEqual("CLONE_VM" in last, shares, last)
                if shares:
                    self.assertIn("CLONE_VFORK", last)
                if "user" in arguments:
                    child = re.search(r"^(\d+) +setresuid\(1", text, re.MULTILINE)[1]
                    calls_of_child = re.findall(rf"^{child} +(\w+)\(", text, re.MULTILINE)
                    self.assertEqual(calls_of_child, ["setresuid", "execve"])


class TestFallback(Installed):
    """Where the kernel does not let a child share memory it is a fork."""

    PROGRAM = """
import ctypes, os, struct, subprocess, rawspawn
def call(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        print("skipped:", os.strerror(ctypes.get_errno()))
        raise SystemExit
%s
rawspawn.install()
print(subprocess.check_output(%s, text=True), rawspawn.counts())
"""

    def outcome(self, before, command):
        """What the command printed, and how it was made, once `before` was run."""
        program = self.PROGRAM % (before, command)
        output = subprocess.check_output([sys.executable, "-c", program], text=True)
        if output.startswith("skipped"):
            self.skipTest(output)
        text, counts = output.split("{")
        return text.strip(), re.findall(r"'(\w+)': [^0]", counts)

    @unittest.skipUnless(os.path.exists("/proc/self/ns/time"), "time namespaces")
    def test_in_a_new_time_namespace(self):
        found, how = self.outcome("call('unshare', 0x80)", ["readlink", "/proc/self/ns/time"])
        self.assertNotEqual(found, os.readlink("/proc/self/ns/time"))
        # Since 6.3 the kernel changes the namespace at exec, and vfork is fine.
        release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
        self.assertEqual(how, ["vfork"] if release >= (6, 3) else ["fork"])

    def test_behind_a_filter(self):
        numbers = {"x86_64": (435, 56, 58), "aarch64": (435, 220, 435)}.get(os.uname().machine)
        if numbers is None:
            self.skipTest("the numbers of system calls here")
        clone3, clone, vfork = numbers
        refuse = 0x50000 | errno.EPERM
        rows = [  # load, jump if equal, jump if a bit is set, return
            (0x20, 0, 0, 0),
            (0x15, 0, 1, clone3),
            (0x06, 0, 0, 0x50000 | errno.ENOSYS),
            (0x15, 3, 0, vfork),
            (0x15, 0, 3, clone),
            (0x20, 0, 0, 16),
            (0x45, 0, 1, 0x100),  # CLONE_VM
            (0x06, 0, 0, refuse),
            (0x06, 0, 0, 0x7FFF0000),
        ]
        before = f"""
program = b"".join(struct.pack("HBBI", *row) for row in {rows})
room = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HP", {len(rows)}, ctypes.addressof(room)))
call("prctl", 38, 1, 0, 0, 0)
call("prctl", 22, 2, ctypes.byref(filter))
"""
        self.assertEqual(self.outcome(before, ["echo", "hello"]), ("hello", ["fork"]))


class TestChildren(unittest.TestCase):
    """Interpreters that are started by one that has it installed."""

    CHILD = "import rawspawn; print(rawspawn.is_installed())"

    def run_with(self, *options, env=None):
        program = (
            "import subprocess, sys\n"
            f"subprocess.run([sys.executable, *sys.argv[1:], '-c', {self.CHILD!r}])"
        )
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(program)
            script.flush()
            command = [sys.executable, "-m", "rawspawn", *options[:-1], script.name, *options[-1]]
            return subprocess.check_output(command, text=True, env=env)

    def test_they_have_it_if_asked_for(self):
        self.assertEqual(self.run_with([]), "False\n")
        self.assertEqual(self.run_with("--children", []), "True\n")
        self.assertEqual(self.run_with("--children", ["-E"]), "False\n")

    def test_another_sitecustomize_is_run_too(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sitecustomize.py"), "w") as file:
                file.write("print('another')")
            env = {**os.environ, "PYTHONPATH": folder}
            # That of the program itself, then that of its child.
            self.assertEqual(self.run_with("--children", [], env=env), "another\nanother\nTrue\n")

    def test_uninstalling_leaves_the_environment_as_it_was(self):
        for path in (None, "/a:/b"):
            env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            env.update({"PYTHONPATH": path} if path else {})
            program = (
                "import os, rawspawn; rawspawn.install(children=True)\n"
                "rawspawn.install(children=True); print(len(os.environ['PYTHONPATH'].split(':')))\n"
                "rawspawn.uninstall(); print(os.environ.get('PYTHONPATH'))"
            )
            found = subprocess.check_output([sys.executable, "-c", program], text=True, env=env)
            self.assertEqual(found, f"{3 if path else 1}\n{path}\n")


class TestSignals(Installed):
    def test_no_handler_runs_in_a_child(self):
        seen = []
        old = signal.signal(signal.SIGUSR1, lambda *_: seen.append(os.getpid()))
        self.addCleanup(signal.signal, signal.SIGUSR1, old)
        stop = threading.Event()

        def storm():
            while not stop.is_set():
                os.killpg(0, signal.SIGUSR1)

        # A group of its own, so that the storm hits us and our children.
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
                thread = threading.Thread(target=storm)
                thread.start()
                for _ in range(200):
                    subprocess.Popen(["/bin/true"]).wait()
                stop.set()
                thread.join()
                os._exit(0 if set(seen) == {os.getpid()} else 1)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(2)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_the_mask_is_kept_and_given(self):
        mask = {signal.SIGUSR2}
        old = signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True)
            self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        blocked = int(re.search(r"^SigBlk:\s*(\w+)", status.stdout, re.MULTILINE)[1], 16)
        self.assertEqual(blocked, 1 << (signal.SIGUSR2 - 1))


class TestErrors(Installed):
    def test_they_are_those_of_the_original(self):
        rawspawn.uninstall()
        rows = [
            (["/nonexistent"], {}),
            (["nonexistent-program"], {}),
            (["/"], {}),
            (["/etc/passwd"], {}),
            (["/bin/true"], {"cwd": "/nonexistent"}),
            (["/bin/true"], {"cwd": "/etc/passwd"}),
            (["/bin/true"], {"process_group": 2**22} if SINCE_3_11 else {"cwd": "/x"}),
            (["a\0b"], {}),
            (["/bin/true"], {"pass_fds": [900]}),
            (["/bin/true"], {"env": {"A": "x\0y"}}),
        ]
        for arguments, options in rows:
            with self.subTest(arguments, **options):
                with rawspawn.installed():
                    found = self.outcome(arguments, options)
                self.assertFalse(rawspawn.is_installed())
                self.assertEqual(found, self.outcome(arguments, options))

    @staticmethod
    def outcome(arguments, options):
        try:
            return subprocess.call(arguments, **options)
        except Exception as error:
            return (
                type(error),
                getattr(error, "errno", 0),
                getattr(error, "filename", 0),
                str(error),
            )

    def test_a_failed_child_is_reaped_as_ever(self):
        with self.assertRaises(FileNotFoundError):
            subprocess.Popen(["/nonexistent"])
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, 0)

    def test_the_limit_on_processes_is_raised(self):
        if not IS_ROOT:
            self.skipTest("a user of its own, which takes root")
        program = (
            "import os, resource, subprocess, rawspawn; rawspawn.install()\n"
            "subprocess._USE_POSIX_SPAWN = False\n"
            "subprocess.call(['/bin/true']); os.setuid(54321)\n"
            "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
            "try: subprocess.call(['/bin/true'])\n"
            "except OSError as error: print(error.errno, error.filename)\n"
        )
        found = subprocess.check_output([sys.executable, "-c", program], text=True)
        self.assertEqual(found, f"{errno.EAGAIN} None\n")


class TestArguments(unittest.TestCase):
    """Both functions are called with arguments that are wrong here and there."""

    WRONG = [
        None, 0, -1, 1, 2**31, -(2**31) - 1, 2**64, 2.5, "text", "a\0b", b"bytes", b"a\0b", (),
        [], (1,), [1], (b"/bin/true",), [b"/bin/true"], ("/bin/true",), {}, object, (3, 2),
        (2, 900), ("x",), [-1], [2**40], [2**32 - 1], range(3), True,
    ]  # fmt: skip

    def good(self, errpipe):
        rest = [True, False, *([-1] if SINCE_3_11 else []), None, None, None, -1, None]
        rest += [True] if HAS_ALLOW_VFORK else []
        streams = [-1] * 6
        return [
            ["true"],
            (b"/bin/true",),
            True,
            (errpipe[1],),
            None,
            None,
            *streams,
            *errpipe,
            *rest,
        ]

    def call(self, function, change):
        """The exception's type and text, or what the child's status and report were."""
        errpipe = os.pipe()
        try:
            arguments = self.good(errpipe)
            for place, value in change.items():
                arguments[place] = value
            try:
                pid = function(*arguments)
            except Exception as error:
                return type(error), getattr(error, "errno", None)
            status = os.waitpid(pid, 0)[1]
            os.close(errpipe[1])
            errpipe = (errpipe[0],)
            return status, os.read(errpipe[0], 100)
        finally:
            for fd in errpipe:
                os.close(fd)

    def test_wrong_ones_give_the_same_exceptions(self):
        generator = random.Random(35823)
        count = len(self.good((0, 0)))
        # Not the pipe that reports, which both need, nor what CPython calls itself.
        places = [place for place in range(count) if place not in (12, 13, PREEXEC_FN)]
        changes = [{place: value} for place in places for value in self.WRONG]
        for _ in range(1500):
            chosen = generator.sample(places, 2)
            changes.append({place: generator.choice(self.WRONG) for place in chosen})
        if not IS_ROOT:
            changes = [c for c in changes if not set(c) & {GID, GID + 1, GID + 2}]
        for change in changes:
            with self.subTest(change):
                found, stock = self.call(rawspawn.fork_exec, change), self.call(STOCK, change)
                reports = [outcome[1] for outcome in (found, stock) if outcome[0] == 255 << 8]
                # Of two things that go wrong in a child, one is reported: not the same,
                # as rawspawn has an order of its own.
                if len(change) == 2 and len(reports) == 2 and b"noexec" in reports[1]:
                    stock = found
                self.assertEqual(found, stock)

    def test_a_wrong_number_of_them_is_refused(self):
        for count in (0, 1, 20, 22, 24):
            for function in (rawspawn.fork_exec, STOCK):
                with self.assertRaises(TypeError):
                    function(*[None] * count)


class TestThreads(Installed):
    def test_sixteen_spawn_at_once(self):
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        wrong = []

        def spawn(number):
            for _ in range(25):
                done = subprocess.run(["echo", str(number)], capture_output=True, text=True)
                if done.stdout != f"{number}\n":
                    wrong.append(done)

        threads = [threading.Thread(target=spawn, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive(), "a deadlock")
        self.assertEqual(wrong, [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assert_made(vfork=16 * 25)


if __name__ == "__main__":
    unittest.main()
