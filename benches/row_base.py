"""On which commit a series belongs, by the blobs that its diffs name: all series of an archive, beside `b4 am --guess-base`."""

import json
import os
import re
from pathlib import Path

import archive
from frame import ROOT, Table, say
from product import Product, engine
from row_series import clone

# Series that b4 is asked about: it takes a second or more for each.
ASKED = 15


def row(bench):
    corpus = Path(os.environ.get("PATCHPOST_CORPUS", ROOT.parent / "shared" / "corpus"))
    code = corpus / "selinux-code.bundle"
    if not code.exists():
        say(f"there is no {code}: no series with a history to search")
        return
    epoch, _, what = archive.epoch(bench)
    product = Product(bench, "base")
    bare, branch = clone(bench, code)
    product.command("repo", "add", "code", "--clone", f"file://{bare}", "--branch", branch)
    product.command("import", "bench", epoch, "--format", "public-inbox")
    files = series(bench, product)
    checkout = bench.scratch / "checkout"
    bench.run(["git", "clone", "-q", bare, checkout])
    # b4 stops without a name for who applies, and names a base by the tag before it.
    for name, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
        bench.run(["git", "-C", checkout, "config", name, value])
    first = bench.run(["git", "-C", checkout, "rev-list", "--max-parents=0", "HEAD"]).output.split()[0]
    bench.run(["git", "-C", checkout, "tag", "-a", "-m", "the beginning", "v0", first])
    ours, theirs, cpu, cpu_reference, agree = [], [], [], [], 0
    for _ in range(bench.runs):
        found = json.loads(bench.run([engine(bench), "base", product.data, "code", branch, *files]).output)
        ours.append(found["wall"] / len(files) * 1000)
        cpu.append(found["cpu"] / len(files))
        asked = [ask(bench, checkout, file) for file in files[::max(1, len(files) // ASKED)]]
        theirs.append(sum(wall for wall, _, _ in asked) / len(asked) * 1000)
        cpu_reference.append(sum(spent for _, spent, _ in asked) / len(asked))
        ids = dict(zip(files, found["found"]))
        known = [(file, guess) for file, (_, _, guess) in zip(files[::max(1, len(files) // ASKED)], asked) if guess]
        same = sum(1 for file, guess in known if ids[file] and same_files(bench, checkout, file, ids[file], guess))
        agree = f"at {same} of {len(known)} bases that b4 found the files are the same as at ours, which is the newest such"
    table = Table(f"Base of a series ({what}, {len(files)} series), against b4, median of {bench.runs}")
    note = f"history read once, start of the program not included; theirs is the mean of {len(asked)} whole commands; {agree}"
    table.line("base found by index blobs, a series", "ms", ours, theirs, cpu, cpu_reference, lower_is_better=True, note=note)


def series(bench, product):
    """An mbox of each version of which all patches are there."""
    folder = bench.folder("series")
    files = []
    for one in json.loads(product.command("series", "ls", "bench", "--json").output):
        if not one["complete"]:
            continue
        path = folder / f"{one['patchset']}-{one['version']}.mbox"
        mbox = product.command("series", "mbox", one["patchset"], "--version", one["version"])
        path.write_text(mbox.output, encoding="utf-8")
        files.append(path)
    return files


def same_files(bench, checkout, mbox, ours, theirs):
    """Whether the files that the patches name are the same at both commits."""
    names = set(re.findall(r"^diff --git a/(\S+) b/", mbox.read_text(encoding="utf-8"), re.MULTILINE))
    return not bench.run(["git", "-C", checkout, "diff", "--name-only", ours, theirs, "--", *sorted(names)]).output


def ask(bench, checkout, mbox):
    """(wall, CPU seconds, the commit or nothing) of b4 with one series."""
    name = re.search(r"^Message-ID:\s*<([^>]+)>", mbox.read_text(encoding="utf-8"), re.IGNORECASE | re.MULTILINE).group(1)
    home = bench.scratch / "home"
    home.mkdir(exist_ok=True)
    out = bench.folder("b4")
    command = ["b4", "--offline-mode", "--no-stdin", "am", "--guess-base", "-m", mbox, "-o", out, "--no-cache", name]
    spent = bench.run(["sh", "-c", '"$@" 2>&1 || true', "b4", *command], {"HOME": home}, cwd=checkout)
    found = re.search(r"Base: \S+-g([0-9a-f]{7,}) ", spent.output)
    return spent.wall, spent.cpu, found and found.group(1)
