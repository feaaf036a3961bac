"""How each proxy is configured for a table, started and reloaded.

A peer's class writes its files into `d` for the rules it is given and names the command to run.
`extra` is the name of one more host, routed whole to the upstream: the change that a reload makes.
"""

import collections
import json
import os
import pathlib
import shutil
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GATEWAY = os.environ.get("GATEWAY", str(ROOT / "target/release/gateway"))
ENVOY = os.environ.get("ENVOY", "envoy")
GROUP = "gateway.networking.k8s.io/v1"
UP, PORT, PORT2, ADMIN = 9100, 9200, 9201, 9202


def put(path: pathlib.Path, text: str) -> None:
    """Replaces the file in one step, so that a watcher never reads half of it."""
    tmp = path.with_suffix(".tmp")
    tmp.write_text(text)
    tmp.rename(path)


class Peer:
    h2_port = PORT
    env: dict[str, str] = {}

    def __init__(self, d: pathlib.Path):
        self.d = d

    def write(self, rules, extra=None):
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def reload(self, pid: int) -> None:
        """After `write`: makes the running proxy take the new files (a watcher needs nothing)."""


class Nginx(Peer):
    h2_port = PORT2
    access_log = "off"

    def write(self, rules, extra=None):
        ok = "proxy_pass http://up;"
        maps, servers = [], collections.defaultdict(list)
        if any(r.header for r in rules):
            keys = {"h": [], "m": [], "q": []}
            for r in rules:
                if r.query:
                    keys["q"].append(f'"{r.header[1]}:{r.query[1]}" 1;')
                elif r.method:
                    keys["m"].append(f'"{r.header[1]}:{r.method}" 1;')
                else:
                    keys["h"].append(f'"{r.header[1]}" 1;')
            src = {"h": "$http_x_tenant", "m": "$http_x_tenant:$request_method", "q": "$http_x_tenant:$arg_q"}
            maps = [f'map "{src[k]}" $r_{k} {{ default ""; {" ".join(v)} }}' for k, v in keys.items()]
            r = rules[0]
            maps.append('map "$r_h$r_m$r_q" $r_none { "" 1; default 0; }')
            cond = "if ($r_none) { return 404; }"
            servers[r.host] = [f"location {r.prefix} {{ {cond} {ok} }}"]
        else:
            for r in rules:
                if r.regex:
                    servers[r.host].append(f'location ~ "^{r.regex}$" {{ {ok} }}')
                elif r.prefix == "/":
                    servers[r.host].append(f"location / {{ {ok} }}")
                else:
                    servers[r.host].append(f"location {r.prefix}/ {{ {ok} }}")
                    servers[r.host].append(f"location = {r.prefix} {{ {ok} }}")
        if extra:
            servers[extra].append(f"location / {{ {ok} }}")
        listen = f"listen 127.0.0.1:{PORT}%s; listen 127.0.0.1:{PORT2} http2%s;"
        blocks = []
        if None not in servers:
            blocks.append(f"server {{ {listen % ((' default_server reuseport',) * 2)} return 404; }}")
        for host, locs in servers.items():
            mark = " default_server reuseport" if host is None else ""
            name = f"server_name {host};" if host else ""
            blocks.append(f"server {{ {listen % (mark, mark)} {name}\n" + "\n".join(locs) + "\n}")
        put(
            self.d / "nginx.conf",
            f"""worker_processes 1; daemon off; pid {self.d}/pid; error_log {self.d}/err crit;
worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
  access_log {self.access_log if self.access_log == 'off' else self.d / self.access_log}; keepalive_requests 1000000000; keepalive_timeout 300s;
  server_names_hash_max_size 65536; map_hash_max_size 16384; map_hash_bucket_size 128;
  http2_max_requests 1000000000;
  upstream up {{ server 127.0.0.1:{UP}; keepalive 256; keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  """.replace("http2_max_requests 1000000000;\n", "\n")
            + "\n".join(maps + blocks)
            + "\n}\n",
        )

    def command(self):
        return ["nginx", "-p", str(self.d), "-c", str(self.d / "nginx.conf")]

    def reload(self, pid):
        os.kill(pid, signal.SIGHUP)


