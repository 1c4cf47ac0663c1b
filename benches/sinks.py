"""Where copies end: Postfix's `smtp-sink`, which counts them, and a relay of our own that has destinations with bad manners."""

import asyncio
import re
import threading
import time

from frame import until
from postfix import free_port


class Sink:
    """`smtp-sink`: takes all mail and counts it."""

    def __init__(self, bench, name):
        self.port = free_port()
        self.file = bench.folder(name) / "count"
        bench.start(["smtp-sink", "-u", "nobody", "-c", "-m", "400", f"127.0.0.1:{self.port}", "400"], self.file)
        until("smtp-sink to listen", self.listens)

    def listens(self):
        import socket
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def count(self):
        """Mails until now."""
        with open(self.file, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 400))
            found = re.findall(rb"mesg=(\d+)", file.read())
        return int(found[-1]) if found else 0


class Relay:
    """A relay that passes on what destinations say, and waits for them: `refusing` is answered 421, `slow` takes 1 KB a second.

    It runs in a thread of its own until the bench is closed, and notes when each other mail came.
    """

    RATE = 1024

    def __init__(self, bench):
        self.refusing = self.slow = ""
        self.arrived, self.port = [], free_port()
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        thread.start()
        ready.wait(10)
        bench.closers.append(lambda: self.loop.call_soon_threadsafe(self.loop.stop))

    def run(self, ready):
        asyncio.set_event_loop(self.loop)
        server = asyncio.start_server(self.talk, "127.0.0.1", self.port, limit=1 << 20)
        self.loop.run_until_complete(server)
        ready.set()
        self.loop.run_forever()

    def begin(self, refusing="", slow=""):
        """From now on."""
        self.refusing, self.slow, self.arrived = refusing, slow, []

    async def talk(self, reader, writer):
        try:
            writer.write(b"220 relay.invalid\r\n")
            domain = ""
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"EHLO":
                    writer.write(b"250-relay.invalid\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif word == b"RCPT":
                    domain = line.split(b"@", 1)[1].split(b">", 1)[0].decode()
                    if domain == self.refusing:
                        writer.write(b"421 4.7.0 come again later\r\n")
                        break
                    writer.write(b"250 2.1.5 ok\r\n")
                elif word == b"DATA":
                    writer.write(b"354 go\r\n")
                    await self.take(reader, domain)
                    writer.write(b"250 2.0.0 taken\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    break
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
                await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def take(self, reader, domain):
        mail = await reader.readuntil(b"\r\n.\r\n")
        if domain == self.slow:
            await asyncio.sleep(len(mail) / self.RATE)
        elif domain != self.refusing:
            self.arrived.append(time.monotonic())
