"""The archive that the rows import: a public-inbox epoch, from a bundle of real mail, else made."""

import os
import random
from pathlib import Path

from frame import ROOT, say

# Words of made mails; their number decides how large a vocabulary the index gets.
WORDS = 20_000


def epoch(bench):
    """A bare repository with one commit a mail, and how many there are."""
    corpus = Path(os.environ.get("PATCHPOST_CORPUS", ROOT.parent / "shared" / "corpus"))
    bundle = corpus / "selinux-list.bundle"
    path = bench.scratch / "epoch.git"
    if bundle.exists():
        bench.run(["git", "clone", "-q", "--bare", bundle, path])
        what = "selinux-list, real mail"
    else:
        say(f"there is no {bundle}: the archive is made")
        make(bench, path)
        what = "made mail"
    bench.run(["git", "--git-dir", path, "repack", "-adq"])
    count = int(bench.run(["git", "--git-dir", path, "rev-list", "--count", "HEAD"]).output)
    return path, count, what


def make(bench, path, threads=1200):
    """Threads of five: a series of three patches and two answers; the same in every run."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randint(3, 9))) for _ in range(WORDS)]
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    stream = bench.scratch / "made.stream"
    with open(stream, "wb") as out:
        for thread in range(threads):
            for part in range(5):
                mail = made_mail(chance, words, weights, thread, part)
                at = 1_600_000_000 + thread * 600 + part
                out.write(b"commit refs/heads/master\nauthor A <a@example.org> %d +0000\n" % at)
                out.write(b"committer A <a@example.org> %d +0000\ndata 1\nm\nM 100644 inline m\n" % at)
                out.write(b"data %d\n%s\n" % (len(mail), mail))
    bench.run(["git", "init", "-q", "--bare", "-b", "master", path])
    with open(stream, "rb") as data:
        bench.run(["git", "--git-dir", path, "fast-import", "--quiet"], stdin=data)


def made_mail(chance, words, weights, thread, part):
    def text(lines):
        return "".join(" ".join(chance.choices(words, weights, k=9)) + "\n" for _ in range(lines))

    name = f"<{thread}.{part}@example.org>"
    answer = "" if part == 0 else f"In-Reply-To: <{thread}.0@example.org>\nReferences: <{thread}.0@example.org>\n"
    subject = f"[PATCH {part + 1}/3] part {thread}" if part < 3 else f"Re: [PATCH 1/3] part {thread}"
    lines = "".join(f"+{line}\n" for line in text(20).splitlines())
    diff = f"---\n a{thread}.c | 20 +\n\ndiff --git a/a{thread}.c b/a{thread}.c\nindex 1111111..2222222 100644\n" \
           f"--- a/a{thread}.c\n+++ b/a{thread}.c\n@@ -1,1 +1,21 @@\n context\n{lines}-- \n2.47.3\n"
    body = text(10) + (diff if part < 3 else "> " + text(1) + text(15))
    head = f"From: Person {thread % 97} <p{thread % 97}@example.org>\nTo: bench@lists.invalid\nSubject: {subject}\n" \
           f"Date: Thu, 01 Oct 2020 00:{part:02}:00 +0000\nMessage-ID: {name}\n{answer}\n"
    return (head + body).encode()
