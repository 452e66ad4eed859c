"""The parts that turn raw readings into numbers; the rest is shown right by the probe before each measurement."""

import contextlib
import io
import os
import pathlib
import socket
import tempfile
import unittest
from unittest import mock

import machine
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
