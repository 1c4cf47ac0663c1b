"""Pages and search on the imported archive, beside public-inbox-httpd."""

import re
import urllib.parse

import archive
from frame import Table, median, until
from product import Product
from public_inbox import PublicInbox

SECONDS = 3
# Threads that are read once each after a start: nothing of them is in any cache of ours.
COLD = 200


def both(bench):
    """The same archive in both, served."""
    epoch, count, what = archive.epoch(bench)
    ours, theirs = Product(bench, "pages"), PublicInbox(bench, "inbox", epoch)
    ours.command("import", "bench", epoch, "--format", "public-inbox")
    theirs.index()
    ours.serve()
    # Old series are applied after an import: that is not what is measured here.
    until("imported series to be applied", lambda: not ours.owed(), limit=600, pause=0.5)
    theirs.serve()
    return ours, theirs, count, what


def threads(theirs):
    """(Message-ID, mails) of the largest threads, the largest first."""
    text = "select min(mid), c from (select tid, min(num) n, count(*) c from over where num > 0 group by tid " \
           f"order by c desc limit {COLD}) t join id2num using (n) join msgid using (id) group by tid order by c desc"
    text = text.replace("using (n)", "on id2num.num = t.n")
    return theirs.query(text)


def path_of(mid, rest):
    return f"/bench/{urllib.parse.quote(mid, safe='@$!*(),;:=&+~-._')}/{rest}"


def wrk(bench, server, url, connections=1):
    """Requests a second, CPU ms a request, p99 in ms."""
    before = server.cpu()
    spent = bench.run(["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "20s", "--latency",
                       "-H", "Accept-Encoding: gzip", url], limit=60)
    used = server.cpu() - before
    if "Non-2xx" in spent.output:
        raise RuntimeError(f"{url}: {spent.output}")
    requests = int(re.search(r"(\d+) requests in", spent.output)[1])
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", spent.output)
    scale = {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]
    return requests / SECONDS, 1000 * used / max(requests, 1), float(p99[1]) * scale


def warm(bench, table, pair, what, path, connections):
    own, other = [], []
    for _ in range(bench.runs):
        own.append(wrk(bench, pair[0], pair[0].url() + path, connections))
        other.append(wrk(bench, pair[1], pair[1].url() + path, connections))
    table.line(f"{what}, {connections} connection(s)", "/s", [o[0] for o in own], [o[0] for o in other],
               [o[1] / 1000 for o in own], [o[1] / 1000 for o in other],
               note=f"CPU is per request; p99 {median([o[2] for o in own]):.2f} ms, theirs {median([o[2] for o in other]):.1f} ms")


def cold(bench, table, ours, theirs, paths):
    """Every thread once, one after the other, right after a start."""
    own, other = [], []
    for _ in range(bench.runs):
        for server, figures in ((ours, own), (theirs, other)):
            server.end()
            server.serve()
            # What starting costs, and the first look at the database, is not the page.
            bench.run(["curl", "-sf", "-o", "/dev/null", server.url() + "/bench/"])
            urls = bench.scratch / "urls"
            urls.write_text("".join(f'url = "{server.url()}{path}"\noutput = "/dev/null"\n' for path in paths))
            before = server.cpu()
            spent = bench.run(["curl", "-sf", "--compressed", "--config", urls])
            figures.append((len(paths) / spent.wall, (server.cpu() - before) / len(paths)))
    table.line(f"the {len(paths)} largest threads, once each after a start", "/s", [o[0] for o in own], [o[0] for o in other],
               [o[1] for o in own], [o[1] for o in other], note="CPU is per page; theirs caches nothing")
    ratio = median([o[1] for o in other]) / median([o[1] for o in own])
    table.line("the same, CPU ms a page", "ms", [1000 * o[1] for o in own], [1000 * o[1] for o in other],
               lower_is_better=True, note=f"{ratio:.1f}× less CPU")


def row(bench):
    ours, theirs, count, what = both(bench)
    table = Table(f"Pages of {count:,} mails ({what}), gzip, against public-inbox-httpd -W 2, median of {bench.runs}")
    found = threads(theirs)
    mid, mails = min(found, key=lambda t: abs(t[1] - 79))
    pair = (ours, theirs)
    for connections in (1, 8):
        warm(bench, table, pair, f"thread of {mails} mails, warm", path_of(mid, "T/"), connections)
        warm(bench, table, pair, "search for a common word, newest first", "/bench/?q=PATCH", connections)
    cold(bench, table, ours, theirs, [path_of(m, "T/") for m, _ in found])
