"""User instructions of a proxied request, counted by valgrind: with one route and with a thousand."""

import contextlib
import re
import socket

import probe
import servers
from idle import read_answer

TITLE = "user instructions of a small GET"
PATH = "/r{}/small"
ROUTES = 1000


class Counted(servers.Frontgate):
    """frontgate under callgrind, which slows it some fifty times."""

    def __init__(self, valgrind):
        self.valgrind = valgrind

    def find(self):
        return self.valgrind

    def command(self, config):
        flags = ["--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={config.parent}/counted"]
        return [*flags, super().find(), *super().command(config)]


def drive(port, count):
    """So many requests over all routes in turn, one at a time: how often the event loop turns must not differ."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        for number in range(count):
            # 389 and 1000 have no common divisor: every route comes, and neighbours do not follow each other.
            path = PATH.format(number * 389 % ROUTES)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: versus.example\r\n\r\n".encode())
            read_answer(client)


def collected(folder):
    """What the worker's thread executed: the busiest one. Others do as much as time passes, whatever is asked."""
    counts = []
    for table in folder.glob("counted-*"):
        found = re.search(r"^summary: (\d+)", table.read_text(), re.MULTILINE)
        counts += [int(found[1])] if found else []
        table.unlink()
    if not counts:
        raise SystemExit("valgrind counted nothing")
    return max(counts)


def run(valgrind, routes, requests, ground):
    proxy = Counted(valgrind)
    with contextlib.ExitStack() as running:
        proxy.start(ground, routes)
        running.callback(proxy.stop)
        probe.settled(proxy.port, ("get", "/small", ""), 0)
        drive(proxy.port, requests)
    return collected(ground.folder)


def measure(chosen, ground, valgrind):
    """The difference between N and 2N requests: start and end are in both, and cancel each other."""
    lines = []
    for routes in (0, ROUTES):
        few, many = (run(valgrind, routes, times * chosen.requests, ground) for times in (1, 2))
        lines.append((routes, (many - few) / chosen.requests))
    return {"title": TITLE, "requests": chosen.requests, "lines": lines, "text": table(lines)}


def table(lines):
    base = lines[0][1]
    rows = [f"**{TITLE}**", "", "| routes | instructions/request | × one route |", "|--:|--:|--:|"]
    for routes, count in lines:
        rows.append(f"| {max(routes, 1):,} | {count:,.0f} | {count / base:.3f} |")
    return "\n".join(rows) + "\n"
