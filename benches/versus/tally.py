"""Medians, spreads and ratios of rounds."""

from statistics import median, quantiles


def spread(values):
    """How far apart the middle half of the values lies, as a share of their median."""
    if len(values) < 2 or not median(values):
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / median(values)


def summary(rounds, base=None):
    """One proxy's rounds as one line; ratios are taken round by round to `base`, measured beside it."""
    cpu = [one["cpu_us"] for one in rounds]
    ratios = [one["cpu_us"] / other["cpu_us"] for one, other in zip(rounds, base or [])]
    return {
        "cpu_us": median(cpu),
        "ratio": median(ratios) if ratios else None,
        "ratio_spread": spread(ratios) if ratios else spread(cpu),
        "requests_per_s": median(one["requests_per_s"] for one in rounds),
        "p50_ms": median(one["p50_ms"] for one in rounds),
        "p99_ms": median(one["p99_ms"] for one in rounds),
        "rss_mib": median(one["rss_mib"] for one in rounds),
        "failures": sum(one["failures"] for one in rounds),
    }


def table(title, lines):
    """Markdown; `lines` are (name, summary) pairs."""
    head = ["", "CPU µs/request", "× nginx", "spread", "requests/s", "p50 ms", "p99 ms", "RSS MiB", "failures"]
    rows = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for name, one in lines:
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
        rows.append(
            f"| {name} | {one['cpu_us']:.1f} | {ratio} | {one['ratio_spread']:.1%} | {one['requests_per_s']:,.0f} "
            f"| {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {one['rss_mib']:.1f} | {one['failures']} |")
    return "\n".join(rows) + "\n"
