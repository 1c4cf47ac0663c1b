"""Signs and verifies mails by DKIM, with dkimpy. A list of mails goes in, one answer for each comes out.

sign KEYFILE: each item has `mail`, `canonicalization`, `fields`, and `domain` if it is another; out comes the mail with its signature.
verify RECORD: each item is a mail; out comes "pass" or why not. RECORD is all that the DNS says.
Mails are strings with one character for each byte.
"""

import json
import sys

import dkim

SELECTOR, DOMAIN = b"s", b"example.org"


def sign(key, item):
    mail = item["mail"].encode("latin-1")
    canonicalization = item["canonicalization"].encode()
    signature = dkim.sign(
        mail,
        SELECTOR,
        item.get("domain", DOMAIN.decode()).encode(),
        key,
        canonicalize=(canonicalization, canonicalization),
        include_headers=[name.encode() for name in item["fields"]],
    )
    return (signature + mail).decode("latin-1")


def verify(record, text):
    asked = []

    def dns(name, timeout=5):
        asked.append(name)
        return record if name.rstrip(b".") == SELECTOR + b"._domainkey." + DOMAIN else None

    mail = dkim.DKIM(text.encode("latin-1"))
    own = [
        at
        for at, (_, value) in enumerate(h for h in mail.headers if h[0].lower() == b"dkim-signature")
        if b"d=" + DOMAIN + b";" in value
    ]
    if not own:
        return "no signature of the author"
    for at in own:
        try:
            if not mail.verify(at, dnsfunc=dns):
                return f"fails; asked for {asked}"
        except dkim.DKIMException as error:
            return f"{type(error).__name__}: {error}"
    return "pass"


def main():
    what, argument = sys.argv[1:]
    items = json.load(sys.stdin)
    if what == "sign":
        with open(argument, "rb") as file:
            key = file.read()
        answers = [sign(key, item) for item in items]
    else:
        answers = [verify(argument.encode(), item) for item in items]
    json.dump(answers, sys.stdout)


main()
