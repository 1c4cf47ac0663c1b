"""Checks all DKIM signatures of mails with dkimpy, and what DMARC makes of them with the package dmarc.

In comes {"records": {"name": "TXT"}, "policy": "v=DMARC1; …", "mails": [mail, …]}; out comes for each mail
{"signatures": ["d=… s=… a=… pass", …], "dmarc": "pass" or why not}. A mail is a string with one character for each byte.
"""

import email.utils
import json
import re
import sys

import dkim
import dmarc


def tag(value, name):
    found = re.search(rb"(?:^|;)\s*" + name + rb"\s*=\s*([^;]*)", value)
    return re.sub(rb"\s+", b"", found.group(1)).decode() if found else ""


def check(records, policy, text):
    def dns(name, timeout=5):
        record = records.get(name.rstrip(b".").decode())
        return record.encode() if record else None

    mail = dkim.DKIM(text.encode("latin-1"))
    values = [value for name, value in mail.headers if name.lower() == b"dkim-signature"]
    said, passed = [], []
    for at, value in enumerate(values):
        try:
            good = mail.verify(at, dnsfunc=dns)
        except dkim.DKIMException as error:
            good = False
            print(error, file=sys.stderr)
        if good:
            passed.append(tag(value, b"d"))
        said.append(f"d={tag(value, b'd')} s={tag(value, b's')} a={tag(value, b'a')} {'pass' if good else 'fail'}")
    senders = [value for name, value in mail.headers if name.lower() == b"from"]
    domain = email.utils.parseaddr(senders[0].decode("latin-1"))[1].rsplit("@", 1)[-1]
    try:
        results = [dmarc.DKIM(d, dmarc.DKIM_PASS) for d in passed] or [dmarc.DKIM("none.example", dmarc.DKIM_FAIL)]
        rule = dmarc.DMARCPolicy(policy, domain)
        best = next((r for r in results if rule.isaligned(r)), results[0])
        rule.verify(dkim=best)
        verdict = "pass"
    except dmarc.PolicyError as error:
        verdict = type(error).__name__
    return {"signatures": said, "dmarc": verdict}


def main():
    wish = json.load(sys.stdin)
    answers = [check(wish["records"], wish["policy"], mail) for mail in wish["mails"]]
    json.dump(answers, sys.stdout)


main()
