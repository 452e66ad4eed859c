"""Processes on this machine: started pinned, found listening, measured, ended by their ids."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

DEADLINE = 20  # seconds until a started server must listen


def split_cores():
    """The core of the proxy, and those of load generator and upstream."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[:1], cores[1:] or cores[:1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A started program and its children."""

    def __init__(self, name, command, cores, folder, environment=None):
        pinned = ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]
        self.name = name
        self.log = pathlib.Path(folder, name + ".log")
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                pinned, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, **(environment or {})}, start_new_session=True)

    def wait_for(self, port):
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            if port in listening(self.processes()):
                return
            time.sleep(0.05)
        self.stop()
        raise SystemExit(f"{self.name} does not listen on {port}:\n{self.log.read_text()[-2000:]}")

    def processes(self):
        return tree(self.child.pid)

    def cpu_ns(self):
        """CPU time of every thread of every process so far."""
        return sum(cpu_ns(pid) for pid in self.processes())

    def user_ns(self):
        """Of that, what was not the kernel's."""
        return sum(user_ns(pid) for pid in self.processes())

    def rss_kib(self):
        return sum(rss_kib(pid) for pid in self.processes())

    def pss_kib(self):
        """Its own memory, and its share of what its processes have in common."""
        return sum(pss_kib(pid) for pid in self.processes())

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def tree(root):
    """A process and its descendants."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting.extend(int(child) for child in children.read_text().split())
            except OSError:
                continue
    return found


def cpu_ns(pid):
    """From schedstat, in ns; where the kernel lacks it from stat, in its ticks."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            try:
                total += ticks((task / "stat").read_text()) * 10**9 // os.sysconf("SC_CLK_TCK")
            except OSError:
                continue
    return total


def user_ns(pid):
    """In the kernel's ticks: for seconds, not for moments."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) * 10**9 // os.sysconf("SC_CLK_TCK")
    return total


def ticks(stat):
    """utime + stime of a line of /proc/…/stat; the name in it may hold blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def rss_kib(pid):
    return kib(pid, "status", "VmRSS:")


def pss_kib(pid):
    return kib(pid, "smaps_rollup", "Pss:")


def kib(pid, table, name):
    """A line of a table of /proc/PID; 0 once the process has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/{table}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def listening(pids):
    """Ports these processes themselves listen on: a stranger on the port must not pass for them."""
    ours = set()
    for pid in pids:
        try:
            for handle in os.scandir(f"/proc/{pid}/fd"):
                target = os.readlink(handle.path)
                if target.startswith("socket:["):
                    ours.add(target[8:-1])
        except OSError:
            continue
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in ours:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def find(name, *places):
    """A program: named by $NAME, on PATH, or at one of these places; None when it is not here."""
    written = os.environ.get(name.upper())
    candidates = [written] if written else [shutil.which(name), *map(str, places)]
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


def about():
    """What the numbers were taken on."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = os.uname().release
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": release,
            "load_average": round(os.getloadavg()[0], 2)}
