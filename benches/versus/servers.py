"""The upstream and every proxy: how each is found, configured and started, all doing the same work."""

import dataclasses
import glob
import json
import os
import pathlib
import secrets
import site
import subprocess
import time
import urllib.error
import urllib.request

from machine import Process, find, free_port

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What an upstream must receive from every proxy; who cannot send one says so in `lacks`.
HEADERS = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "x-request-id"]


@dataclasses.dataclass
class Ground:
    """Where servers run: a folder for their files, the proxy's core, everyone else's, the upstream's ports."""

    folder: pathlib.Path
    proxy_cores: list
    other_cores: list
    ups: list = dataclasses.field(default_factory=list)


def write(template, ground, **values):
    """Fills a template of config/ into the folder."""
    values = {"guards": "", "policies": "", "tables": "", "folder": ground.folder, "ups_a": ground.ups[0], "ups_b": ground.ups[1], **values}
    text = (HERE / "config" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    written = ground.folder / template
    written.write_text(text)
    return written


class Upstream:
    """nginx on two ports, its bodies in memory."""

    def __init__(self, nginx, ground):
        self.token = secrets.token_hex(8)
        ground.ups = [free_port(), free_port()]
        files = ground.folder / "files"
        files.mkdir()
        (files / "16k").write_bytes(b"x" * (16 << 10))
        (files / "1m").write_bytes(b"x" * (1 << 20))
        headers = ",".join(f'"{name}":"$http_{name.replace("-", "_")}"' for name in ["host", *HEADERS])
        config = write("upstream.conf", ground, token=self.token, headers=headers)
        self.process = Process("upstream", [nginx, "-c", config, "-p", ground.folder], ground.other_cores, ground.folder)
        for port in ground.ups:
            self.process.wait_for(port)


class Proxy:
    """A proxy that can be started with any number of routes."""

    name = program = template = ""
    lacks = ()
    # Sent, but with another value for a client on loopback.
    differs = ()
    places = ()
    version_flag = "--version"
    # What is put into its template beyond ports and routes.
    fill = {}
    # Takes part only where its own words for the load exist: (load.lua's scenario, path, parameter).
    loads = None

    def find(self):
        return find(self.program or self.name, *self.places)

    def version(self):
        said = subprocess.run([self.find(), self.version_flag], capture_output=True, text=True, check=False)
        lines = (said.stdout + said.stderr).strip().splitlines()
        return lines[0].replace(str(self.find()), self.name) if lines else "unknown"

    def route(self, number):
        """One route more, in the proxy's own words."""
        raise NotImplementedError

    def routes(self, count, ground):
        return "\n".join(self.route(number) for number in range(count))

    def command(self, config):
        raise NotImplementedError

    def start(self, ground, routes):
        self.port = free_port()
        config = write(self.template, ground, port=self.port, **{"routes": self.routes(routes, ground), **self.fill})
        environment = {"GOMAXPROCS": "1", "HOME": str(ground.folder)}
        command = [self.find(), *self.command(config)]
        self.process = Process(self.name, command, ground.proxy_cores, ground.folder, environment)
        self.process.wait_for(self.port)

    def stop(self):
        self.process.stop()


class Nginx(Proxy):
    name, template, version_flag = "nginx", "nginx.conf", "-v"

    def route(self, number):
        return f"location /r{number}/ {{ proxy_pass http://up; }}"

    def command(self, config):
        return ["-c", config, "-p", config.parent]


class Haproxy(Proxy):
    name, template, version_flag = "haproxy", "haproxy.conf", "-v"

    def routes(self, count, ground):
        # A map is HAProxy's own way to many prefixes: a tree, where a list of rules would be read one by one.
        table = ground.folder / "haproxy.map"
        table.write_text("".join(f"/r{number}/ up\n" for number in range(count)))
        return f"use_backend %[path,map_beg({table},up)]" if count else ""

    def command(self, config):
        return ["-db", "-f", config]


class Frontgate(Proxy):
    name, template = "frontgate", "frontgate.conf"
    places = (ROOT / "target/release/frontgate",)

    def route(self, number):
        return f'[[route]]\nname = "r{number}"\npath = "/r{number}/*"\nservice = "up"'

    def command(self, config):
        return ["run", "--config", config]


class Envoy(Proxy):
    name, template = "envoy", "envoy.conf"
    # For a client on loopback it writes the machine's own address.
    differs = ("x-forwarded-for",)
    places = tuple(place + "/envoy/_bin/envoy" for place in [*site.getsitepackages(), site.getusersitepackages()])

    def route(self, number):
        return f'              - {{ match: {{ prefix: "/r{number}/" }}, route: {{ cluster: up }} }}'

    def command(self, config):
        flags = ["--concurrency", "1", "--log-level", "error", "--base-id", self.port]
        return ["--config-yaml", config.read_text(), *flags]


class Traefik(Proxy):
    # Not called traefik.yaml: it would take that for its static configuration.
    name, template, version_flag = "traefik", "dynamic.yaml", "version"
    places = tuple(found for place in site.getsitepackages() for found in glob.glob(place + "/traefik*/bin/traefik"))
    lacks = ("x-request-id",)

    def route(self, number):
        return f'    r{number}: {{ rule: "PathPrefix(`/r{number}/`)", service: up, entryPoints: [web] }}'

    def command(self, config):
        return [f"--entryPoints.web.address=127.0.0.1:{self.port}", f"--providers.file.filename={config}",
                "--log.level=ERROR", "--global.checknewversion=false", "--global.sendanonymoususage=false",
                "--serversTransport.maxIdleConnsPerHost=512"]


class Caddy(Proxy):
    name, template, version_flag = "caddy", "caddy.conf", "version"

    def route(self, number):
        return f"handle /r{number}/* {{\n    import up\n  }}"

    def command(self, config):
        return ["run", "--adapter", "caddyfile", "--config", config]


class Gokit(Proxy):
    """go-kit's own apigateway, which finds the upstream as a stringsvc in a Consul agent."""

    name, program = "go-kit", "apigateway"
    lacks = tuple(HEADERS)
    loads = {"small": ("json", "/stringsvc/uppercase", '{"s":"hello"}')}

    def find(self):
        return super().find() if find("consul") else None

    def version(self):
        return "examples/apigateway"

    def start(self, ground, routes):
        http, serf, server, dns, self.port = (free_port() for _ in range(5))
        agent = ["agent", "-dev", "-bind", "127.0.0.1", "-http-port", http, "-dns-port", dns, "-grpc-port", "-1",
                 "-server-port", server, "-serf-lan-port", serf, "-serf-wan-port", "-1", "-log-level", "err"]
        self.agent = Process("consul", [find("consul"), *agent], ground.other_cores, ground.folder)
        self.agent.wait_for(http)
        for port in ground.ups:
            register(http, {"ID": f"s{port}", "Name": "stringsvc", "Address": "127.0.0.1", "Port": port})
        command = [self.find(), f"-http.addr=127.0.0.1:{self.port}", f"-consul.addr=127.0.0.1:{http}"]
        self.process = Process(self.name, command, ground.proxy_cores, ground.folder, {"GOMAXPROCS": "1"})
        self.process.wait_for(self.port)

    def stop(self):
        super().stop()
        self.agent.stop()


def register(agent, service):
    """Registers without a check, so passing at once; asks again while the agent elects itself."""
    url = f"http://127.0.0.1:{agent}/v1/agent/service/register"
    deadline = time.monotonic() + 10
    while True:
        request = urllib.request.Request(url, json.dumps(service).encode(), method="PUT")
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


ALL = [Nginx, Haproxy, Frontgate, Envoy, Traefik, Caddy, Gokit]


def get(name):
    """A program of a Debian package: fetched as root when it is missing, else said what to install."""
    found = find(name)
    if found:
        return found
    said = subprocess.run([ROOT / "tests/servers/get", "--where", name], capture_output=True, text=True, check=False,
                          env=os.environ)
    if said.returncode:
        raise SystemExit(f"{name} is missing:\n{said.stderr or said.stdout}")
    return said.stdout.strip().splitlines()[-1]
