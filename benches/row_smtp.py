"""SMTP accept: durable 250s a second, beside Postfix. Ours archives and threads at the same time."""

import time

from frame import Table, say, until
from postfix import Postfix
from product import ADDRESS, Product

MAILS = {1: 1000, 10: 3000, 50: 3000}
SIZES = {"5 KB": 5120, "50 KB": 51200}


def load(bench, port, sessions, count, size, kept):
    """Sends with smtp-source; returns seconds."""
    keep = ["-d"] if kept else []
    spent = bench.run(["smtp-source", *keep, "-s", sessions, "-m", count, "-l", size,
                       "-f", "a@example.com", "-t", ADDRESS, f"127.0.0.1:{port}"], limit=120)
    return spent.wall


def measure(bench, server, port, cell):
    """Accepts a second, CPU seconds until nothing is owed, and mails a second until then."""
    count = MAILS[cell[0]]
    cpu, started = server.cpu(), time.monotonic()
    wall = load(bench, port, cell[0], count, cell[1], cell[2])
    until("all mail to be done with", lambda: not server.owed(), pause=0.05)
    return count / wall, server.cpu() - cpu, count / (time.monotonic() - started)


def row(bench):
    table = Table("SMTP accept against Postfix (queue, discard), messages a second, median of %d" % bench.runs)
    postfix = Postfix(bench)
    ours = Product(bench, "smtp")
    ours.serve()
    port = int(ours.addresses["smtp"].rpartition(":")[2])
    for warm in (port, postfix.port):
        load(bench, warm, 2, 100, 5120, True)
    for name, size in SIZES.items():
        for kept in (True, False):
            for sessions in MAILS:
                cell = (sessions, size, kept)
                own, other = [], []
                for _ in range(bench.runs):
                    own.append(measure(bench, ours, port, cell))
                    other.append(measure(bench, postfix, postfix.port, cell))
                what = f"{name}, {'connection kept' if kept else 'new connections'}, {sessions} sessions"
                drained = sorted(m[2] for m in own)[len(own) // 2]
                drained_other = sorted(m[2] for m in other)[len(other) // 2]
                table.line(what, "/s", [m[0] for m in own], [m[0] for m in other],
                           [m[1] for m in own], [m[1] for m in other],
                           note=f"all filed at {drained:.0f}/s; Postfix delivered at {drained_other:.0f}/s")
    ours.end()
    say("smtp: done")
