"""The parts that turn raw readings into numbers; the rest is shown right by the probe before each measurement."""

import base64
import contextlib
import io
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock

import guarded
import idle
import instructions
import machine
import probe
import rate
import run
import servers
import tally


def one(cpu, failures=0):
    return {"cpu_us": cpu, "requests_per_s": 1000.0, "p50_ms": 1.0, "p99_ms": 2.0, "rss_mib": 8.0, "failures": failures}


class Tally(unittest.TestCase):
    def test_the_ratio_is_the_median_of_the_rounds_ratios(self):
        # The machine was slower in the second round: the medians' ratio would be 1.0, round by round it is 0.5.
        nginx, ours = [one(20.0), one(80.0), one(20.0)], [one(10.0), one(40.0), one(20.0)]
        self.assertEqual(tally.summary(ours, nginx)["ratio"], 0.5)

    def test_the_spread_is_that_of_the_middle_half(self):
        self.assertEqual(tally.spread([10, 10, 10, 10, 50]), 0.0)
        self.assertAlmostEqual(tally.spread([9, 10, 10, 11, 12]), 0.1)
        self.assertEqual(tally.spread([10]), 0.0)

    def test_failures_add_up_over_rounds(self):
        self.assertEqual(tally.summary([one(1.0, 2), one(1.0, 3)])["failures"], 5)

    def test_a_table_shows_a_proxy_without_a_base(self):
        text = tally.table("small GET", [("frontgate", tally.summary([one(12.34)]))])
        self.assertIn("| frontgate | 12.3 |  | 0.0% | 1,000 | 1.00 | 2.00 | 8.0 | 0 |", text)


