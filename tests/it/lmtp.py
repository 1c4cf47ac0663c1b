"""Hands mails over by LMTP with smtplib and says what each recipient was answered.

HOST PORT: each item has `sender`, `to` and `mail`; out comes, for each, the list of [recipient, code, text] in order.
"""

import json
import smtplib
import sys


def deliver(client, item):
    client.rset()
    code, text = client.mail(item["sender"], ["BODY=8BITMIME"])
    assert code == 250, (code, text)
    answers, taken = [], []
    for recipient in item["to"]:
        code, text = client.rcpt(recipient)
        answers.append([recipient, code, text.decode()])
        if code == 250:
            taken.append(answers[-1])
    # RFC 2033 section 4.2: one reply for each recipient that was taken; smtplib reads the first.
    replies = [client.data(item["mail"].encode("latin-1"))]
    replies += [client.getreply() for _ in taken[1:]]
    for answer, (code, text) in zip(taken, replies):
        answer[1:] = [code, text.decode()]
    return answers


host, port = sys.argv[1:]
with smtplib.LMTP(host, int(port)) as client:
    client.ehlo_or_helo_if_needed()
    json.dump([deliver(client, item) for item in json.load(sys.stdin)], sys.stdout)
