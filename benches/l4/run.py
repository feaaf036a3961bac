#!/usr/bin/env python3
"""Measures TLS, TCP and UDP beside HAProxy and nginx. Every run is one line of JSON on standard output.

Nothing is installed; peers that are not found are named and left out. The proxy runs with one thread on
core PROXY_CPU (0), the load and the backend on LOAD_CPU (1). Repetitions are the outer loop and peers the
inner one, so that runs are interleaved.

usage: run.py full    --seconds 3   TLS handshakes a second, none resumed
       run.py resumed --seconds 3   the same, resumed
       run.py https   --seconds 3   CPU per request over TLS (h2load, HTTP/1.1, 16 connections)
       run.py tcp     --gib 4       one connection through a TCP listener: GiB/s, CPU per GiB
       run.py pass    --gib 4       the same through TLS passthrough, behind a ClientHello
       run.py udp     --seconds 3   datagrams there and back a second (no HAProxy)
       all with --peers gateway,haproxy,nginx --reps 5

build first: cargo build --release -p gateway-bin --bin gateway --example stream_load
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benches/peers"))
from run import cpu_ns, tree  # noqa: E402

TARGET = pathlib.Path(os.environ.get("TARGET", ROOT / "target/release"))
PROXY_CPU = os.environ.get("PROXY_CPU", "0")
LOAD_CPU = os.environ.get("LOAD_CPU", "1")
BACKEND, WEB, TLS, TCP, PASS, UDP = 9300, 9301, 9343, 9344, 9345, 9346
NAME = "bench.example.org"


def certificates(d: pathlib.Path) -> None:
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=d)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", "30")
    openssl("req", *curve, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN={NAME}")
    (d / "ext").write_text(f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "tls.crt", "-days", "30", "-extfile", "ext")  # fmt: skip
    (d / "both.pem").write_text((d / "tls.crt").read_text() + (d / "tls.key").read_text())


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def gateway(d: pathlib.Path) -> list[str]:
    group = "gateway.networking.k8s.io/v1"

    def backend(name, port, protocol):
        return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: p, port: 80, protocol: {protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1]}}]
ports: [{{name: p, port: {port}, protocol: {protocol}}}]
"""

    def route(kind, section, more, name):
        rule = f"rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
        return f"""---
apiVersion: {group}
kind: {kind}
metadata: {{name: {section}}}
spec: {{parentRefs: [{{name: gw, sectionName: {section}}}], {more}{rule}}}
"""

    text = f"""apiVersion: {group}
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: gateway
  listeners:
  - {{name: tls, port: {TLS}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}
  - {{name: tcp, port: {TCP}, protocol: TCP}}
  - {{name: pass, port: {PASS}, protocol: TLS, tls: {{mode: Passthrough}}}}
  - {{name: udp, port: {UDP}, protocol: UDP}}
---
apiVersion: v1
kind: Secret
metadata: {{name: cert}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{indented((d / "tls.crt").read_text())}  tls.key: |
{indented((d / "tls.key").read_text())}"""
    text += route("HTTPRoute", "tls", "", "web") + route("TCPRoute", "tcp", "", "bytes")
    text += route("TLSRoute", "pass", f"hostnames: [{NAME}], ", "bytes") + route("UDPRoute", "udp", "", "datagrams")
    text += backend("web", WEB, "TCP") + backend("bytes", BACKEND, "TCP") + backend("datagrams", BACKEND, "UDP")
    (d / "gateway.yaml").write_text(text)
    return [str(TARGET / "gateway"), "run", str(d / "gateway.yaml"), "--bind", "127.0.0.1", "--workers", "1",
            "--access-log", "off", "--admin", "127.0.0.1:0"]  # fmt: skip


def haproxy(d: pathlib.Path) -> list[str]:
    (d / "haproxy.cfg").write_text(f"""global
  nbthread 1
  tune.ssl.default-dh-param 2048
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  mode http
  bind 127.0.0.1:{TLS} ssl crt {d}/both.pem ssl-min-ver TLSv1.2
  default_backend web
backend web
  mode http
  server one 127.0.0.1:{WEB}
listen tcp
  mode tcp
  option splice-auto
  bind 127.0.0.1:{TCP}
  server one 127.0.0.1:{BACKEND}
listen pass
  mode tcp
  option splice-auto
  bind 127.0.0.1:{PASS}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use-server one if {{ req_ssl_sni -i {NAME} }}
  server one 127.0.0.1:{BACKEND}
""")
    return ["haproxy", "-db", "-f", str(d / "haproxy.cfg")]


def nginx(d: pathlib.Path) -> list[str]:
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    load = f"load_module {module};" if module.exists() else ""
    (d / "nginx.conf").write_text(f"""{load}
worker_processes 1; daemon off; pid {d}/pid; error_log {d}/err crit; worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000;
  ssl_session_cache shared:s:10m; ssl_protocols TLSv1.2 TLSv1.3;
  upstream web {{ server 127.0.0.1:{WEB}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{TLS} ssl; ssl_certificate {d}/tls.crt; ssl_certificate_key {d}/tls.key;
    location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
stream {{
  map $ssl_preread_server_name $to {{ {NAME} 127.0.0.1:{BACKEND}; }}
  server {{ listen 127.0.0.1:{TCP}; proxy_pass 127.0.0.1:{BACKEND}; }}
  server {{ listen 127.0.0.1:{PASS}; ssl_preread on; proxy_pass $to; }}
  server {{ listen 127.0.0.1:{UDP} udp; proxy_pass 127.0.0.1:{BACKEND}; proxy_timeout 60s; }}
}}
""")
    return ["nginx", "-p", str(d), "-c", str(d / "nginx.conf")]


