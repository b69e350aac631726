"""CPython's own tests, stock and on rawspawn: as many must pass, and as many be skipped.

`python cpython_suites.py [SUITE]...`
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

MULTIPROCESSING = os.path.join(os.path.dirname(__file__), "multiprocessing_suite.py")

# Names, and what runs them.
SUITES = {
    "test_subprocess": ["-m", "test", "-v", "test_subprocess"],
    "test_asyncio.test_subprocess": ["-m", "test", "-v", "test_asyncio.test_subprocess"],
    "multiprocessing, main": ["-m", "test", "-v", "test_multiprocessing_main_handling"],
    "multiprocessing, spawn": [MULTIPROCESSING, "spawn"],
    "multiprocessing, forkserver": [MULTIPROCESSING, "forkserver"],
}

# What regrtest and unittest say at their ends.
TOTALS = re.compile(r"^Total tests: .*$|^Ran \d+ tests|^OK.*$", re.MULTILINE)


def run(suite, *before):
    """Runs `suite`, and returns what it says of itself, and of its children."""
    command = [sys.executable, *before, *SUITES[suite]]
    # In a directory of its own: some tests make one of a fixed name where they run.
    with tempfile.TemporaryDirectory() as cwd:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1200)
    text = done.stdout + done.stderr
    totals = TOTALS.findall(text)
    if done.returncode != 0 or not totals:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{text}")
    counts = re.search(r"^rawspawn: (.*)$", text, re.MULTILINE)
    return "; ".join(totals), counts[1] if counts else ""


def main():
    """Compares each suite: both ways at once, as they wait more than they work."""
    pool = ThreadPoolExecutor()
    for suite in sys.argv[1:] or SUITES:
        other = pool.submit(run, suite)
        here, counts = run(suite, "-m", "rawspawn", "--counts")
        stock, _ = other.result()
        if here != stock:
            sys.exit(f"{suite}: {here}, but {stock} without rawspawn")
        if not any(int(count) for count in re.findall(r"\d+", counts)):
            sys.exit(f"{suite}: no child was made by rawspawn: {counts}")
        print(f"{suite}: {here}, with and without; {counts}", flush=True)


if __name__ == "__main__":
    main()
