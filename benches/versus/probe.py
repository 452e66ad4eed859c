"""Shows, before anything is measured, that a proxy does the work it is measured for."""

import http.client
import json
import time

from machine import DEADLINE

REQUESTS = 40


def check(proxy, ground, token, scenario):
    """Sends requests on one connection and looks at what the upstream received."""
    host = f"versus.example:{proxy.port}"
    expected = {
        "host": host,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": host,
        "x-forwarded-port": str(proxy.port),
        "x-real-ip": "127.0.0.1",
    }
    expected = {name: value for name, value in expected.items() if name not in proxy.lacks}
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    sent = with_token(scenario)
    seen = [ask(client, host, sent) for _ in range(REQUESTS)]
    client.close()
    wrong = [f"{name} is {one[name]!r}, not {value!r}" for one in seen[:1] for name, value in expected.items()
             if one[name] != value and not (one[name] and name in proxy.differs)]
    if any(one["token"] != token for one in seen):
        wrong.append("another server answered")
    if "x-request-id" not in proxy.lacks and len({one["x-request-id"] for one in seen} - {""}) != REQUESTS:
        wrong.append("x-request-id is not of its own for every request")
    if {int(one["port"]) for one in seen} != set(ground.ups):
        wrong.append("not both upstreams are used")
    if len({one["connection"] for one in seen}) > REQUESTS // 4:
        wrong.append("connections to the upstreams are not kept")
    if wrong:
        raise SystemExit(f"{proxy.name} does not do the work: " + "; ".join(wrong))


def ask(client, host, sent):
    # A client's own X-Real-IP is no news: a proxy at the edge replaces it.
    client.request("GET", "/headers", headers={"Host": host, "X-Real-IP": "192.0.2.1", "X-Forwarded-Proto": "https", **sent})
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {body[:200]!r}")
    return json.loads(body)


def settled(port, scenario, routes):
    """The first answer of 200, or the last other one: some listen before they have read their routes."""
    deadline = time.monotonic() + DEADLINE
    while True:
        answer = answers(port, scenario, routes)
        if answer[0] == 200 or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def answers(port, scenario, routes):
    """One request of a scenario: status and length of the answer's body, as the load will get them."""
    kind, path, parameter = scenario
    body = None
    if kind == "post":
        body = "x" * int(parameter)
    elif kind == "json":
        body = parameter
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("POST" if body else "GET", path.replace("%d", str(max(routes - 1, 0))), body, with_token(scenario))
    answer = client.getresponse()
    length = len(answer.read())
    client.close()
    return answer.status, length




def bearer(scenario):
    """The token of a scenario, the first of several; None where it has none."""
    kind, _, parameter = scenario
    if kind == "bearers":
        with open(parameter, encoding="ascii") as tokens:
            return tokens.readline().strip()
    return parameter if kind == "bearer" else None


def with_token(scenario):
    token = bearer(scenario)
    return {"Authorization": f"Bearer {token}"} if token else {}
