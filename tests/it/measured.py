"""Runs a command, given as JSON at standard input: what it said, its exit status, and what it cost at its peak and in sum."""

import json
import os
import subprocess
import sys

child = subprocess.Popen(
    json.load(sys.stdin),
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
)
said = child.stdout.read().decode("utf-8", "replace")
_, status, usage = os.wait4(child.pid, 0)
json.dump(
    {
        "said": said,
        "status": os.waitstatus_to_exitcode(status),
        # Linux counts it in KiB (getrusage(2)).
        "peak_mib": usage.ru_maxrss // 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    },
    sys.stdout,
)