class Haproxy(Peer):
    h2_port = PORT2
    mode = "http"

    def write(self, rules, extra=None):
        front = []
        if any(r.header for r in rules):
            keys = {"h": [], "m": [], "q": []}
            for r in rules:
                if r.query:
                    keys["q"].append(f"{r.header[1]}:{r.query[1]} up")
                elif r.method:
                    keys["m"].append(f"{r.header[1]}:{r.method} up")
                else:
                    keys["h"].append(f"{r.header[1]} up")
            for k, v in keys.items():
                put(self.d / f"{k}.map", "\n".join(v) + "\n")
            p = f"{{ path_beg {rules[0].prefix}/ }}"
            front = [
                f"use_backend up if {p} {{ req.hdr(x-tenant),map_str({self.d}/h.map) -m found }}",
                f"http-request set-var-fmt(txn.m) %[req.hdr(x-tenant)]:%[method]",
                f"use_backend up if {p} {{ var(txn.m),map_str({self.d}/m.map) -m found }}",
                f"http-request set-var-fmt(txn.q) %[req.hdr(x-tenant)]:%[url_param(q)]",
                f"use_backend up if {p} {{ var(txn.q),map_str({self.d}/q.map) -m found }}",
            ]
        elif rules[0].regex:
            put(self.d / "re.map", "".join(f"^{r.host}{r.regex}$ up\n" for r in rules))
            front = [f"use_backend %[base,map_reg({self.d}/re.map)] if {{ base,map_reg({self.d}/re.map) -m found }}"]
            front = [
                f"http-request set-var(txn.b) base,map_reg({self.d}/re.map)",
                "use_backend %[var(txn.b)] if { var(txn.b) -m found }",
            ]
        elif rules[0].host:
            put(self.d / "p.map", "".join(f"{r.host}{r.prefix}/ up\n" for r in rules))
            front = [
                f"http-request set-var(txn.b) base,map_beg({self.d}/p.map)",
                "use_backend %[var(txn.b)] if { var(txn.b) -m found }",
            ]
        else:
            front = ["default_backend up"]
        if extra:
            front.insert(0, f"use_backend up if {{ hdr(host) {extra} }}")
        if self.mode == "tcp":
            front = ["default_backend up"]
        put(
            self.d / "haproxy.cfg",
            f"""global
  nbthread 1
  maxconn 8192
defaults
  mode {self.mode}
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 300s
  {'http-reuse always' if self.mode == 'http' else ''}
frontend f
  bind 127.0.0.1:{PORT}
  bind 127.0.0.1:{PORT2} proto h2
  """.replace(f"  bind 127.0.0.1:{PORT2} proto h2\n" if self.mode == "tcp" else "\0", "")
            + "\n  ".join(front)
            + f"""
backend up
  server s 127.0.0.1:{UP}
""",
        )

    def command(self):
        return ["haproxy", "-W", "-q", "-f", str(self.d / "haproxy.cfg")]

    def reload(self, pid):
        os.kill(pid, signal.SIGUSR2)


class HaproxyTcp(Haproxy):
    mode = "tcp"


class Envoy(Peer):
    def write(self, rules, extra=None):
        hosts = collections.defaultdict(list)
        for r in rules:
            m = {}
            if r.regex:
                m["safe_regex"] = {"regex": r.regex}
            elif r.prefix == "/":
                m["prefix"] = "/"
            else:
                m["path_separated_prefix"] = r.prefix
            hs = []
            if r.header:
                hs.append({"name": r.header[0], "string_match": {"exact": r.header[1]}})
            if r.method:
                hs.append({"name": ":method", "string_match": {"exact": r.method}})
            if hs:
                m["headers"] = hs
            if r.query:
                m["query_parameters"] = [{"name": r.query[0], "string_match": {"exact": r.query[1]}}]
            hosts[r.host or "*"].append({"match": m, "route": {"cluster": "up"}})
        if extra:
            hosts[extra].append({"match": {"prefix": "/"}, "route": {"cluster": "up"}})
        t = "type.googleapis.com/envoy."
        rds = {
            "@type": t + "config.route.v3.RouteConfiguration",
            "name": "r",
            "virtual_hosts": [
                {"name": h.replace("*", "any"), "domains": [h], "routes": rs} for h, rs in hosts.items()
            ],
        }
        put(self.d / "rds.json", json.dumps({"resources": [rds]}))
        hcm = {
            "@type": t + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "f",
            "codec_type": "AUTO",
            "generate_request_id": False,
            "rds": {
                "route_config_name": "r",
                "config_source": {
                    "resource_api_version": "V3",
                    "path_config_source": {"path": str(self.d / "rds.json")},
                },
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {
                        "@type": t + "extensions.filters.http.router.v3.Router",
                        "dynamic_stats": False,
                        "suppress_envoy_headers": True,
                    },
                }
            ],
        }

        def addr(port):
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        (self.d / "envoy.json").write_text(
            json.dumps(
                {
                    "node": {"id": "bench", "cluster": "bench"},
                    "static_resources": {
                        "listeners": [
                            {
                                "name": "l",
                                "address": addr(PORT),
                                "filter_chains": [{"filters": [{"name": "h", "typed_config": hcm}]}],
                            }
                        ],
                        "clusters": [
                            {
                                "name": "up",
                                "type": "STATIC",
                                "connect_timeout": "5s",
                                "circuit_breakers": {
                                    "thresholds": [
                                        {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}
                                    ]
                                },
                                "load_assignment": {
                                    "cluster_name": "up",
                                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": addr(UP)}}]}],
                                },
                            }
                        ],
                    },
                }
            )
        )

    def command(self):
        return [
            ENVOY, "-c", str(self.d / "envoy.json"), "--concurrency", "1",
            "-l", "critical", "--disable-hot-restart",
        ]  # fmt: skip


