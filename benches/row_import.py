"""Import of an archive, wholly indexed, beside public-inbox-index. Ours recognises and groups series as well."""

import os
import re

import archive
from frame import Failed, Table
from product import Product
from public_inbox import PublicInbox


def row(bench):
    epoch, count, what = archive.epoch(bench)
    table = Table(f"Import of {count:,} mails ({what}), wholly indexed, against public-inbox-index -L full, "
                  f"median of {bench.runs}")
    own, other, sizes = [], [], ""
    for run in range(bench.runs):
        ours = Product(bench, "import")
        own.append(ours.command("import", "bench", epoch, "--format", "public-inbox"))
        theirs = PublicInbox(bench, "inbox", epoch)
        other.append(theirs.index())
        new = int(re.search(r"(\d+) new", own[-1].output)[1])
        # Both keep one of two copies of a mail.
        if new != theirs.count() or ours.owed("file"):
            raise Failed(f"of {count} mails {new} are here and {theirs.count()} there: not the same work")
        sizes = f"on disk {size(ours.data):.0f} MB with the mails; theirs {size(theirs.inbox):.0f} MB with the epoch"
    table.line("mails per CPU second", "/s", [count / s.cpu for s in own], [count / s.cpu for s in other],
               [s.cpu for s in own], [s.cpu for s in other], note=sizes)
    table.line("mails per second of wall time", "/s", [count / s.wall for s in own], [count / s.wall for s in other])
    table.line("largest process", "MiB", [s.peak_mib for s in own], [s.peak_mib for s in other], lower_is_better=True)


def size(folder):
    """Bytes of all files in a folder, as MB."""
    return sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(folder) for f in files) / 1e6
