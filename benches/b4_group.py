#!/usr/bin/python3
"""Groups the mails of a public-inbox epoch into series by b4's own code: `b4_group.py EPOCH`, with the Python that has b4.

b4 works on one thread at a time, so the mails are threaded first, by In-Reply-To and References alone. Prints what it found, so
that a run that found nothing is seen.
"""

import email
import inspect
import re
import subprocess
import sys
from collections import defaultdict

import b4

ID = re.compile(r"<([^<>\s]+)>")
# Newer ones ask servers for reviews; older ones know no such option.
KNOWN = inspect.signature(b4.LoreMailbox.get_series).parameters
OFFLINE = {"codereview_trailers": False} if "codereview_trailers" in KNOWN else {}


def mails(epoch):
    """All mails of the epoch, the oldest first."""
    git = ["git", "--git-dir", epoch]
    commits = subprocess.run([*git, "rev-list", "--reverse", "HEAD"], capture_output=True, text=True, check=True)
    with subprocess.Popen([*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as batch:
        for commit in commits.stdout.split():
            batch.stdin.write(f"{commit}:m\n".encode())
            batch.stdin.flush()
            size = int(batch.stdout.readline().split()[2])
            yield email.message_from_bytes(batch.stdout.read(size), policy=b4.emlpolicy)
            batch.stdout.read(1)
        batch.stdin.close()


def threads(all_mails):
    """Lists of mails that name each other."""
    above = {}

    def root(name):
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    named = []
    for mail in all_mails:
        name = (ID.findall(str(mail.get("Message-ID", ""))) or [f"none-{len(named)}"])[0]
        named.append((name, mail))
        for field in ("In-Reply-To", "References"):
            for parent in ID.findall(str(mail.get(field, ""))):
                above[root(name)] = root(parent)
    found = defaultdict(list)
    for name, mail in named:
        found[root(name)].append(mail)
    return found.values()


def main():
    series = patches = 0
    for thread in threads(mails(sys.argv[1])):
        box = b4.LoreMailbox()
        for mail in thread:
            box.add_message(mail)
        for revision in list(box.series):
            one = box.get_series(revision, **OFFLINE)
            if one is not None:
                series += 1
                patches += sum(1 for patch in one.patches[1:] if patch is not None)
    print(f"{series} series, {patches} patches")


main()
