"""Series: an archive imported, recognised and grouped; looked at again, beside b4's grouping; applied on bases that are searched for.

What is beside the import was measured elsewhere."""

import json
import os
from pathlib import Path

import archive
from frame import ROOT, Table, until
from product import Product

# Patchwork's parsearchive on SQLite: mails imported with their series recognised, a CPU second. It is not installed here, so
# this is no figure of the same run.
PARSEARCHIVE = 73


def row(bench):
    epoch, count, what = archive.epoch(bench)
    corpus = Path(os.environ.get("PATCHPOST_CORPUS", ROOT.parent / "shared" / "corpus"))
    code = corpus / "selinux-code.bundle"
    table = Table(f"Series of {count:,} mails ({what}), median of {bench.runs}")
    imported, again, other, applied, spent = [], [], [], [], []
    for run in range(bench.runs):
        product = Product(bench, "series")
        if code.exists():
            path, branch = clone(bench, code)
            product.command("repo", "add", "code", "--clone", f"file://{path}", "--branch", branch)
            product.command("list", "set", "bench", "--repo", "code")
        imported.append(product.command("import", "bench", epoch, "--format", "public-inbox"))
        again.append(product.command("reclassify"))
        # Debian's b4 is of the system's Python.
        other.append(bench.run(["/usr/bin/python3", ROOT / "benches" / "b4_group.py", epoch]))
        product.serve()
        until("series to be applied", lambda: product.owed("apply") == 0, limit=600, pause=0.5)
        spent.append(product.cpu())
        series = json.loads(product.command("series", "ls", "bench", "--json").output)
        applied.append(sum(1 for one in series if one["applies"]))
        product.end()
    cpu = [s.cpu for s in imported]
    note = f"Patchwork's parsearchive, measured elsewhere: {PARSEARCHIVE} a CPU second; ours also threads and indexes"
    what = "mails imported, recognised and grouped, a CPU second"
    table.line(what, "/s", [count / c for c in cpu], [PARSEARCHIVE], cpu, note=note)
    table.line("largest process of that", "MiB", [s.peak_mib for s in imported])
    cpu, theirs = [s.cpu for s in again], [s.cpu for s in other]
    note = f"all are read and grouped anew, and nothing is written; b4's LoreMailbox, thread by thread: {other[-1].output.strip()}"
    what = "mails of that reclassified, a CPU second, against b4"
    table.line(what, "/s", [count / c for c in cpu], [count / c for c in theirs], cpu, theirs, note=note)
    table.line("largest process of that", "MiB", [s.peak_mib for s in again])
    if code.exists():
        rate = [n / c for n, c in zip(applied, spent)]
        note = f"{applied[-1]} series; those that do not apply are tried in the same time, search included"
        table.line("series applied on a base found by search, a CPU second", "/s", rate, cpu=spent, note=note)


def clone(bench, bundle):
    """A bare repository and a branch of it."""
    path = bench.scratch / "code.git"
    if not path.exists():
        bench.run(["git", "clone", "-q", "--bare", bundle, path])
        # The bundle names no branch.
        bench.run(["git", "--git-dir", path, "update-ref", "refs/heads/main", "HEAD"])
        bench.run(["git", "--git-dir", path, "symbolic-ref", "HEAD", "refs/heads/main"])
    return path, "main"
