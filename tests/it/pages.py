"""Reads pages as HTML 5 with html5lib: a list of texts goes in, for each comes out what is wrong with it, or nothing."""

import json
import sys

import html5lib


def wrong(text):
    try:
        page = text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        return str(error)
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(page)
    if parser.errors:
        return "; ".join(f"line {at[0]}: {code} {data}" for at, code, data in parser.errors[:3])
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(ids) != len(set(ids)) else []
    return f"ids that stand twice: {twice[:3]}" if twice else None


json.dump([wrong(text) for text in json.load(sys.stdin)], sys.stdout)
