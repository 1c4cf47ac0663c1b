"""patchpost as the benches use it: the release build, in a folder of its own, on free loopback ports."""

import json

from frame import ROOT, Failed, cpu_of_tree, stop, until

BINARY = ROOT / "target" / "release" / "patchpost"
ADDRESS = "bench@lists.invalid"


def engine(bench):
    """The program of parts of patchpost, `benches/engine.rs`; built by the first row that wants it."""
    built = bench.run(["cargo", "bench", "--locked", "--quiet", "--no-run", "--bench", "engine", "--message-format", "json"], limit=1800, cwd=ROOT)
    lines = (json.loads(line) for line in built.output.splitlines())
    return next(line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == "engine")


class Product:
    """One data folder with one list, `bench`."""

    def __init__(self, bench, name):
        if not BINARY.exists():
            raise Failed(f"{BINARY} is not built")
        self.bench = bench
        self.data = bench.folder(name)
        self.env = {"PATCHPOST_DATA": self.data, "PATCHPOST_REPOS_FETCH_MINUTES": 0}
        self.child = None
        self.addresses = {}
        # The server makes the folder's database.
        self.serve()
        self.end()
        self.command("list", "create", "bench", "--address", ADDRESS, "--description", "Bench", "--moderation", "none")

    def command(self, *words, limit=900):
        """Runs a command of patchpost to its end."""
        return self.bench.run([BINARY, *words], self.env, limit)

    def serve(self):
        """Starts the server; returns when it listens."""
        ready = self.data / "ready.json"
        ready.unlink(missing_ok=True)
        listen = {f"PATCHPOST_{part}_LISTEN": "127.0.0.1:0" for part in ("SMTP", "LMTP", "HTTP", "OPS")}
        # More than the sessions of a bench: a closed connection may be counted for a moment longer.
        limits = {"PATCHPOST_SMTP_MAX_CONNECTIONS_PER_IP": 500}
        self.child = self.bench.start(
            [BINARY, "serve", "--ready-file", ready], self.data / "log", {**self.env, **listen, **limits})
        until("patchpost to listen", ready.exists)
        self.addresses = json.loads(ready.read_text())

    def end(self):
        stop(self.child)

    def url(self):
        return f"http://{self.addresses['http']}"

    def cpu(self):
        return cpu_of_tree(self.child.pid)

    def owed(self, kind=""):
        """Jobs that are not done yet, of one kind or of all."""
        jobs = json.loads(self.command("jobs", "--json").output)
        return sum(1 for job in jobs if kind in ("", job["kind"]))
