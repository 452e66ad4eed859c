"""Tokens and limits in front of the same small GET: what each proxy is told, and that it does it."""

import base64
import concurrent.futures
import http.client
import json
import re
import subprocess
import time

import servers

ISSUER = "https://versus.example"
# Never reached, and yet counted: what is measured is the counting.
RATE = 1_000_000
# More than any of them keeps, so that each is new when its turn comes again.
TOKENS = 8192
LIFE = 3600


class Keys:
    """An RSA key of 2,048 bits, its public half in the forms the proxies read, and tokens under it."""

    def __init__(self, folder):
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        openssl("genrsa", "-out", self.private, "2048")
        openssl("rsa", "-in", self.private, "-pubout", "-out", self.public)
        # Proxies that give up root read it too.
        self.public.chmod(0o644)
        modulus = openssl("rsa", "-in", self.private, "-noout", "-modulus").decode().strip().partition("=")[2]
        self.jwks = json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k",
                                          "n": plain(bytes.fromhex(modulus)), "e": "AQAB"}]})
        self.exp = int(time.time()) + LIFE

    def token(self, subject):
        head = plain(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "k"}).encode())
        claims = {"iss": ISSUER, "sub": subject, "exp": self.exp, "scope": "orders:read orders:write"}
        signed = f"{head}.{plain(json.dumps(claims).encode())}"
        said = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.private], input=signed.encode(),
                              capture_output=True, check=True)
        return f"{signed}.{plain(said.stdout)}"

    def tokens(self, folder):
        """A file of many, a line each."""
        file = folder / "tokens"
        with concurrent.futures.ThreadPoolExecutor() as pool:
            made = pool.map(self.token, (f"caller-{number}" for number in range(TOKENS)))
            file.write_text("".join(f"{token}\n" for token in made))
        return file


def plain(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True).stdout


class Open(servers.Frontgate):
    """What guards cost is the distance to the same without them."""

    name = "frontgate open"


def taking_part(found, keys):
    """The guarded ones with their words for it; nginx, which checks no tokens, and our own without guards beside them."""
    words = {servers.Frontgate: frontgate, servers.Haproxy: haproxy, servers.Envoy: envoy}
    proxies = []
    for kind in found:
        proxy = kind()
        if kind in words:
            proxy.fill = words[kind](keys)
        if kind in words or kind is servers.Nginx:
            proxies.append(proxy)
        if kind is servers.Frontgate:
            proxies.append(Open())
    return proxies


def frontgate(keys):
    return {
        "guards": f'auth = ["jwt"]\nrate_limit = [{{ rate = "{RATE}/s", key = "claim:sub" }}]',
        "tables": f'[auth.jwt]\nkind = "jwt"\npublic_key = "{keys.public}"\nalgorithms = ["RS256"]\nissuer = "{ISSUER}"',
    }


def haproxy(keys):
    claim = "var(txn.token),jwt_payload_query"
    return {"guards": "\n  ".join([
        "stick-table type string len 64 size 100k expire 60s store http_req_rate(1s)",
        "http-request set-var(txn.token) http_auth_bearer",
        "http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')",
        f"http-request set-var(txn.iss) {claim}('$.iss')",
        f"http-request set-var(txn.exp) {claim}('$.exp','int')",
        "http-request set-var(txn.now) date()",
        "http-request deny deny_status 401 unless { var(txn.alg) -m str RS256 }",
        f"http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}",
        f'http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{keys.public}") 1 }}',
        "http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }",
        f"http-request track-sc0 {claim}('$.sub')",
        f"http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {RATE} }}",
    ])}


def envoy(keys):
    api = "type.googleapis.com/envoy.extensions.filters.http"
    bucket = f"{{ max_tokens: {RATE}, tokens_per_fill: {RATE}, fill_interval: 1s }}"
    always = "{ default_value: { numerator: 100, denominator: HUNDRED } }"
    lines = f"""          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": {api}.jwt_authn.v3.JwtAuthentication
              providers:
                p:
                  issuer: {ISSUER}
                  forward: true
                  local_jwks: {{ inline_string: '{keys.jwks}' }}
                  jwt_cache_config: {{ jwt_cache_size: 1000 }}
              rules: [{{ match: {{ prefix: "/" }}, requires: {{ provider_name: p }} }}]
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": {api}.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {bucket}
              filter_enabled: {always}
              filter_enforced: {always}"""
    return {"guards": lines}


def check(proxy, token):
    """It lets this token in, and neither none, nor a forged one, nor one of another issuer."""
    head, claims, signature = token.split(".")
    forged = f"{head}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    if isinstance(proxy, Open) or not proxy.fill:
        return
    for bearer, expected in ((token, 200), (None, 401), (forged, 401)):
        got = ask(proxy.port, bearer)
        if got != expected:
            raise SystemExit(f"{proxy.name} answers {got}, not {expected}, to a token {str(bearer)[-8:]}")


def ask(port, bearer):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request("GET", "/small", headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
    status = client.getresponse().status
    client.close()
    return status


def verifies(core):
    """RSA-2048 signatures a second that openssl verifies on a core."""
    said = subprocess.run(["taskset", "-c", str(core), "openssl", "speed", "-seconds", "3", "rsa2048"],
                          capture_output=True, text=True, check=True).stdout
    found = re.search(r"^rsa\s+2048 bits\s.*\s([0-9.]+)\s*$", said, re.MULTILINE)
    return float(found[1])


