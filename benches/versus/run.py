#!/usr/bin/env python3
"""Measures the CPU time of a proxied request: frontgate beside nginx, HAProxy and whatever else is installed."""

import argparse
import contextlib
import datetime
import json
import pathlib
import re
import subprocess
import tempfile
import time

import flood
import fresh
import guarded
import idle
import instructions
import machine
import probe
import rate
import resilience
import servers
import tally

HERE = pathlib.Path(__file__).resolve().parent
# Name: title, what load.lua sends (kind, path, parameter), routes, bytes of a right answer's body.
SCENARIOS = {
    "small": ("small GET", ("get", "/small", ""), 0, 12),
    "16k": ("16 KiB GET", ("get", "/16k", ""), 0, 16 << 10),
    "1m": ("1 MiB GET", ("get", "/1m", ""), 0, 1 << 20),
    "routes": ("small GET over 1,000 routes", ("get", "/r%d/small", "1000"), 1000, 12),
    "close": ("small GET, a connection each", ("close", "/small", ""), 0, 12),
    "guarded": ("small GET with a token (RS256, the same again and again) and a limit by its claim", ("bearer", "/small", ""), 0, 12),
    "resilient": ("small GET with every policy about failing instances on", ("get", "/small", ""), 0, 12),
    "post": ("64 KiB POST", ("post", "/upload", str(64 << 10)), 0, 12),
}
# What is measured in another way than CPU time under as much load as there can be: only when asked for.
OTHERS = {"rate": rate.TITLE, "tokens": fresh.TITLE, "flood": flood.TITLE, "idle": idle.TITLE, "instructions": instructions.TITLE,
          "outage": resilience.OUTAGE, "uneven": resilience.UNEVEN}
REPEATS = 3
STEADY = 0.05


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    names = [proxy.name for proxy in servers.ALL]
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(names)}; default: all that are installed")
    parser.add_argument("--scenarios", metavar="NAMES", default=",".join(SCENARIOS),
                        help=f"default: %(default)s; there are also {','.join(OTHERS)}")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=3, help="of load in a round; default: %(default)s")
    parser.add_argument("--connections", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=20_000, help="of which instructions are counted; default: %(default)s")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",") if chosen.only else None
    chosen.scenarios = chosen.scenarios.split(",")
    for given, known in ((chosen.only or [], names), (chosen.scenarios, {**SCENARIOS, **OTHERS})):
        for name in given:
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    return chosen


def present(only):
    """The proxies that take part, nginx first; one that was asked for by name must be there."""
    for name in ("nginx", "haproxy"):
        if only is None or name in only:
            servers.get(name)
    found = []
    for proxy in servers.ALL:
        if only is not None and proxy.name not in only:
            continue
        if proxy().find():
            found.append(proxy)
        elif only is not None or proxy is servers.Frontgate:
            raise SystemExit(f"{proxy.name} is missing")
        else:
            print(f"{proxy.name} is not installed")
    return found


def load(wrk, proxy, scenario, chosen, ground):
    """One round: CPU time of the proxy's processes around a run of wrk."""
    kind, path, parameter = scenario
    url = f"http://127.0.0.1:{proxy.port}"
    command = ["taskset", "-c", ",".join(map(str, ground.other_cores)), wrk, "-t1", f"-c{chosen.connections}",
               f"-d{chosen.seconds}s", "--timeout", "10s", "-s", HERE / "load.lua", url, "--", kind, path, parameter]
    before = proxy.process.cpu_ns()
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          timeout=60 + 2 * chosen.seconds)
    cpu = proxy.process.cpu_ns() - before
    return reading(said.stdout, said.stderr, cpu, proxy.process.rss_kib())


def reading(said, complaint, cpu_ns, rss_kib):
    """wrk's numbers and the proxy's as one round."""
    found = re.search(r"^versus (\{.*\})$", said, re.MULTILINE)
    if not found:
        raise SystemExit(f"wrk said no numbers:\n{said}{complaint}")
    one = json.loads(found[1])
    if not one["requests"]:
        raise SystemExit(f"no request was answered:\n{said}")
    return {
        "cpu_us": cpu_ns / 1000 / one["requests"],
        "requests": one["requests"],
        "requests_per_s": one["requests"] / (one["duration_us"] / 1e6),
        "p50_ms": one["p50_us"] / 1000,
        "p99_ms": one["p99_us"] / 1000,
        "rss_mib": rss_kib / 1024,
        "failures": one["status"] + one["socket"],
    }


