"""Packages that put something of their own in the place of subprocess, or beside it.

Each in an interpreter of its own, as they patch what they find.
"""

import importlib.util
import os
import subprocess
import sys
import unittest

# What all programs begin with.
BEFORE = """
import gc, os, signal, subprocess, sys, time, warnings

def descriptors():
    gc.collect()
    time.sleep(0.1)  # gevent closes when all wait
    return len(os.listdir("/proc/self/fd"))

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()
"""


class Framework(unittest.TestCase):
    maxDiff = None

    def run_with(self, package, program, status=0):
        """Runs `program`, whose warnings and ignored exceptions are failures; its output."""
        if importlib.util.find_spec(package) is None:
            self.skipTest(f"{package}, which is not installed")
        command = [sys.executable, "-W", "error", "-c", BEFORE + program]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        except subprocess.TimeoutExpired as error:
            self.fail(f"no end after 100 s; it said {error.stdout} {error.stderr}")
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        return done.stdout.split()


class TestGevent(Framework):
    PATCHED = (
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')\n"
        "    from gevent import monkey; monkey.patch_all()\n"
        "import gevent, rawspawn\n"
    )

    def run_patched(self, program):
        return self.run_with("gevent", self.PATCHED + program)

    def test_popen_leaks_nothing_and_warns_of_nothing(self):
        program = """
def everything():
    assert rawspawn.Popen(["sh", "-c", "exit 3"]).wait() == 3
    try:
        rawspawn.Popen(["/nonexistent"])
    except FileNotFoundError as error:
        assert error.filename == "/nonexistent"
    try:
        rawspawn.Popen(["true"], stdout=subprocess.PIPE, cwd="/nonexistent")
    except FileNotFoundError as error:
        assert error.filename == "/nonexistent"
    with rawspawn.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.communicate(b"text") == (b"text", None)
        assert process.pidfd is None
    process = rawspawn.Popen(["sleep", "100"])
    assert process.pidfd > 2
    process.terminate()
    assert process.wait(timeout=60) == -signal.SIGTERM
    del process
everything()
before = descriptors()
for _ in range(8):
    everything()
print(descriptors() - before, *children())
"""
        self.assertEqual(self.run_patched(program), ["0"])

    def test_popen_is_made_here(self):
        program = """
with rawspawn.Popen(["sh", "-c", "echo third >&7; ulimit -n"], fd_map={7: 1},
                    rlimits={7: 100}) as process:
    pass
print(process.returncode, rawspawn.counts()["vfork"])
try:
    rawspawn.Popen(["true"], cgroup="/")
except OSError as error:
    print(error.errno != 0)
"""
        self.assertEqual(self.run_patched(program), ["third", "100", "0", "1", "True"])

    def test_others_go_on_while_one_waits(self):
        program = """
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)

for how in (lambda p: p.wait(), lambda p: p.wait(timeout=60), lambda p: p.communicate(),
            lambda p: p.stdout.read()):
    ticks, process = [], rawspawn.Popen(["sleep", "0.5"], stdout=subprocess.PIPE)
    ticker = gevent.spawn(tick)
    how(process)
    ticker.kill()
    print(len(ticks) > 5)
    process.communicate()
"""
        self.assertEqual(self.run_patched(program), ["True"] * 4)

    def test_what_gevent_reads_is_no_stream_that_a_child_cannot_wait_for(self):
        program = """
first = rawspawn.Popen(["sh", "-c", "sleep 0.3; echo late"], stdout=subprocess.PIPE)
second = rawspawn.Popen(["cat"], stdin=first.stdout, stdout=subprocess.PIPE)
print(second.communicate()[0].decode(), second.returncode, first.wait())
"""
        self.assertEqual(self.run_patched(program), ["late", "0", "0"])

    def test_preexec_fn_is_cpythons(self):
        program = """
print(rawspawn.Popen(["sh", "-c", "exit $X"], preexec_fn=lambda: os.putenv("X", "3")).wait())
print(rawspawn.counts()["delegated"])
"""
        self.assertIn(self.run_patched(program)[1:], [["1"]])

    def test_installing_reaches_its_popen(self):
        program = """
def vforks():
    return rawspawn.counts()["vfork"]
own = subprocess.Popen._execute_child
subprocess.call(["true"])
print(vforks())
rawspawn.install()
done = subprocess.run(["sh", "-c", "echo hi; exit 4"], capture_output=True, text=True)
print(vforks(), done.stdout, done.returncode)
print(subprocess.call(["true"], process_group=0))
rawspawn.uninstall()
before = vforks()
subprocess.call(["true"])
print(vforks() - before, subprocess.Popen._execute_child is own)
with rawspawn.installed():
    subprocess.call(["true"])
subprocess.call(["true"])
print(vforks() - before)
"""
        expected = ["0", "1", "hi", "4", "0", "0", "True", "1"]
        self.assertEqual(self.run_patched(program), expected)

    def test_the_end_of_each_child_is_told_by_whoever_made_it(self):
        program = """
made = [rawspawn.Popen, subprocess.Popen]
processes = [made[number % 2](["sh", "-c", f"exit {number}"]) for number in range(40)]
print([process.wait() for process in processes] == list(range(40)), *children())
"""
        self.assertEqual(self.run_patched(program), ["True"])


