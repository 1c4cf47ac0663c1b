"""Reads Atom feeds with feedparser: a list of texts goes in, for each comes out what a feed reader knows of it.

A feed that is not well-formed gives its error instead.
"""

import json
import sys
from xml.parsers import expat

import feedparser


def read(text):
    try:
        # feedparser itself mends what it can.
        expat.ParserCreate().Parse(text.encode("latin-1"), True)
    except expat.ExpatError as error:
        return {"error": str(error)}
    feed = feedparser.parse(text.encode("latin-1"))
    if feed.bozo:
        return {"error": str(feed.bozo_exception)}
    entry = lambda e: {"title": e.title, "link": e.link, "id": e.id, "updated": e.updated_parsed is not None}
    return {"title": feed.feed.title, "version": feed.version, "entries": [entry(e) for e in feed.entries]}


json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
