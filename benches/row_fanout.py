"""Fan-out: one individually signed copy to each member, beside Mailman 3 and mlmmj, which sign nothing; and what a destination
with bad manners costs the others."""

import os
import smtplib
import time

from frame import Failed, Table, median, say, until
from lists import Mailman, Mlmmj, patch
from product import ADDRESS, Product
from sinks import Relay, Sink

MEMBERS = int(os.environ.get("FANOUT_MEMBERS", "10000"))
# They take minutes for what takes us seconds.
MEMBERS_REFERENCE = int(os.environ.get("FANOUT_MEMBERS_REFERENCE", "1000"))
DOMAINS = 200
ODD = "odd.example.com"


def members(count):
    return [f"u{n}@d{n % DOMAINS}.example.com" for n in range(count)]


class Ours(Product):
    """A list of ours with members, which signs, behind a relay."""

    def __init__(self, bench, name, relay, people):
        super().__init__(bench, name)
        self.env |= {"PATCHPOST_DELIVERY_TRANSPORT": "smtp", "PATCHPOST_DELIVERY_RELAY": f"127.0.0.1:{relay}"}
        self.command("dkim", "rotate", ADDRESS.partition("@")[2])
        file = self.data / "members"
        file.write_text("".join(f"{each}\n" for each in people))
        self.command("member", "import", "bench", file)
        self.serve()

    def post(self, serial):
        with smtplib.SMTP("127.0.0.1", int(self.addresses["smtp"].rpartition(":")[2])) as smtp:
            smtp.sendmail("dev@example.net", [ADDRESS], patch(serial, ADDRESS))
            return time.monotonic()


def measure(program, serial, sink, wanted, limit):
    """Copies a second, seconds to the first one, CPU seconds until the last."""
    before, cpu = sink.count(), program.cpu()
    taken = program.post(serial)
    until("the first copy", lambda: sink.count() > before, limit, 0.001)
    first = time.monotonic() - taken
    until(f"{wanted} copies", lambda: sink.count() >= before + wanted, limit, 0.005)
    wall = time.monotonic() - taken
    # What was sent is struck off a moment later.
    time.sleep(0.3)
    return wanted / wall, first, program.cpu() - cpu


def row(bench):
    table = Table(f"Fan-out to {MEMBERS:,} members into smtp-sink, a copy each; ours signed with RSA-2048 and Ed25519; median of {bench.runs}")
    sink = Sink(bench, "sink")
    ours = Ours(bench, "fanout", sink.port, members(MEMBERS))
    references = []
    for kind in (Mailman, Mlmmj):
        try:
            references.append(kind(bench, sink.port, members(MEMBERS_REFERENCE)))
        except Failed as problem:
            say(f"fanout: {kind.NAME} is not measured: {problem}")
            table.line(f"{kind.NAME}, copies", "/s", [kind.ELSEWHERE], note="the figure of the reference alone, measured elsewhere")
    measure(ours, 0, sink, MEMBERS, 120)
    own, others = [], {each.NAME: [] for each in references}
    for serial in range(1, bench.runs + 1):
        own.append(measure(ours, serial, sink, MEMBERS, 120))
        for each in references:
            others[each.NAME].append(measure(each, serial, sink, MEMBERS_REFERENCE, 400))
    for each in references or [None]:
        runs = others[each.NAME] if each else []
        note = f"{each.NAME}: a copy each to {MEMBERS_REFERENCE:,} members, not signed; CPU s of {MEMBERS_REFERENCE:,}" if each else ""
        beside = f" beside {each.NAME}" if each else ""
        table.line(f"copies{beside}", "/s", [m[0] for m in own], [m[0] for m in runs],
                   [m[2] for m in own], [m[2] for m in runs], note=note)
        table.line(f"first copy after the 250{beside}", "ms", [1000 * m[1] for m in own], [1000 * m[1] for m in runs],
                   lower_is_better=True)
    ours.end()
    manners(bench)


def delays(program, relay, serial, wanted, **manner):
    """The 95th of 100 delays of the copies for everybody but the odd destination, in seconds."""
    relay.begin(**manner)
    taken = program.post(serial)
    until("the others' copies", lambda: len(relay.arrived) >= wanted, 300, 0.01)
    late = sorted(relay.arrived)[:wanted]
    return late[wanted * 95 // 100] - taken


def manners(bench):
    """One member in twenty is at a destination that refuses for now, or is slow."""
    relay = Relay(bench)
    everybody = members(MEMBERS)
    odd = len(everybody) // 20
    people = [f"u{n}@{ODD}" if n % 20 == 0 else each for n, each in enumerate(everybody)]
    wanted = len(people) - odd
    table = Table(f"The others' copies while one of {DOMAINS} destinations, with {odd:,} of {MEMBERS:,} members, has bad manners; p95 of the delay in s")
    plain, refused, slow = [], [], []
    for run in range(bench.runs):
        # A new server for each figure: what one learned about a destination is not the next one's.
        for kind, manner in ((plain, {}), (refused, {"refusing": ODD}), (slow, {"slow": ODD})):
            ours = Ours(bench, "manners", relay.port, people)
            kind.append(delays(ours, relay, run, wanted + (0 if manner else odd), **manner))
            ours.end()
    table.line("all behave", "s", plain)
    for what, kind in (("it answers 421", refused), ("it takes 1 KB/s", slow)):
        more = 100 * (median(kind) / median(plain) - 1)
        table.line(what, "s", kind, note=f"{more:+.0f} %; goal: at most +10 %")
    say("fanout: done")
