"""Memory of idle keep-alive connections: what each costs the proxy beyond what it holds without them."""

import contextlib
import resource
import socket
import time

import probe

TITLE = "idle keep-alive connections"
CONNECTIONS = 10_000
# So many ask at once: buffers were used, and by more than one at a time.
WAVE = 100
REQUEST = b"GET /small HTTP/1.1\r\nHost: versus.example\r\n\r\n"
# From one source address there are 28,000 ports to a listener; others may use some.
PER_ADDRESS = 5_000
REST = 6  # seconds until memory is read: proxies take a moment to give back what only busy connections need


def raise_limit(files):
    """For this process and those it starts; root may go above the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(hard, files)))
        except (ValueError, OSError):
            raise SystemExit(f"{files} open files are needed, {hard} are allowed: ulimit -Hn") from None


def open_all(port, count):
    """Connections that have each had one answer and lie idle now."""
    opened = []
    while len(opened) < count:
        wave = []
        for number in range(len(opened), min(len(opened) + WAVE, count)):
            source = f"127.0.1.{1 + number // PER_ADDRESS}"
            wave.append(socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)))
        for client in wave:
            client.sendall(REQUEST)
        for client in wave:
            read_answer(client)
        opened += wave
    return opened


def read_answer(client):
    got = b""
    while not got.endswith(b"hello, world"):
        part = client.recv(4096)
        if not part:
            raise SystemExit(f"no answer, only {got!r}")
        got += part
    if not got.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"answered {got!r}")


def alive(clients):
    """How many are still open: a proxy that closes some must not pass for one that holds them cheaply."""
    count = 0
    for client in clients:
        client.setblocking(False)
        try:
            count += bool(client.recv(1))
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def measure(found, ground):
    """Each proxy by itself, one after the other: memory does not depend on the machine's mood."""
    raise_limit(CONNECTIONS + 2000)
    lines = []
    for proxy in [kind() for kind in found if kind.loads is None]:
        with contextlib.ExitStack() as running:
            proxy.start(ground, 0)
            running.callback(proxy.stop)
            probe.settled(proxy.port, ("get", "/small", ""), 0)
            # What any load leaves behind is no cost of a connection that lies idle.
            for client in open_all(proxy.port, WAVE):
                client.close()
            time.sleep(REST)
            before = proxy.process.pss_kib()
            clients = open_all(proxy.port, CONNECTIONS)
            for client in clients:
                running.callback(client.close)
            time.sleep(REST)
            after = proxy.process.pss_kib()
            if alive(clients) < CONNECTIONS:
                raise SystemExit(f"{proxy.name} holds {alive(clients)} of {CONNECTIONS} connections")
        lines.append((proxy.name, {"before_kib": before, "after_kib": after, "bytes": per_connection(before, after)}))
    return {"title": TITLE, "connections": CONNECTIONS, "lines": lines, "text": table(lines)}


def per_connection(before_kib, after_kib):
    return (after_kib - before_kib) * 1024 / CONNECTIONS


def table(lines):
    rows = [f"**{CONNECTIONS:,} {TITLE}**", "", "| | bytes/connection | MiB with them | MiB before |", "|---|--:|--:|--:|"]
    for name, one in lines:
        rows.append(f"| {name} | {one['bytes']:,.0f} | {one['after_kib'] / 1024:.1f} | {one['before_kib'] / 1024:.1f} |")
    return "\n".join(rows) + "\n"
