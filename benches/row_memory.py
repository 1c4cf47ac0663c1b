"""Memory: idle, after an import, and while pages are read."""

import threading

import archive
from frame import Table, rss_of_tree
from product import Product
from row_pages import wrk


def row(bench):
    epoch, count, what = archive.epoch(bench)
    table = Table(f"Memory with {count:,} mails ({what}), MiB, median of {bench.runs}; goals: 40 idle, 150 under load")
    idle, filled, loaded, imported = [], [], [], []
    for run in range(bench.runs):
        ours = Product(bench, f"memory{run}")
        ours.serve()
        idle.append(rss_of_tree(ours.child.pid))
        ours.end()
        imported.append(ours.command("import", "bench", epoch, "--format", "public-inbox").peak_mib)
        ours.serve()
        filled.append(rss_of_tree(ours.child.pid))
        loaded.append(under_load(bench, ours))
        ours.end()
    table.line("server, idle, empty", "MiB", idle)
    table.line("server, idle, after the import", "MiB", filled)
    table.line("server, while pages and searches are read", "MiB", loaded)
    table.line("import, peak", "MiB", imported)


def under_load(bench, ours):
    """The most that was in memory while front page, search and one thread were read at 8 connections."""
    most, over = [0.0], threading.Event()

    def watch():
        while not over.wait(0.1):
            most[0] = max(most[0], rss_of_tree(ours.child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for path in ("/bench/", "/bench/?q=patch", "/bench/new.atom", "/bench/patches/"):
            wrk(bench, ours, ours.url() + path, 8)
    finally:
        over.set()
        watcher.join()
    return most[0]
