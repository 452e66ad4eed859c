"""What the policies about failing instances cost, what a refusal costs, and what a good balancer saves."""

import contextlib
import subprocess
import types
from statistics import median

import machine
import probe
import rate
import servers
import tally

# All of them, and none of them; what nginx does beside them is neither.
ALL = {
    "policies": "\n".join([
        'breaker = { kind = "ratio" }',
        "outlier = { success_rate = true }",
        'health = { kind = "tcp", interval = "1s" }',
        'slow_start = "10s"',
    ]),
    "guards": 'retry = { attempts = 3, per_try_timeout = "5s", on = ["connect", "reset", "timeout", "5xx"] }',
}
NONE = {"policies": "outlier = false\nretry_budget = false\npanic = false", "guards": "retry = false"}


class Bare(servers.Frontgate):
    """What the policies cost is the distance to the same without them."""

    name = "frontgate bare"
    fill = NONE


def taking_part(found):
    """nginx, ours with all policies, ours with none."""
    proxies = []
    for kind in found:
        if kind is servers.Nginx:
            proxies.append(kind())
        if kind is servers.Frontgate:
            ours = kind()
            ours.fill = ALL
            proxies += [ours, Bare()]
    return proxies


OUTAGE = "small GET to a service whose breaker is open"


class Open(servers.Frontgate):
    """Its instances are gone, and it knows."""

    name = "frontgate open breaker"

    def start(self, ground, routes):
        gone = types.SimpleNamespace(**{**vars(ground), "ups": [machine.free_port(), machine.free_port()]})
        self.fill = {"policies": 'outlier = false\nbreaker = { kind = "consecutive", failures = 1, open = "1h" }'}
        super().start(gone, routes)


def outage(chosen, ground, load):
    """A refused request beside a proxied one, in interleaved rounds of as much load as there can be."""
    rounds = {}
    with contextlib.ExitStack() as running:
        proxies = [servers.Frontgate(), Open()]
        for proxy in proxies:
            proxy.start(ground, 0)
            running.callback(proxy.stop)
            rounds[proxy.name] = []
        probe.settled(proxies[0].port, ("get", "/small", ""), 0)
        answers = [probe.answers(proxies[1].port, ("get", "/small", ""), 0)[0] for _ in range(8)]
        if answers[-1] != 503:
            raise SystemExit(f"the breaker does not refuse: {answers}")
        for _ in range(chosen.rounds):
            for proxy in proxies:
                rounds[proxy.name].append(load(proxy, ("get", "/small", "")))
    base = rounds["frontgate"]
    lines = [(name, tally.summary(own, base)) for name, own in rounds.items()]
    text = tally.table(OUTAGE, lines).replace("× nginx", "× proxied")
    return {"title": OUTAGE, "lines": lines, "rounds": rounds, "text": text}


UNEVEN = "five instances, one ten times slower, at half of what they can do together"
# Each does two at a time in 4 ms, the last in 40 ms: 4 × 500 + 50 a second.
SERVERS, MILLIS, PLACES, RATE = 5, 4, 2, 1025
BALANCERS = ("round_robin", "random", "least_request", "peak_ewma")


class Balanced(servers.Frontgate):
    """Before instances of their own."""

    def __init__(self, balance, ports):
        self.name = self.balance = balance
        self.ports = ports

    def start(self, ground, routes):
        ports = ", ".join(f'"http://127.0.0.1:{port}"' for port in self.ports)
        self.fill = {
            "routes": f'[[route]]\nname = "uneven"\npath = "/uneven"\nservice = "uneven"\ntimeout = "60s"',
            "tables": f'[service.uneven]\nendpoints = [{ports}]\nbalance = "{self.balance}"',
        }
        super().start(ground, routes)

    def routes(self, count, ground):
        return self.fill["routes"]


def uneven(chosen, ground):
    """The same load through each balancer, in interleaved rounds; the instances rest between them."""
    pace = rate.build(ground.folder)
    program = ground.folder / "slow"
    subprocess.run(["rustc", "-O", "--edition", "2024", "-o", program, servers.HERE / "slow.rs"], check=True)
    rounds = {balance: [] for balance in BALANCERS}
    for _ in range(chosen.rounds):
        for balance in BALANCERS:
            rounds[balance].append(uneven_round(program, pace, balance, chosen, ground))
    return {"title": UNEVEN, "rounds": rounds, "text": uneven_table(rounds)}


def uneven_round(program, pace, balance, chosen, ground):
    """Everything anew: a queue that a round left behind would be the next one's."""
    command = ["taskset", "-c", ",".join(map(str, ground.other_cores)), program, SERVERS, MILLIS, PLACES]
    slow = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as running:
        running.callback(slow.wait)
        running.callback(slow.stdin.close)
        proxy = Balanced(balance, slow.stdout.readline().split())
        proxy.start(ground, 0)
        running.callback(proxy.stop)
        probe.settled(proxy.port, ("get", "/uneven", ""), 0)
        load = ["taskset", "-c", ",".join(map(str, ground.other_cores)), pace, f"127.0.0.1:{proxy.port}", "/uneven",
                RATE, chosen.connections, chosen.seconds]
        said = subprocess.run(list(map(str, load)), capture_output=True, text=True, check=False,
                              timeout=120 + 2 * chosen.seconds)
        # A round robin whose slow instance holds every connection cannot keep the rate: its latency says so.
        return rate.reading(said.stdout, said.stderr, 0, chosen.seconds)


def uneven_table(rounds):
    rows = [f"**{UNEVEN}: {RATE:,} requests/s**", "",
            "| balance | p50 ms | p99 ms | p99 × round_robin | spread | failures |", "|---" + "|--:" * 5 + "|"]
    for balance, own in rounds.items():
        ratios = [one["p99_ms"] / other["p99_ms"] for one, other in zip(own, rounds["round_robin"])]
        p50, p99 = (median(one[name] for one in own) for name in ("p50_ms", "p99_ms"))
        failures = sum(one["failures"] for one in own)
        rows.append(f"| {balance} | {p50:.2f} | {p99:.2f} | {median(ratios):.2f} | {tally.spread(ratios):.1%} | {failures} |")
    return "\n".join(rows) + "\n"
