"""What a flood of bad tokens on one route does to the latency of another."""

import contextlib
import json
import subprocess
from statistics import median

import guarded
import probe
import rate
import servers
import tally

TITLE = "small GET on an open route while bad tokens flood another"
# Of the other route, and of the flood; both well below what a core can answer.
RATE, FLOOD = 4000, 4000
TOKENS = 4096
# In the order of the rounds: nothing beside it; as many requests that need no verification; ever new bad signatures.
KINDS = ("calm", "no tokens", "bad tokens")


class Two(servers.Frontgate):
    """Its guarded route takes a thousand a second from each client before it looks at a token."""

    name = "frontgate two"

    def routes(self, count, ground):
        return '[[route]]\nname = "open"\npath = "/open/*"\nservice = "up"'


def floods(keys, folder):
    """Files of what the flood sends: a bad signature under a known key costs a verification; a word does not."""
    head, claims, signature = keys.token("caller").split(".")
    bad = folder / "bad"
    bad.write_text("".join(f"{head}.{claims}.{number:05d}{signature[5:]}\n" for number in range(TOKENS)))
    words = folder / "words"
    words.write_text("".join(f"word{number}\n" for number in range(TOKENS)))
    return {"calm": None, "no tokens": words, "bad tokens": bad}


def pace(program, proxy, path, chosen, ground, tokens=None):
    requests = FLOOD if tokens else RATE
    command = ["taskset", "-c", ",".join(map(str, ground.other_cores)), program, f"127.0.0.1:{proxy.port}", path,
               requests, 16, chosen.seconds, *([tokens] if tokens else [])]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def round_of(program, proxy, chosen, ground, tokens):
    flood = pace(program, proxy, "/small", chosen, ground, tokens) if tokens else None
    measured = pace(program, proxy, "/open/small", chosen, ground)
    one = rate.reading(measured.communicate()[0], "", RATE, chosen.seconds)
    one["flooded"] = json.loads(flood.communicate()[0])["requests"] if flood else 0
    return one


def measure(chosen, ground):
    """All rounds, interleaved: the machine's slow minutes hit all three."""
    program = rate.build(ground.folder)
    keys = guarded.Keys(ground.folder)
    sent = floods(keys, ground.folder)
    rounds = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as running:
        proxy = Two()
        proxy.fill = {**guarded.frontgate(keys)}
        proxy.fill["guards"] = 'auth = ["jwt"]\nrate_limit = [{ rate = "1000/s", key = "client_ip" }]'
        proxy.start(ground, 0)
        running.callback(proxy.stop)
        probe.settled(proxy.port, ("get", "/open/small", ""), 0)
        for _ in range(chosen.rounds):
            for kind in KINDS:
                rounds[kind].append(round_of(program, proxy, chosen, ground, sent[kind]))
    return {"title": TITLE, "rounds": rounds, "text": table(rounds)}


def table(rounds):
    rows = [f"**{TITLE}: {RATE:,} requests/s beside {FLOOD:,} a second**", "",
            "| beside it | p50 ms | p99 ms | × calm | × no tokens | spread |", "|---" + "|--:" * 5 + "|"]
    for kind, own in rounds.items():
        to = {base: [one["p99_ms"] / other["p99_ms"] for one, other in zip(own, rounds[base])] for base in KINDS[:2]}
        p50, p99 = (median(one[name] for one in own) for name in ("p50_ms", "p99_ms"))
        rows.append(f"| {kind} | {p50:.3f} | {p99:.3f} | {median(to['calm']):.2f} | {median(to['no tokens']):.2f} "
                    f"| {tally.spread(to['calm']):.1%} |")
    return "\n".join(rows) + "\n"
