#!/usr/bin/env python3
"""Measures this proxy beside its peers. Every run is one line of JSON on standard output.

Nothing is installed; peers that are not found are named and left out. nginx is needed as the upstream,
wrk and h2load as the load.

usage: run.py h1     --tables one,hosts,... --peers nginx,... --reps 5 --seconds 2
       run.py h2     --tables one --peers ... (h2load, 8 connections x 8 streams)
       run.py rate   --tables one --peers ... --rate 5000 (h2load, HTTP/1.1, 64 connections)
       run.py reload --tables hosts,... --peers ...
       run.py ir     --peers ... (user-space instructions per request under callgrind)

The proxy is pinned to core PROXY_CPU (0), the load and the upstream to LOAD_CPU (1). Repetitions are
the outer loop, peers the inner one, so that runs are interleaved.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import peers
import tables

PROXY_CPU = os.environ.get("PROXY_CPU", "0")
LOAD_CPU = os.environ.get("LOAD_CPU", "1")
EXTRA = "probe.example.test"


def tree(pid: int) -> list[int]:
    out = [pid]
    for p in out:
        try:
            for t in pathlib.Path(f"/proc/{p}/task").iterdir():
                out += [int(c) for c in (t / "children").read_text().split()]
        except OSError:
            pass
    return out


def cpu_ns(pid: int) -> int:
    total = 0
    for p in tree(pid):
        for t in pathlib.Path(f"/proc/{p}/task").glob("*/schedstat"):
            try:
                total += int(t.read_text().split()[0])
            except OSError:
                pass
    return total


def ticks(pid: int) -> tuple[int, int]:
    user = system = 0
    for p in tree(pid):
        try:
            f = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user, system = user + int(f[11]), system + int(f[12])
    return user, system


def rss_kib(pid: int) -> int:
    """Proportional where the processes share pages (nginx, haproxy), so that nothing counts twice."""
    total = 0
    for p in tree(pid):
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{p}/smaps_rollup").read_text(), re.M)[1])
        except (OSError, TypeError):
            pass
    return total


def get(path: str, host: str, headers: dict[str, str], port: int = peers.PORT) -> int:
    """The status of one request on a connection of its own; 0 if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.settimeout(2)
            head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}Connection: close\r\n\r\n".encode())
            return int(s.recv(64).split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def until(status: int, limit: float, *request) -> float:
    start = time.monotonic()
    while time.monotonic() - start < limit:
        if get(*request) == status:
            return time.monotonic() - start
        time.sleep(0.002)
    raise TimeoutError(request)


class Running:
    """A peer that runs for a table, on its own core."""

    def __init__(self, name: str, table: str, wrap: list[str] = ()):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.peer = peers.peer(name, self.dir)
        self.rules = tables.rules(table)
        self.peer.write(self.rules)
        for port in (peers.PORT, peers.PORT2):
            free_by = time.monotonic() + 5
            while time.monotonic() < free_by:
                with contextlib.closing(socket.socket()) as s:
                    if s.connect_ex(("127.0.0.1", port)) != 0:
                        break
                time.sleep(0.02)
            else:
                raise SystemExit(f"port {port} is taken: something was left running")
        self.process = subprocess.Popen(
            ["taskset", "-c", PROXY_CPU, *wrap, *self.peer.command()],
            env=os.environ | self.peer.env,
            stdout=subprocess.DEVNULL,
            stderr=None if wrap else subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.last = tables.request(self.rules[-1], random.Random(1))
        try:
            self.load_s = until(200, 40, *self.last)
        except TimeoutError:
            self.stop()
            raise

    def stop(self, sig=signal.SIGKILL):
        # Stopped first, so that no master can put another worker in a dead one's place.
        pids = tree(self.pid)
        for s in (signal.SIGSTOP, sig):
            for p in pids:
                try:
                    os.kill(p, s)
                except OSError:
                    pass
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def upstream() -> tuple[subprocess.Popen, pathlib.Path]:
    d = pathlib.Path(tempfile.mkdtemp(prefix="bench-up-"))
    (d / "nginx.conf").write_text(
        f"""worker_processes 1; daemon off; pid {d}/pid; error_log {d}/err crit; worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
server {{ listen 127.0.0.1:{peers.UP} reuseport backlog=4096; default_type text/plain;
location / {{ return 200 "{'x' * 1024}"; }} }} }}
"""
    )
    p = subprocess.Popen(
        ["taskset", "-c", LOAD_CPU, "nginx", "-p", str(d), "-c", str(d / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    time.sleep(0.3)
    return p, d


def lua(table: str) -> str:
    def s(x):
        return json.dumps(x)

    lines = [
        "{"
        + s(p)
        + ", {"
        + ", ".join(f"[{s(k)}]={s(v)}" for k, v in ({"Host": h} | hs).items())
        + "}},"
        for p, h, hs in tables.requests(table)
    ]
    return (
        "local all = {\n" + "\n".join(lines) + "\n}\n"
        "local made, i = {}, 0\n"
        "init = function() for k, r in ipairs(all) do made[k] = wrk.format('GET', r[1], r[2]) end end\n"
        "request = function() i = i % #made + 1; return made[i] end\n"
    )


def latency(out: str, percent: int) -> float:
    v, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", out, re.M).groups()
    return float(v) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def wrk(script: str, seconds: float, connections: int = 64) -> dict:
    out = subprocess.run(
        ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, f"http://127.0.0.1:{peers.PORT}"],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    done = int(re.search(r"(\d+) requests in", out)[1])
    bad = sum(int(x) for x in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
    sock = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return {
        "requests": done,
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        "p50_us": latency(out, 50),
        "p99_us": latency(out, 99),
        "non2xx": bad,
        "socket_errors": [int(x) for x in sock.groups()] if sock else [0, 0, 0, 0],
    }


def h2load(*args: str) -> tuple[str, int, int]:
    out = subprocess.run(["taskset", "-c", LOAD_CPU, "h2load", *args], capture_output=True, text=True).stdout
    m = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    good = int(re.search(r"status codes: (\d+) 2xx", out)[1])
    return out, int(m[1]), int(m[1]) - good + int(m[2])


def uris(table: str, port: int, f: pathlib.Path) -> list[str]:
    rs = tables.requests(table)
    f.write_text("".join(f"http://127.0.0.1:{port}{p}\n" for p, _, _ in rs))
    return ["-i", str(f), "-H", f":authority: {rs[0][1]}"]


def measure_h1(r, table, a, tmp):
    (tmp / "t.lua").write_text(lua(table))
    script = str(tmp / "t.lua")
    wrk(script, 1, a.connections)
    c, t = cpu_ns(r.pid), ticks(r.pid)
    w = wrk(script, a.seconds, a.connections)
    c, t2 = cpu_ns(r.pid) - c, ticks(r.pid)
    n = w["requests"]
    u, s = t2[0] - t[0], t2[1] - t[1]
    return w | {"us_per_req": c / n / 1e3, "user_share": round(u / max(1, u + s), 3), "rss_kib": rss_kib(r.pid)}


def measure_h2(r, table, a, tmp):
    args = ["-c8", "-m8", *uris(table, r.peer.h2_port, tmp / "uris")]
    h2load("-n4000", *args)
    c, start = cpu_ns(r.pid), time.monotonic()
    _, good, bad = h2load(f"-n{a.count}", *args)
    took = time.monotonic() - start
    c = cpu_ns(r.pid) - c
    return {"requests": good, "rps": good / took, "non2xx": bad, "us_per_req": c / max(1, good) / 1e3, "rss_kib": rss_kib(r.pid)}


def measure_rate(r, table, a, tmp):
    log = tmp / "log"
    log.unlink(missing_ok=True)
    per = a.rate / 50
    args = ["--h1", "-c50", f"--rps={per:g}", f"-n{int(a.rate * a.seconds)}", *uris(table, peers.PORT, tmp / "uris")]
    h2load("--h1", "-c50", "-n5000", *uris(table, peers.PORT, tmp / "uris"))
    c = cpu_ns(r.pid)
    _, good, bad = h2load(*args, "--log-file", str(log))
    c = cpu_ns(r.pid) - c
    us = sorted(int(x.split("\t")[2]) for x in log.read_text().splitlines())

    def at(q):
        return us[min(len(us) - 1, int(q * len(us)))]

    return {"requests": good, "non2xx": bad, "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999), "us_per_req": c / max(1, good) / 1e3}  # fmt: skip


def measure_reload(r, table, a, tmp):
    """Idle: change, and time until it is seen. Then a change each 1.5 s under the load of 16 connections."""
    seen = []
    time.sleep(1)  # a signal right after HAProxy's start had no effect
    c = cpu_ns(r.pid)
    for i in range(2):
        name = f"p{i}.{EXTRA}"
        r.peer.write(r.rules, name)
        start = time.monotonic()
        r.peer.reload(r.pid)
        until(200, 60, "/", name, {})
        seen.append(time.monotonic() - start)
        time.sleep(1)
    c = cpu_ns(r.pid) - c
    (tmp / "t.lua").write_text(lua(table))
    load = subprocess.Popen(
        [sys.executable, __file__, "wrk", str(tmp / "t.lua"), "8"], stdout=subprocess.PIPE, text=True
    )
    time.sleep(1)
    busy = []
    for i in range(3):
        name = f"b{i}.{EXTRA}"
        r.peer.write(r.rules, name)
        start = time.monotonic()
        r.peer.reload(r.pid)
        try:
            until(200, 6, "/", name, {})
            busy.append(time.monotonic() - start)
        except TimeoutError:
            busy.append(None)
        time.sleep(0.5)
    w = json.loads(load.communicate()[0])
    return {"idle_s": seen, "cpu_s_each": c / 2e9, "busy_s": busy, "rss_kib": rss_kib(r.pid), **w}


def callgrind(name, table, a, tmp):
    """(instructions at 3n) - (instructions at n), over 2n."""

    def total(n):
        log = tmp / "cg"
        log.unlink(missing_ok=True)
        wrap = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=yes", f"--log-file={log}.%p"]
        for f in tmp.glob("cg.*"):
            f.unlink()
        r = Running(name, table, wrap)
        h2load("--h1", "-c8", f"-n{n}", *uris(table, peers.PORT, tmp / "uris"))
        time.sleep(0.3)
        for p in reversed(tree(r.pid)):
            os.kill(p, signal.SIGTERM)
        for _ in range(50):
            if r.process.poll() is not None:
                break
            time.sleep(0.1)
        r.stop()
        return sum(int(x) for f in tmp.glob("cg.*") for x in re.findall(r"Collected : (\d+)", f.read_text()))

    n = a.count
    one, three = total(n), total(3 * n)
    return {"instructions_per_req": (three - one) / (2 * n)}


def main():
    if sys.argv[1] == "wrk":
        print(json.dumps(wrk(sys.argv[2], int(sys.argv[3]), 16)))
        return
    p = argparse.ArgumentParser()
    p.add_argument("kind")
    p.add_argument("--tables", default="one")
    p.add_argument("--peers", default="gateway,gateway-log,nginx,nginx-log,haproxy,envoy")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--seconds", type=int, default=2)
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--rate", type=float, default=5000)
    p.add_argument("--count", type=int, default=40000)
    a = p.parse_args()
    names = peers.found(a.peers.split(","))
    print(f"measuring: {', '.join(names)}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    up, updir = upstream()
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bench-tmp-"))
    try:
        for table in a.tables.split(","):
            for rep in range(a.reps):
                for name in names:
                    row = {"kind": a.kind, "table": table, "peer": name, "rep": rep}
                    try:
                        if a.kind == "ir":
                            row |= callgrind(name, table, a, tmp)
                        else:
                            r = Running(name, table)
                            try:
                                row |= {"load_s": r.load_s, "rss0_kib": rss_kib(r.pid)}
                                row |= globals()["measure_" + a.kind](r, table, a, tmp)
                            finally:
                                r.stop()
                    except Exception as e:  # one peer's failure is a result too
                        row["error"] = repr(e)[:200]
                    print(json.dumps(row), flush=True)
    finally:
        up.terminate()
        up.wait()
        shutil.rmtree(updir, ignore_errors=True)
        shutil.rmtree(tmp, ignore_errors=True)


if __name__ == "__main__":
    main()