class TestEventlet(Framework):
    def test_popen_is_made_here_and_leaks_nothing(self):
        program = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet; eventlet.monkey_patch()
    import rawspawn
rawspawn.Popen(["true"]).wait()
before = descriptors()
for number in range(10):
    assert rawspawn.Popen(["sh", "-c", f"exit {number}"]).wait() == number
    with rawspawn.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.communicate(b"text") == (b"text", None)
print(rawspawn.counts()["vfork"], descriptors() - before)
"""
        self.assertEqual(self.run_with("eventlet", program), ["21", "0"])


class TestLoops(Framework):
    MADE = "import rawspawn; rawspawn.install(); subprocess._USE_POSIX_SPAWN = False\n"

    def test_trio_makes_its_children_here(self):
        program = """
import trio
before = rawspawn.counts()["vfork"]
async def main():
    done = await trio.run_process(["sh", "-c", "echo hi; exit 4"], capture_stdout=True, check=False)
    print(done.stdout.decode(), done.returncode, rawspawn.counts()["vfork"] - before)
trio.run(main)
"""
        self.assertEqual(self.run_with("trio", self.MADE + program), ["hi", "4", "1"])

    def test_anyio_makes_its_children_here(self):
        program = """
import anyio
before = rawspawn.counts()["vfork"]
async def main():
    done = await anyio.run_process(["sh", "-c", "echo hi; exit 4"], check=False)
    print(done.stdout.decode(), done.returncode, rawspawn.counts()["vfork"] - before)
anyio.run(main)
"""
        self.assertEqual(self.run_with("anyio", self.MADE + program), ["hi", "4", "1"])

    def test_uvloop_forks_in_c_and_works_beside(self):
        program = """
import asyncio, uvloop
async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 4")
    print(await process.wait(), rawspawn.counts()["vfork"])
    process = rawspawn.Popen(["sh", "-c", "exit 5"])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(process.pidfd, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(process.pidfd)
    print(process.wait())
uvloop.install() if sys.version_info < (3, 12) else None
uvloop.run(main()) if hasattr(uvloop, "run") else asyncio.run(main())
"""
        self.assertEqual(self.run_with("uvloop", self.MADE + program), ["4", "0", "5"])


class TestPlace(unittest.TestCase):
    def test_it_is_imported_from_the_folder_of_its_own_source(self):
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        command = [sys.executable, "-c", "import rawspawn; print(rawspawn.counts()['fork'])"]
        self.assertEqual(subprocess.check_output(command, cwd=folder, text=True), "0\n")


if __name__ == "__main__":
    unittest.main()
