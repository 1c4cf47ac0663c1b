"""What every row needs: a scratch folder, programs that are ended whatever happens, CPU seconds, medians, a table."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A bench that cannot be made; the text says why."""


class Spent:
    """What a program that has ended took."""

    def __init__(self, wall, usage, output):
        self.wall = wall
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak_mib = usage.ru_maxrss / 1024
        self.output = output


class Bench:
    """A scratch folder and the programs started in it. `close` ends all of them and removes the folder."""

    def __init__(self, runs):
        self.runs = runs
        self.scratch = Path(tempfile.mkdtemp(prefix="patchpost-bench."))
        # Postfix and others run as users of their own.
        self.scratch.chmod(0o755)
        self.closers = []

    def folder(self, name):
        """A new empty folder."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def run(self, command, env=None, limit=900, stdin=None, cwd=None):
        """Runs a program to its end; CPU seconds include those of its children. Fails if it fails."""
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=self.scratch) as out, tempfile.TemporaryFile(dir=self.scratch) as err:
            child = subprocess.Popen(
                [str(c) for c in command], env=clean(env), cwd=cwd,
                stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            )
            usage = wait(child, started + limit)
            wall = time.monotonic() - started
            out.seek(0)
            err.seek(0)
            output = out.read().decode(errors="replace")
            if child.returncode != 0:
                problem = err.read().decode(errors="replace")[-2000:]
                raise Failed(f"{' '.join(map(str, command))} ended with {child.returncode}: {output[-500:]}{problem}")
        return Spent(wall, usage, output)

    def start(self, command, log, env=None):
        """Starts a program that serves until `stop` or the end of the bench."""
        with open(log, "ab") as out:
            child = subprocess.Popen(
                [str(c) for c in command], env=clean(env), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )
        self.closers.append(lambda: stop(child))
        return child

    def close(self):
        for closer in reversed(self.closers):
            closer()
        self.closers.clear()
        shutil.rmtree(self.scratch, ignore_errors=True)


def clean(env):
    """The environment without settings of whoever runs the bench."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PATCHPOST_", "GIT_", "PI_"))}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **{k: str(v) for k, v in (env or {}).items()}}


def wait(child, deadline):
    """Waits for a child until a deadline; returns its resource usage."""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if time.monotonic() > deadline:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise Failed(f"{child.args} took too long and was ended")
        time.sleep(0.002)


def stop(child):
    """Ends a program: asked first, then forced."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def until(what, look, limit=120, pause=0.02):
    """Waits for a fact; returns what `look` returned when it was true."""
    deadline = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"waited {limit} s in vain for: {what}")
        time.sleep(pause)


def descendants(pid):
    """A process and all below it that live now."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat(int(entry))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], [pid]
    while left:
        here = left.pop()
        found.append(here)
        left.extend(parents.get(here, []))
    return found


def stat(pid):
    """The fields of /proc/PID/stat from the state on, or nothing if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_of_tree(pid):
    """CPU seconds of a process and all below it, those that have ended included."""
    ticks = 0
    for each in descendants(pid):
        fields = stat(each)
        if fields:
            ticks += sum(int(f) for f in fields[11:15])
    return ticks / TICKS


def rss_of_tree(pid):
    """MiB in memory now, shared pages counted by their share."""
    total = 0
    for each in descendants(pid):
        try:
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def median(values):
    return statistics.median(values)


def number(value):
    """Three significant digits."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Table:
    """Lines of one row of the bench; each is printed when it is known, as Markdown that can be kept."""

    COLUMNS = ["what", "ours", "reference", "ratio", "CPU s ours", "CPU s reference", "spread", "note"]

    def __init__(self, title):
        print(f"\n### {title}\n")
        print("| " + " | ".join(self.COLUMNS) + " |")
        print("|" + " --- |" * len(self.COLUMNS), flush=True)

    def line(self, what, unit, ours, reference=(), cpu=(), cpu_reference=(), lower_is_better=False, note=""):
        """`ours` and `reference` are one figure a run; ratio above 1 means that ours is better."""
        own, other = median(ours), median(reference) if reference else None
        ratio = None
        if other:
            ratio = other / own if lower_is_better else own / other
        spread = f"{number(min(ours))}–{number(max(ours))}"
        if reference:
            spread += f" / {number(min(reference))}–{number(max(reference))}"
        cells = [
            what, f"{number(own)} {unit}", f"{number(other)} {unit}" if reference else "",
            f"{ratio:.2f}×" if ratio else "",
            number(median(cpu)) if cpu else "", number(median(cpu_reference)) if cpu_reference else "",
            spread, note,
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def say(text):
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)
