"""What CPython's Popen costs, stock and on rawspawn, side by side.

`measure.py [--quick] [--write]` measures all setups, each in a process of its own, and
prints a table; with `--write` it puts that and a picture into the package's README.
"""

import argparse
import json
import mmap
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import time

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
GIB = 2**30
ROUNDS = 7

# What is resident, how many descriptors are open, whose the child is, how many spawns of
# each kind there are in a round.
SETUPS = {
    "small": {"spawns": 200},
    "8 GiB resident": {"resident": 8 * GIB, "spawns": 100},
    "19,000 descriptors": {"fds": 19_000, "spawns": 50},
    "1 GiB resident, `user=`": {"resident": GIB, "user": "nobody", "spawns": 15},
    "1 GiB resident, `vm.overcommit_memory=2`": {"resident": GIB, "overcommit": 2, "spawns": 100},
}


def prepare(setup):
    """Makes this process what the setup asks for; returns what must stay."""
    kept = []
    if setup.get("resident"):
        memory = mmap.mmap(-1, setup["resident"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for place in range(0, setup["resident"], mmap.PAGESIZE):
            memory[place] = 1
        kept.append(memory)
    if setup.get("fds"):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        kept.append([os.open("/dev/null", os.O_RDONLY) for _ in range(setup["fds"])])
    return kept


def worker(setup, rounds):
    """Returns for each round the times of each kind: of Popen, and of fork_exec in it."""
    import _posixsubprocess

    import rawspawn

    functions = {"stock": _posixsubprocess.fork_exec, "rawspawn": rawspawn.fork_exec}
    inner = []

    def timed(function):
        def fork_exec(*arguments):
            start = time.perf_counter_ns()
            pid = function(*arguments)
            inner.append(time.perf_counter_ns() - start)
            return pid

        return fork_exec

    subprocess._USE_POSIX_SPAWN = False
    options = {"user": setup["user"]} if setup.get("user") else {}

    def spawn(kind):
        function = timed(functions[kind])
        _posixsubprocess.fork_exec = function
        subprocess._fork_exec = function
        start = time.perf_counter_ns()
        process = subprocess.Popen(["/bin/true"], **options)
        took = time.perf_counter_ns() - start
        assert process.wait() == 0
        return took, inner.pop()

    kept = prepare(setup)
    for kind in functions:
        for _ in range(3):
            spawn(kind)
    found = []
    for _ in range(rounds):
        turns = [kind for kind in functions for _ in range(setup["spawns"])]
        random.shuffle(turns)
        times = {kind: [] for kind in functions}
        for kind in turns:
            times[kind].append(spawn(kind))
        found.append(times)
    del kept
    return found


def measure(name, rounds, quick):
    """Runs a worker; returns the figures of its setup, or None and says why."""
    setup = dict(SETUPS[name])
    if quick:
        setup["spawns"] = 3
        setup["resident"] = min(setup.get("resident", 0), GIB // 4)
    if (setup.get("user") or setup.get("overcommit")) and os.geteuid() != 0:
        print(f"left out: {name}, which takes root")
        return None
    if setup.get("resident", 0) * 1.5 > os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE:
        print(f"left out: {name}, for want of memory")
        return None
    if setup.get("fds", 0) + 50 > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        print(f"left out: {name}, which is above the limit")
        return None
    command = [sys.executable, __file__, "--worker", json.dumps(setup), "--rounds", str(rounds)]
    with open(OVERCOMMIT) as file:
        before = file.read()
    try:
        if setup.get("overcommit"):
            with open(OVERCOMMIT, "w") as file:
                file.write(str(setup["overcommit"]))
        output = subprocess.check_output(command, text=True)
    finally:
        if setup.get("overcommit"):
            with open(OVERCOMMIT, "w") as file:
                file.write(before)
    return figures(json.loads(output))


def figures(found):
    """Of Popen and of fork_exec: the medians in µs, and the ratios of the rounds."""
    result = {}
    for place, what in enumerate(("Popen", "fork_exec")):
        medians = [
            {kind: statistics.median(t[place] for t in times) for kind, times in turn.items()}
            for turn in found
        ]
        ratios = [turn["rawspawn"] / turn["stock"] for turn in medians]
        result[what] = {
            "stock": statistics.median(turn["stock"] for turn in medians) / 1000,
            "rawspawn": statistics.median(turn["rawspawn"] for turn in medians) / 1000,
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
    return result


def table(results):
    """The table of README."""
    lines = [
        "| µs (ratio; smallest and largest of the rounds) | `Popen` stock | on rawspawn | "
        "`fork_exec` stock | on rawspawn |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, of in results.items():
        cells = []
        for what in ("Popen", "fork_exec"):
            f = of[what]
            cells.append(f"{f['stock']:.0f}")
            cells.append(
                f"{f['rawspawn']:.0f} ({f['ratio']:.2f}; {f['least']:.2f}–{f['most']:.2f})"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def claims(results):
    """What must come out: a line each, and whether all did."""
    lines = [
        (f"{name}: Popen on rawspawn / stock", of["Popen"]["ratio"], "at most", 1.02)
        for name, of in results.items()
    ]
    if "19,000 descriptors" in results:
        ratio = 1 / results["19,000 descriptors"]["fork_exec"]["ratio"]
        lines.append(("19,000 descriptors: fork_exec stock / on rawspawn", ratio, "at least", 10))
    met = [value <= limit if how == "at most" else value >= limit for _, value, how, limit in lines]
    for (text, value, how, limit), is_met in zip(lines, met):
        print(f"{'met ' if is_met else 'MISSED'} {text}: {value:.3f}, {how} {limit}")
    return all(met)


def picture(results, path):
    """Bars, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "rawspawn", "font.size": 10}
    )
    from matplotlib import pyplot

    names = [name.replace("`", "") for name in results]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.4), sharey=True)
    for axis, what in zip(axes, ("Popen", "fork_exec")):
        for offset, (kind, colour) in enumerate((("rawspawn", "#d1495b"), ("stock", "#8d99ae"))):
            values = [of[what][kind] for of in results.values()]
            places = [place + 0.4 * offset - 0.2 for place in range(len(names))]
            bars = axis.barh(places, values, height=0.38, color=colour, label=kind)
            axis.bar_label(bars, [f"{value:.0f}" for value in values], padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(20, max(of[what]["stock"] for of in results.values()) * 4)
        axis.set_title(f"{what}, µs")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[1].legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def write(results):
    """Puts table and picture where README shows them."""
    picture(results, os.path.join(PACKAGE, "bench", "popen.svg"))
    path = os.path.join(PACKAGE, "README.md")
    with open(path) as file:
        text = file.read()
    begin, end = "<!-- python/benchmark writes from here -->", "<!-- to here -->"
    release = ".".join(platform.release().split(".")[:2])
    system = f"Linux {release}, {platform.machine()}, {os.cpu_count()} CPUs"
    note = (
        f"CPython {platform.python_version()}, {system}; "
        f"medians of {ROUNDS} rounds, the two in random turns."
    )
    new = f"{begin}\n\n{table(results)}\n\n{note}\n\n{end}"
    with open(path, "w") as file:
        file.write(
            re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: new, text, flags=re.DOTALL)
        )


def main():
    """Measures, or is a worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few spawns: whether it works")
    parser.add_argument("--write", action="store_true", help="write README and its picture")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        json.dump(worker(arguments.worker, arguments.rounds), sys.stdout)
        return
    rounds = 1 if arguments.quick else arguments.rounds
    results = {name: measure(name, rounds, arguments.quick) for name in SETUPS}
    results = {name: of for name, of in results.items() if of}
    print(table(results))
    met = claims(results)
    if arguments.write:
        write(results)
    if not arguments.quick and not met:
        sys.exit("not all claims are met")


if __name__ == "__main__":
    main()
