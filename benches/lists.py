"""Mailman 3 and mlmmj as they are compared with: one mail for each member, as bounces and one-click want it; nothing is signed."""

import os
import shutil
import smtplib
import subprocess
import time

from frame import ROOT, Failed, clean, cpu_of_tree, until
from postfix import free_port

VENV = ROOT / "target" / "bench" / "mailman"

SETTINGS = """
[mailman]
site_owner: root@example.org
layout: local
[paths.local]
var_dir: {var}
[mta]
lmtp_host: 127.0.0.1
lmtp_port: {lmtp}
smtp_host: 127.0.0.1
smtp_port: {sink}
incoming: mailman.mta.null.NullMTA
verp_personalized_deliveries: yes
verp_delivery_interval: 1
[webservice]
hostname: 127.0.0.1
port: {rest}
[archiver.prototype]
enable: no
[archiver.mhonarc]
enable: no
[archiver.mail_archive]
enable: no
"""


def patch(serial, address):
    """A patch of 3 KB, as it is handed over."""
    lines = "".join(f"+int line_{n} = {n};\n" for n in range(150))
    return (f"From: Dev <dev@example.net>\nTo: {address}\nSubject: [PATCH {serial}] x\nMessage-ID: <{serial}.{os.getpid()}@example.net>\n"
            "Date: Mon, 24 Nov 2025 00:00:00 +0000\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
            f"diff --git a/f.c b/f.c\n--- a/f.c\n+++ b/f.c\n@@ -1 +1,150 @@\n x\n{lines}")


def as_nobody(words):
    """Neither program runs as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *map(str, words)]


class Mailman:
    """Mailman's core, without web and archive."""

    NAME = "Mailman 3.3.10"
    ELSEWHERE = 97
    ADDRESS = "bench@example.org"

    def __init__(self, bench, sink, people):
        if not (VENV / "bin" / "mailman").exists():
            raise Failed(f"there is no {VENV}/bin/mailman; benches/install puts it there")
        self.bench, self.lmtp, rest = bench, free_port(), free_port()
        self.home = bench.folder("mailman")
        (self.home / "var").mkdir()
        config = self.home / "mailman.cfg"
        config.write_text(SETTINGS.format(var=self.home / "var", lmtp=self.lmtp, sink=sink, rest=rest))
        (self.home / "people").write_text("".join(f"{each}\n" for each in people))
        (self.home / "author").write_text("dev@example.net\n")
        for path in [self.home, *self.home.rglob("*")]:
            shutil.chown(path, "nobody", "nogroup")
        self.env = {"HOME": self.home, "MAILMAN_CONFIG_FILE": config, "PATH": f"{VENV}/bin:{os.environ['PATH']}"}
        self.bench.closers.append(lambda: self.mailman("stop"))
        self.mailman("start", "--quiet")
        until("Mailman to listen", self.listens)
        self.mailman("create", "-q", self.ADDRESS)
        self.mailman("addmembers", "--no-welcome-msg", self.home / "people", self.ADDRESS)
        self.mailman("addmembers", "--no-welcome-msg", "-d", "disabled", self.home / "author", self.ADDRESS)

    def mailman(self, *words):
        return self.bench.run(as_nobody([VENV / "bin" / "mailman", *words]), self.env, limit=600, cwd=self.home)

    def listens(self):
        try:
            smtplib.LMTP("127.0.0.1", self.lmtp).quit()
            return True
        except OSError:
            return False

    def cpu(self):
        pid = (self.home / "var" / "master.pid").read_text().split()[0]
        return cpu_of_tree(int(pid))

    def post(self, serial):
        with smtplib.LMTP("127.0.0.1", self.lmtp) as lmtp:
            lmtp.sendmail("dev@example.net", [self.ADDRESS], patch(serial, self.ADDRESS))
            return time.monotonic()


class Mlmmj:
    """mlmmj: the mail server in front pipes each mail into a program."""

    NAME = "mlmmj"
    ELSEWHERE = 22
    ADDRESS = "bench@example.org"

    def __init__(self, bench, sink, people):
        self.receive = shutil.which("mlmmj-receive")
        if not self.receive:
            raise Failed("there is no mlmmj-receive; benches/install puts it there")
        self.list = bench.folder("mlmmj") / "bench"
        for name in ("incoming", "queue/discarded", "archive", "text", "subconf", "unsubconf", "bounce", "control", "moderation",
                     "subscribers.d", "digesters.d", "requeue", "nomailsubs.d"):
            (self.list / name).mkdir(parents=True)
        control = {"listaddress": self.ADDRESS, "owner": "root@example.org", "relayhost": "127.0.0.1", "smtpport": str(sink),
                   "subonlypost": ""}
        for name, value in control.items():
            (self.list / "control" / name).write_text(f"{value}\n" if value else "")
        (self.list / "index").touch()
        (self.list / "subscribers.d" / "u").write_text("".join(f"{each}\n" for each in people))
        (self.list / "nomailsubs.d" / "d").write_text("dev@example.net\n")
        shutil.copytree("/usr/share/mlmmj/text.skel/en", self.list / "text", dirs_exist_ok=True)
        for path in [self.list, *self.list.rglob("*")]:
            shutil.chown(path, "nobody", "nogroup")
        self.spent, self.children = 0.0, []

    def cpu(self):
        """Of those that have ended; each post is waited for first."""
        for child in self.children:
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
            self.spent += usage.ru_utime + usage.ru_stime
        self.children.clear()
        return self.spent

    def post(self, serial):
        mail = f"Return-Path: <dev@example.net>\nDelivered-To: {self.ADDRESS}\n{patch(serial, self.ADDRESS)}"
        # In the foreground, so that its CPU seconds can be had.
        child = subprocess.Popen(as_nobody([self.receive, "-F", "-L", self.list]), stdin=subprocess.PIPE,
                                 env=clean({"EXTENSION": "", "DEFAULT": ""}), cwd=self.list)
        child.stdin.write(mail.encode())
        child.stdin.close()
        self.children.append(child)
        return time.monotonic()
