"""Reads mboxes with Python's mailbox module: a list of texts goes in, for each comes out the list of Message-IDs."""

import json
import mailbox
import sys
import tempfile


def read(text):
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode("latin-1"))
        file.flush()
        box = mailbox.mbox(file.name, create=False)
        return [mail.get("Message-ID") and str(mail["Message-ID"]) for mail in box]


json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