class Gateway(Peer):
    """This project's proxy, from a file, with metrics on and no access log."""

    def write(self, rules, extra=None):
        routes = []
        by_host = collections.defaultdict(list)
        for r in rules:
            by_host[r.host].append(r)
        if extra:
            by_host[extra].append(None)
        for host, its in by_host.items():
            for start in range(0, len(its), 16):
                routes.append(self.route(f"r{len(routes)}", host, its[start : start + 16]))
        objects = [
            {"apiVersion": GROUP, "kind": "GatewayClass", "metadata": {"name": "g"}, "spec": {"controllerName": "example.net/gateway"}},
            {"apiVersion": GROUP, "kind": "Gateway", "metadata": {"name": "g", "namespace": "default"}, "spec": {
                "gatewayClassName": "g", "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
                "listeners": [{"name": "http", "port": PORT, "protocol": "HTTP"}]}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "up", "namespace": "default"},
             "spec": {"ports": [{"port": UP, "targetPort": UP}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": "up", "namespace": "default", "labels": {"kubernetes.io/service-name": "up"}},
             "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": UP}]},
        ]  # fmt: skip
        put(self.d / "conf.yaml", "\n---\n".join(json.dumps(o) for o in objects + routes))

    def route(self, name, host, rules):
        def match(r):
            if r is None:
                return {}
            m = {"path": {"type": "RegularExpression", "value": r.regex} if r.regex else {"type": "PathPrefix", "value": r.prefix}}
            if r.header:
                m["headers"] = [{"name": r.header[0], "value": r.header[1]}]
            if r.method:
                m["method"] = r.method
            if r.query:
                m["queryParams"] = [{"name": r.query[0], "value": r.query[1]}]
            return m

        backends = [{"name": "up", "port": UP}]
        spec = {"parentRefs": [{"name": "g"}], "rules": [{"matches": [match(r)], "backendRefs": backends} for r in rules]}
        if host:
            spec["hostnames"] = [host]
        return {"apiVersion": GROUP, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"}, "spec": spec}

    def command(self):
        return [GATEWAY, "run", str(self.d / "conf.yaml"), "--workers", "1", "--admin", f"127.0.0.1:{ADMIN}", "--access-log", self.access_log()]

    def access_log(self):
        return "off"


class GatewayLogging(Gateway):
    """With its access log written to a file."""

    def access_log(self):
        return str(self.d / "access.log")


class NginxLogging(Nginx):
    """With its access log written to a file."""

    access_log = "access.log"


PEERS = {
    "gateway": Gateway,
    "gateway-log": GatewayLogging,
    "nginx": Nginx,
    "nginx-log": NginxLogging,
    "haproxy": Haproxy,
    "haproxy-tcp": HaproxyTcp,
    "envoy": Envoy,
}


def peer(name: str, d: pathlib.Path) -> Peer:
    return PEERS[name](d)


def found(names: list[str]) -> list[str]:
    """Those that are installed; the others are named on standard error."""
    programs = {"gateway": GATEWAY, "envoy": ENVOY}
    there = []
    for name in names:
        program = programs.get(name.split("-")[0], name.split("-")[0])
        if shutil.which(program):
            there.append(name)
        else:
            print(f"not found, left out: {name} ({program})", file=sys.stderr)
    return there