class Guarded(unittest.TestCase):
    def test_a_token_is_what_the_public_key_verifies(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = guarded.Keys(pathlib.Path(folder))
            head, claims, signature = keys.token("somebody").split(".")
            signed, written = pathlib.Path(folder, "signed"), pathlib.Path(folder, "signature")
            signed.write_text(f"{head}.{claims}")
            written.write_bytes(base64.urlsafe_b64decode(signature + "=="))
            said = guarded.openssl("dgst", "-sha256", "-verify", keys.public, "-signature", written, signed)
            self.assertEqual(said, b"Verified OK\n")
            self.assertEqual(len(base64.urlsafe_b64decode(json.loads(keys.jwks)["keys"][0]["n"] + "==")), 256)

    def test_the_first_of_several_tokens_is_the_one_that_is_shown_to_work(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("one\ntwo\n")
            file.flush()
            self.assertEqual(probe.bearer(("bearers", "/", file.name)), "one")
        self.assertEqual(probe.with_token(("bearer", "/", "a")), {"Authorization": "Bearer a"})
        self.assertEqual(probe.with_token(("get", "/", "")), {})


class Reading(unittest.TestCase):
    SAID = '\nversus {"requests":2000,"duration_us":500000,"p50_us":1500,"p99_us":9000,"status":3,"socket":4}\n'

    def test_cpu_is_divided_by_requests(self):
        got = run.reading("Running 1s test" + self.SAID, "", 40_000_000, 2048)
        self.assertEqual((got["cpu_us"], got["requests_per_s"], got["failures"]), (20.0, 4000.0, 7))
        self.assertEqual((got["p50_ms"], got["p99_ms"], got["rss_mib"]), (1.5, 9.0, 2.0))

    def test_silence_is_an_error(self):
        for said in ("unable to connect", self.SAID.replace("2000", "0")):
            with self.assertRaises(SystemExit):
                run.reading(said, "", 1, 1)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world"


@contextlib.contextmanager
def answering(stall=lambda number: 0):
    """A server for one connection; before its answer to request `number` it waits as long as `stall` says."""
    def converse(listener):
        client, _ = listener.accept()
        with client:
            number = 0
            while client.recv(4096):
                number += 1
                time.sleep(stall(number))
                client.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=converse, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


class Rate(unittest.TestCase):
    def test_a_stall_counts_for_every_request_that_was_due_meanwhile(self):
        with tempfile.TemporaryDirectory() as folder:
            pace = rate.build(pathlib.Path(folder))
            # 100 a second: behind one answer that takes 0.5 s, about 50 are late, a quarter of all.
            with answering(lambda number: 0.5 if number == 60 else 0) as port:
                said = subprocess.run([pace, f"127.0.0.1:{port}", "/", "100", "1", "2"], capture_output=True, text=True)
        got = rate.reading(said.stdout, said.stderr, 100, 2)
        self.assertLess(got["p50_ms"], 200)
        self.assertGreater(got["p99_ms"], 400)
        self.assertEqual(got["failures"], 0)

    def test_a_rate_that_was_not_kept_is_no_measurement(self):
        said = '{"requests":900,"p50_us":1,"p99_us":2,"p999_us":3,"late_p99_us":4,"failures":0}'
        self.assertEqual(rate.reading(said, "", 300, 3)["p999_ms"], 0.003)
        for wrong, at in ((said, 400), ("no address", 300)):
            with self.assertRaises(SystemExit):
                rate.reading(wrong, "", at, 3)

    def test_the_ratio_is_that_of_the_same_round(self):
        def one(p99):
            return {"p50_ms": 1.0, "p99_ms": p99, "p999_ms": 9.0, "late_p99_ms": 0.1, "failures": 1}
        got = rate.summary([one(2.0), one(8.0), one(2.0)], [one(1.0), one(4.0), one(2.0)])
        self.assertEqual((got["ratio"], got["p99_ms"], got["failures"]), (2.0, 2.0, 3))
        self.assertIn("| 2.00 |", rate.table(1000, [("frontgate", got)]))


class Idle(unittest.TestCase):
    def test_a_connection_that_was_closed_does_not_count_as_held(self):
        with answering() as port:
            held, (client, other) = idle.open_all(port, 1), socket.socketpair()
            other.close()
            self.assertEqual(idle.alive([*held, client]), 1)
            held[0].close()
            client.close()

    def test_memory_of_this_process_is_read_and_divided(self):
        self.assertGreater(machine.pss_kib(os.getpid()), 1024)
        self.assertEqual(machine.pss_kib(0), 0)
        self.assertEqual(idle.per_connection(1000, 1000 + idle.CONNECTIONS), 1024)


class Instructions(unittest.TestCase):
    def test_the_busiest_thread_is_the_workers(self):
        with tempfile.TemporaryDirectory() as folder:
            for number, said in enumerate(("events: Ir\nsummary: 7\n", "summary: 123456\n", "")):
                pathlib.Path(folder, f"counted-0{number}").write_text(said)
            self.assertEqual(instructions.collected(pathlib.Path(folder)), 123456)
            with self.assertRaises(SystemExit):
                instructions.collected(pathlib.Path(folder))

    def test_every_route_is_asked_in_turn(self):
        asked = {number * 389 % instructions.ROUTES for number in range(instructions.ROUTES)}
        self.assertEqual(len(asked), instructions.ROUTES)


class Machine(unittest.TestCase):
    def test_ticks_are_found_behind_any_name(self):
        line = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 100 1 1"
        self.assertEqual(machine.ticks(line), 42)

    def test_cpu_time_of_this_process_grows_with_work(self):
        before = machine.cpu_ns(os.getpid())
        sum(range(3_000_000))
        self.assertGreater(machine.cpu_ns(os.getpid()), before + 1_000_000)

    def test_only_own_listeners_count(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.assertIn(port, machine.listening([os.getpid()]))
            self.assertNotIn(port, machine.listening([os.getppid()]))


class Configs(unittest.TestCase):
    def test_every_placeholder_of_every_config_is_filled(self):
        with tempfile.TemporaryDirectory() as folder:
            ground = servers.Ground(pathlib.Path(folder), [0], [1], [1001, 1002])
            for kind in servers.ALL:
                if kind.template:
                    proxy = kind()
                    routes = proxy.routes(3, ground)
                    text = servers.write(kind.template, ground, port=1000, routes=routes).read_text()
                    self.assertNotRegex(text, r"@[a-z_]+@", kind.name)

    def test_an_unknown_name_is_refused(self):
        for flags in (["--only", "small"], ["--scenarios", "nginx"]):
            with mock.patch("sys.argv", ["run.py", *flags]), contextlib.redirect_stderr(io.StringIO()):
                with self.assertRaises(SystemExit):
                    run.options()


if __name__ == "__main__":
    unittest.main()
