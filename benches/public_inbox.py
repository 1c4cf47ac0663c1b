"""public-inbox as the benches use it: one inbox of version 2 over a copy of an epoch, in the scratch folder."""

import shutil
import sqlite3

from frame import cpu_of_tree, stop, until
from postfix import free_port


class PublicInbox:
    """An inbox that is not indexed yet."""

    def __init__(self, bench, name, epoch):
        self.bench, self.home = bench, bench.folder(name)
        self.inbox, self.port, self.child = self.home / "inbox", free_port(), None
        self.env = {"HOME": self.home, "PI_CONFIG": self.home / "config", "PERL_INLINE_DIRECTORY": bench.folder(f"{name}-inline")}
        bench.run(["git", "config", "--global", "safe.directory", "*"], self.env)
        (self.inbox / "git").mkdir(parents=True)
        shutil.copytree(epoch, self.inbox / "git" / "0.git")
        url = f"http://127.0.0.1:{self.port}/bench"
        bench.run(["public-inbox-init", "-V2", "-L", "full", "bench", self.inbox, url, "bench@lists.invalid"], self.env)

    def index(self):
        """Threads, numbers and full text with positions (level full, its default)."""
        return self.bench.run(["public-inbox-index", "-L", "full", self.inbox], self.env)

    def query(self, text):
        over = next(self.inbox.glob("xap*/over.sqlite3"))
        with sqlite3.connect(f"file:{over}?mode=ro", uri=True) as database:
            return database.execute(text).fetchall()

    def count(self):
        return self.query("select count(*) from over where num > 0")[0][0]

    def serve(self, workers=2):
        log = self.home / "log"
        self.child = self.bench.start(
            ["public-inbox-httpd", "-W", workers, "-l", f"http://127.0.0.1:{self.port}"], log, self.env)
        until("public-inbox-httpd to listen", self.listens)

    def listens(self):
        try:
            self.bench.run(["curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/bench/"])
            return True
        except Exception:  # the next look says the same
            return False

    def end(self):
        stop(self.child)

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cpu(self):
        return cpu_of_tree(self.child.pid)
