"""What a token costs that was not seen before: an open loop with the same token, and one with ever new ones, at one rate for both.

As much load as there can be would not do: the slower of two lets the other core sleep more often, and waking it costs more than half of what is to be measured."""

import contextlib
import json
import subprocess
from statistics import median

import guarded
import probe
import rate
import servers
import tally

TITLE = "a token that was not seen before (RS256)"
RATE, CONNECTIONS = 6000, 64
KINDS = ("open", "same", "new")


def round_of(program, proxy, chosen, ground, tokens):
    """CPU time per request, in µs: all of it, and what was not the kernel's."""
    command = ["taskset", "-c", ",".join(map(str, ground.other_cores)), program, f"127.0.0.1:{proxy.port}", "/small",
               RATE, CONNECTIONS, chosen.seconds, *([tokens, "200"] if tokens else [])]
    before, user = proxy.process.cpu_ns(), proxy.process.user_ns()
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          timeout=60 + 2 * chosen.seconds)
    cpu, user = proxy.process.cpu_ns() - before, proxy.process.user_ns() - user
    one = json.loads(said.stdout)
    if one["failures"] or one["requests"] < 0.98 * RATE * chosen.seconds:
        raise SystemExit(f"not {RATE} requests a second, all answered: {said.stdout}")
    # It warms up for 0.3 s, whose requests are not among those it counts.
    sent = one["requests"] * (chosen.seconds + 0.3) / chosen.seconds
    return {"cpu_us": cpu / 1000 / sent, "user_us": user / 1000 / sent}


def measure(chosen, ground):
    """All rounds, interleaved."""
    program = rate.build(ground.folder)
    keys = guarded.Keys(ground.folder)
    same = ground.folder / "same"
    same.write_text(keys.token("caller") + "\n")
    sent = {"open": None, "same": same, "new": keys.tokens(ground.folder)}
    rounds = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as running:
        proxies = {kind: servers.Frontgate() for kind in KINDS}
        for kind, proxy in proxies.items():
            words = guarded.frontgate(keys)
            proxy.name = f"frontgate {kind}"
            proxy.fill = {} if kind == "open" else {**words, "guards": 'auth = ["jwt"]'}
            proxy.start(ground, 0)
            running.callback(proxy.stop)
            load = ("get", "/small", "") if kind == "open" else ("bearers", "/small", str(sent[kind]))
            if probe.settled(proxy.port, load, 0)[0] != 200:
                raise SystemExit(f"{proxy.name} does not take its token")
        for _ in range(chosen.rounds):
            for kind, proxy in proxies.items():
                rounds[kind].append(round_of(program, proxy, chosen, ground, sent[kind]))
    one = 1e6 / guarded.verifies(ground.proxy_cores[0])
    return {"title": TITLE, "rounds": rounds, "verification_us": one, "text": table(rounds, one)}


def table(rounds, one):
    """`one` is openssl's verification in µs."""
    rows = [f"**{TITLE}: {RATE:,} requests/s each**", "",
            "| token | CPU µs/request | × open | outside the kernel | spread |", "|---" + "|--:" * 4 + "|"]
    for kind, own in rounds.items():
        ratios = [mine["cpu_us"] / base["cpu_us"] for mine, base in zip(own, rounds["open"])]
        cpu, user = (median(each[name] for each in own) for name in ("cpu_us", "user_us"))
        rows.append(f"| {kind} | {cpu:.1f} | {median(ratios):.2f} | {user:.1f} | {tally.spread(ratios):.1%} |")
    extra = median(new["cpu_us"] - same["cpu_us"] for new, same in zip(rounds["new"], rounds["same"]))
    rows += ["", f"A new one costs {extra:.1f} µs more than the same: {extra / one:.2f} × openssl's verification of {one:.1f} µs."]
    return "\n".join(rows) + "\n"
