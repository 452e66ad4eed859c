"""Latency at one constant rate for all: half of the most requests that nginx can answer."""

import contextlib
import json
import subprocess
from statistics import median

import probe
import servers
import tally

HERE = servers.HERE
TITLE = "small GET at half of nginx's highest rate, open loop"
PATH = "/small"
SCENARIO = ("get", PATH, "")
CEILINGS = 3


def build(folder):
    """The generator, from pace.rs: the compiler is here, or frontgate could not have been built."""
    program = folder / "pace"
    subprocess.run(["rustc", "-O", "--edition", "2024", "-o", program, HERE / "pace.rs"], check=True)
    return program


def round_of(pace, proxy, rate, chosen, ground):
    command = ["taskset", "-c", ",".join(map(str, ground.other_cores)), pace, f"127.0.0.1:{proxy.port}", PATH,
               rate, chosen.connections, chosen.seconds]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          timeout=60 + 2 * chosen.seconds)
    return reading(said.stdout, said.stderr, rate, chosen.seconds)


def reading(said, complaint, rate, seconds):
    """One round's numbers; one that did not keep the rate is no measurement."""
    try:
        one = json.loads(said)
    except json.JSONDecodeError:
        raise SystemExit(f"the generator said no numbers:\n{said}{complaint}") from None
    if one["requests"] + one["failures"] < 0.98 * rate * seconds:
        raise SystemExit(f"{one['requests']} requests in {seconds} s are not {rate} a second")
    return {**{f"{name}_ms": one[f"{name}_us"] / 1000 for name in ("p50", "p99", "p999", "late_p99")},
            "failures": one["failures"]}


def summary(rounds, base):
    """Medians; the ratio of p99 is taken round by round to nginx, measured beside it."""
    ratios = [one["p99_ms"] / other["p99_ms"] for one, other in zip(rounds, base)]
    names = ("p50_ms", "p99_ms", "p999_ms", "late_p99_ms")
    return {**{name: median(one[name] for one in rounds) for name in names}, "ratio": median(ratios),
            "ratio_spread": tally.spread(ratios), "failures": sum(one["failures"] for one in rounds)}


def table(rate, lines):
    rows = [f"**{TITLE}: {rate:,} requests/s**", "",
            "| | p50 ms | p99 ms | p99.9 ms | p99 × nginx | spread | sent late p99 ms | failures |",
            "|---" + "|--:" * 7 + "|"]
    for name, one in lines:
        rows.append(f"| {name} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {one['p999_ms']:.2f} | {one['ratio']:.2f} "
                    f"| {one['ratio_spread']:.1%} | {one['late_p99_ms']:.2f} | {one['failures']} |")
    return "\n".join(rows) + "\n"


def measure(found, chosen, ground, closed_loop):
    """All rounds, interleaved. `closed_loop(proxy, scenario)` is one round of as much load as a proxy takes."""
    proxies = [proxy() for proxy in found if proxy.loads is None]
    if not any(proxy.name == "nginx" for proxy in proxies):
        raise SystemExit("the rate is measured at nginx: it must take part")
    pace = build(ground.folder)
    with contextlib.ExitStack() as running:
        for proxy in proxies:
            proxy.start(ground, 0)
            running.callback(proxy.stop)
            probe.settled(proxy.port, SCENARIO, 0)
        nginx = next(proxy for proxy in proxies if proxy.name == "nginx")
        ceiling = median(closed_loop(nginx, SCENARIO)["requests_per_s"] for _ in range(CEILINGS))
        rate = int(ceiling / 2)
        rounds = {proxy.name: [] for proxy in proxies}
        for _ in range(chosen.rounds):
            for proxy in proxies:
                rounds[proxy.name].append(round_of(pace, proxy, rate, chosen, ground))
    lines = [(name, summary(own, rounds["nginx"])) for name, own in rounds.items()]
    return {"title": TITLE, "rate": rate, "lines": lines, "rounds": rounds, "text": table(rate, lines)}
