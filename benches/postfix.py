"""A Postfix of our own: configuration, queue and data in the scratch folder, one loopback port, mail discarded."""

import os
import re
import shutil
import socket
from pathlib import Path

from frame import Failed, cpu_of_tree, until

SETTINGS = """
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.invalid
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = lists.invalid
relay_transport = discard:
default_transport = discard:
local_transport = discard:
relay_recipient_maps =
alias_maps =
alias_database =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
default_process_limit = 110
# By default a burst is slowed down by a second a mail.
in_flow_delay = 0
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}/log
disable_dns_lookups = yes
smtpd_peername_lookup = no
import_environment = MAIL_CONFIG TZ
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postfix:
    """Runs from construction until the bench is closed."""

    def __init__(self, bench):
        if os.geteuid() != 0:
            raise Failed("Postfix starts as root only: run this row as root")
        self.bench, self.port = bench, free_port()
        self.home = bench.folder("postfix")
        self.etc, self.spool = self.home / "etc", self.home / "spool"
        for name in ("etc", "spool", "data", "log"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        (self.etc / "main.cf").write_text(SETTINGS.format(home=self.home))
        services = Path("/etc/postfix/master.cf.proto").read_text()
        services = re.sub(r"(?m)^smtp\s+inet.*$", f"127.0.0.1:{self.port} inet n - n - - smtpd", services)
        # No service in a change root: there are no copies of system files in the scratch spool.
        services = re.sub(r"(?m)^(\w+\s+(?:unix|fifo)\s+[-ny]\s+[-ny]\s+)[-y]", r"\1n", services)
        if not re.search(r"(?m)^postlog", services):
            services += "postlog unix-dgram n - n - 1 postlogd\n"
        (self.etc / "master.cf").write_text(services)
        bench.closers.append(lambda: self.postfix("stop"))
        self.postfix("start")
        until("Postfix to listen", self.listens)

    def postfix(self, word):
        self.bench.run(["postfix", "-c", self.etc, word], {"MAIL_CONFIG": self.etc}, limit=60)

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def cpu(self):
        master = int((self.spool / "pid" / "master.pid").read_text())
        return cpu_of_tree(master)

    def owed(self):
        """Whether mails are still in the queue."""
        return any(files for part in ("incoming", "active", "maildrop", "deferred")
                   for _, _, files in os.walk(self.spool / part))