def measure_other(name, found, chosen, wrk, ground):
    """What has a module of its own."""
    match name:
        case "rate":
            return rate.measure(found, chosen, ground, lambda proxy, scenario: load(wrk, proxy, scenario, chosen, ground))
        case "tokens":
            return fresh.measure(chosen, ground)
        case "flood":
            return flood.measure(chosen, ground)
        case "idle":
            return idle.measure(found, ground)
        case "outage":
            return resilience.outage(chosen, ground, lambda proxy, scenario: load(wrk, proxy, scenario, chosen, ground))
        case "uneven":
            return resilience.uneven(chosen, ground)
        case _:
            return instructions.measure(chosen, ground, servers.get("valgrind"))


def taking_part(found, name, keys):
    """The proxies of a scenario with what each is to be sent."""
    _, scenario, _, _ = SCENARIOS[name]
    if name == "guarded":
        token = keys.token("caller")
        return [(proxy, (*scenario[:2], token)) for proxy in guarded.taking_part(found, keys)]
    if name == "resilient":
        return [(proxy, scenario) for proxy in resilience.taking_part(found)]
    chosen = [proxy() for proxy in found if proxy.loads is None or name in proxy.loads]
    return [(proxy, (proxy.loads or {}).get(name, scenario)) for proxy in chosen]


def measure(name, found, chosen, wrk, ground, token):
    """All rounds of one scenario, interleaved; the steadiest of at most three goes."""
    title, _, routes, length = SCENARIOS[name]
    with contextlib.ExitStack() as running:
        sent = taking_part(found, name, guarded.Keys(ground.folder) if name == "guarded" else None)
        proxies, loads = [proxy for proxy, _ in sent], {proxy.name: scenario for proxy, scenario in sent}
        for proxy in proxies:
            proxy.start(ground, routes)
            running.callback(proxy.stop)
            answer = probe.settled(proxy.port, loads[proxy.name], routes)
            if answer[0] != 200 or (proxy.loads is None and answer[1] != length):
                raise SystemExit(f"{proxy.name} answers {answer} to {name}, not 200 and {length} bytes")
            if proxy.loads is None:
                probe.check(proxy, ground, token, loads[proxy.name])
            if name == "guarded":
                guarded.check(proxy, probe.bearer(loads[proxy.name]))
        warm = argparse.Namespace(**{**vars(chosen), "seconds": 1})
        for proxy in proxies:
            load(wrk, proxy, loads[proxy.name], warm, ground)
        goes = []
        while len(goes) < REPEATS:
            rounds = {proxy.name: [] for proxy in proxies}
            for _ in range(chosen.rounds):
                for proxy in proxies:
                    rounds[proxy.name].append(load(wrk, proxy, loads[proxy.name], chosen, ground))
            lines = summarised(rounds)
            goes.append((max(one["ratio_spread"] for _, one in lines), lines, rounds))
            if goes[-1][0] <= STEADY or chosen.rounds < 3:
                break
        _, lines, rounds = min(goes, key=lambda go: go[0])
    return {"title": title, "goes": len(goes), "lines": lines, "rounds": rounds}


def summarised(rounds):
    base = rounds.get("nginx")
    return [(name, tally.summary(own, base)) for name, own in rounds.items()]


def main():
    chosen = options()
    found = present(chosen.only)
    wrk, nginx = servers.get("wrk"), servers.get("nginx")
    began = time.monotonic()
    about = {**machine.about(), **vars(chosen), "versions": {proxy.name: proxy().version() for proxy in found}}
    per_go = (chosen.rounds * chosen.seconds + 2) * len(found) * sum(name in SCENARIOS for name in chosen.scenarios)
    print(json.dumps(about), flush=True)
    if per_go:
        print(f"about {per_go} s, at most {per_go * REPEATS} s\n", flush=True)
    if about["load_average"] > 0.5:
        print("the machine is busy with something else: the numbers will be unsteady\n", flush=True)
    results = {}
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        # nginx's worker gives up root and must still read its files.
        pathlib.Path(folder).chmod(0o755)
        ground = servers.Ground(pathlib.Path(folder), *machine.split_cores())
        upstream = servers.Upstream(nginx, ground)
        try:
            for name in chosen.scenarios:
                if name in OTHERS:
                    results[name] = measure_other(name, found, chosen, wrk, ground)
                    print(results[name]["text"], flush=True)
                    continue
                results[name] = measure(name, found, chosen, wrk, ground, upstream.token)
                print(tally.table(results[name]["title"], results[name]["lines"]), flush=True)
        finally:
            upstream.process.stop()
    report = HERE / "results" / f"{datetime.datetime.now():%Y%m%d-%H%M%S}.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"about": about, "scenarios": results}, indent=1))
    print(f"{time.monotonic() - began:.0f} s; raw numbers in {report.relative_to(HERE)}")


if __name__ == "__main__":
    main()
