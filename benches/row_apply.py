"""Patches → commits, beside `git am` in a checkout of the same commit: many at once, and one."""

import json
import os
import random
from pathlib import Path

from frame import ROOT, Failed, Spent, Table, say
from product import BINARY, engine

# Patches applied together, and runs of one patch: a single one is over before a clock is sure of it.
MANY = 100
ONCE = 20
IN_MEMORY = 200
# Files of the made project: as many as a middling one has.
FILES = 9_000


def row(bench):
    for repo, what in projects(bench):
        measure(bench, repo, what)


def measure(bench, repo, what):
    base, tip, count = stretch(bench, repo)
    mbox = bench.scratch / "many.mbox"
    patches = bench.run(["git", "--git-dir", repo, "format-patch", "--stdout", "--full-index", "--binary", f"{base}..{tip}"])
    mbox.write_text(patches.output)
    last = bench.scratch / "one.mbox"
    one = bench.run(["git", "--git-dir", repo, "format-patch", "--stdout", "--full-index", "--binary", "-1", tip])
    last.write_text(one.output)
    before = bench.run(["git", "--git-dir", repo, "rev-parse", f"{tip}~1"]).output.strip()
    table = Table(f"Patches applied and durable ({what}), against git am, median of {bench.runs}")
    own, other = [], []
    for _ in range(bench.runs):
        own.append(ours(bench, repo, base, mbox))
        other.append(theirs(bench, repo, base, mbox))
        if own[-1].output != other[-1].output:
            raise Failed(f"tree {own[-1].output} here, {other[-1].output} there")
    table.line(f"{count} patches in one command", "patches/s", [count / s.wall for s in own], [count / s.wall for s in other],
               [s.cpu for s in own], [s.cpu for s in other], note="the trees are the same")
    own = [ours(bench, repo, before, last, f"refs/bench/{n}", n > 0) for n in range(ONCE)]
    other = [theirs(bench, repo, before, last, n > 0) for n in range(ONCE)]
    table.line("one patch in one command", "ms", [s.wall * 1000 for s in own], [s.wall * 1000 for s in other],
               [s.cpu for s in own], [s.cpu for s in other], lower_is_better=True, note="start of the program included")
    memory = [in_memory(bench, repo, before, last) for _ in range(bench.runs)]
    if {m["tree"] for m in memory} != {other[0].output}:
        raise Failed(f"tree {memory[0]['tree']} in memory, {other[0].output} by git am")
    table.line("one patch in memory", "ms", [m["wall"] * 1000 for m in memory], [s.wall * 1000 for s in other],
               [m["cpu"] for m in memory], [s.cpu for s in other], lower_is_better=True, note=f"{IN_MEMORY} times in one process; nothing is written")


def projects(bench):
    """Bare repositories with enough history, and what they are: a real one where the corpus is, and a large made one."""
    corpus = Path(os.environ.get("PATCHPOST_CORPUS", ROOT.parent / "shared" / "corpus"))
    bundle = corpus / "selinux-code.bundle"
    if bundle.exists():
        real = bench.scratch / "real.git"
        bench.run(["git", "clone", "-q", "--bare", bundle, real])
        yield real, "selinux-code, real history"
    else:
        say(f"there is no {bundle}: no real history is measured")
    made = bench.scratch / "made.git"
    make(bench, made)
    yield made, f"{FILES:,} files, made history"


def make(bench, path):
    """FILES files and MANY commits that change one line each; the same in every run."""
    chance = random.Random(1)
    texts = [[f"line {n} of file {f}\n" for n in range(40)] for f in range(FILES)]
    stream = bench.scratch / "project.stream"
    with open(stream, "w", encoding="ascii") as out:
        for commit in range(MANY + 1):
            changed = range(FILES) if commit == 0 else [chance.randrange(FILES)]
            at = f"A <a@example.org> {1_600_000_000 + commit} +0000"
            out.write(f"commit refs/heads/main\nauthor {at}\ncommitter {at}\ndata 7\nchange\n\n")
            for file in changed:
                if commit:
                    texts[file][chance.randrange(40)] = f"changed by {commit}\n"
                text = "".join(texts[file])
                out.write(f"M 100644 inline dir{file % 90}/file{file}\ndata {len(text)}\n{text}\n")
    bench.run(["git", "init", "-q", "--bare", "-b", "main", path])
    with open(stream, "rb") as data:
        bench.run(["git", "--git-dir", path, "fast-import", "--quiet"], stdin=data)


def stretch(bench, repo):
    """The newest stretch of history without a merge, at most MANY commits long: (before it, its last, how many)."""
    lines = bench.run(["git", "--git-dir", repo, "log", "--first-parent", "--format=%H %P", "HEAD"]).output.splitlines()
    best = []
    run = []
    for line in lines:
        commit, *parents = line.split()
        run = run + [commit] if len(parents) == 1 else []
        if len(run) > len(best):
            best = run
        if len(best) > MANY:
            break
    if len(best) < 2:
        raise Failed("there is no stretch of history without a merge")
    best = best[:MANY + 1]
    return best[-1], best[0], len(best) - 1


def ours(bench, repo, base, mbox, ref="refs/bench/many", again=False):
    """Into a bare repository of its own; the output is the tree."""
    target = bench.scratch / "ours.git"
    if not again:
        bench.run(["rm", "-rf", target])
        bench.run(["git", "clone", "-q", "--bare", "--no-hardlinks", repo, target])
    spent = bench.run([BINARY, "am", "--repo", target, "--base", base, "--ref", ref, "--json", mbox], IDENTITY)
    tree = json.loads(spent.output)["tree"]
    return with_output(spent, tree)


def in_memory(bench, repo, base, mbox):
    """One application without the program around it: tree, and seconds of clock and processor."""
    return json.loads(bench.run([engine(bench), "apply", repo, base, mbox, str(IN_MEMORY)]).output)


def theirs(bench, repo, base, mbox, again=False):
    """In a work tree of its own; the output is the tree."""
    work = bench.scratch / "theirs"
    if not again:
        bench.run(["rm", "-rf", work])
        bench.run(["git", "clone", "-q", "--no-hardlinks", repo, work])
    bench.run(["git", "checkout", "-q", "--detach", base], cwd=work)
    spent = bench.run(["git", "am", "-q", mbox], IDENTITY, cwd=work)
    tree = bench.run(["git", "rev-parse", "HEAD^{tree}"], cwd=work).output.strip()
    return with_output(spent, tree)


def with_output(spent, text):
    made = Spent.__new__(Spent)
    made.__dict__.update(spent.__dict__, output=text)
    return made


IDENTITY = {
    "GIT_COMMITTER_NAME": "Bench", "GIT_COMMITTER_EMAIL": "bench@example.org",
    "GIT_AUTHOR_NAME": "Bench", "GIT_AUTHOR_EMAIL": "bench@example.org",
}