PEERS = {"gateway": gateway, "haproxy": haproxy, "nginx": nginx}


class Proxy:
    """A peer on its own core, ready once its TLS port takes connections."""

    def __init__(self, name: str, d: pathlib.Path):
        command = PEERS[name](d)
        self.process = subprocess.Popen(
            ["taskset", "-c", PROXY_CPU, *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.pid = self.process.pid
        by = time.monotonic() + 10
        while time.monotonic() < by:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", TLS)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise SystemExit(f"{name} does not start")

    def stop(self):
        for pid in tree(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
        by = time.monotonic() + 5
        while time.monotonic() < by:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", TLS)) != 0:
                    return
            time.sleep(0.02)


def load(*words: str) -> dict:
    command = ["taskset", "-c", LOAD_CPU, str(TARGET / "examples/stream_load"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[:200])
    return json.loads(done.stdout)


def spent(proxy: Proxy, measure) -> dict:
    before = cpu_ns(proxy.pid)
    row = measure()
    row["cpu_ms"] = (cpu_ns(proxy.pid) - before) / 1e6
    return row


def measure_handshakes(proxy: Proxy, d: pathlib.Path, a) -> dict:
    words = ("handshakes", f"127.0.0.1:{TLS}", NAME, str(d / "ca.pem"), str(a.seconds), a.kind, a.version)
    row = spent(proxy, lambda: load(*words))
    return row | {"per_s": row["count"] / row["seconds"], "us_each": row["cpu_ms"] * 1000 / row["count"]}


def measure_https(proxy: Proxy, d: pathlib.Path, a) -> dict:
    def run():
        command = ["taskset", "-c", LOAD_CPU, "h2load", "--h1", "-t1", "-c16", "-D", str(a.seconds),
                   f"--connect-to=127.0.0.1:{TLS}", f"https://{NAME}:{TLS}/"]  # fmt: skip
        out = subprocess.run(command, capture_output=True, text=True).stdout
        good = int(re.search(r"(\d+) 2xx", out)[1])
        return {"count": good, "seconds": a.seconds}

    row = spent(proxy, run)
    return row | {"per_s": row["count"] / row["seconds"], "us_each": row["cpu_ms"] * 1000 / max(row["count"], 1)}


def measure_bulk(port: int, *more: str):
    def measure(proxy: Proxy, d: pathlib.Path, a) -> dict:
        words = ("bulk", f"127.0.0.1:{BACKEND}", f"127.0.0.1:{port}", str(int(a.gib * 2**30)), *more)
        row = spent(proxy, lambda: load(*words))
        gib = row["bytes"] / 2**30
        return row | {"gib_per_s": gib / row["seconds"], "ms_per_gib": row["cpu_ms"] / gib}

    return measure


def measure_udp(proxy: Proxy, d: pathlib.Path, a) -> dict:
    words = ("udp", f"127.0.0.1:{BACKEND}", f"127.0.0.1:{UDP}", str(a.seconds), "64")
    row = spent(proxy, lambda: load(*words))
    return row | {"per_s": row["count"] / row["seconds"], "us_each": row["cpu_ms"] * 1000 / max(row["count"], 1)}


def web(d: pathlib.Path) -> subprocess.Popen:
    (d / "web.conf").write_text(f"""worker_processes 1; daemon off; pid {d}/web.pid; error_log {d}/web.err crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
server {{ listen 127.0.0.1:{WEB}; default_type text/plain; location / {{ return 200 "ok"; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", LOAD_CPU, "nginx", "-p", str(d), "-c", str(d / "web.conf")],
                            stderr=subprocess.DEVNULL)  # fmt: skip


MEASURES = {
    "full": measure_handshakes,
    "resumed": measure_handshakes,
    "https": measure_https,
    "tcp": measure_bulk(TCP),
    "pass": measure_bulk(PASS, NAME),
    "udp": measure_udp,
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kind", choices=MEASURES)
    p.add_argument("--peers", default="gateway,haproxy,nginx")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--gib", type=float, default=4)
    p.add_argument("--version", default="1.3", choices=["1.2", "1.3"], help="of TLS, for handshakes")
    a = p.parse_args()
    names = [n for n in a.peers.split(",") if not (a.kind == "udp" and n == "haproxy")]
    for name in [n for n in names if n != "gateway" and not shutil.which(n)]:
        print(f"{name} is not installed", file=sys.stderr)
        names.remove(name)
    d = pathlib.Path(tempfile.mkdtemp(prefix="bench-l4-"))
    certificates(d)
    upstream = web(d)
    try:
        for rep in range(a.reps):
            for name in names:
                row = {"kind": a.kind, "peer": name, "rep": rep}
                proxy = Proxy(name, d)
                try:
                    row |= MEASURES[a.kind](proxy, d, a)
                except Exception as e:  # one peer's failure is a result too
                    row["error"] = repr(e)[:200]
                finally:
                    proxy.stop()
                print(json.dumps(row), flush=True)
    finally:
        upstream.terminate()
        upstream.wait()
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    main()
