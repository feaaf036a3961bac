//! Endpoints for operators: `/healthz`, `/readyz`, `/metrics`, `/status`, `/config`, `/explain`.
//!
//! In: what is served now. Out: text and JSON, on an address of its own, loopback unless told
//! otherwise. Not here: any way to change something, and anything out of a Secret.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use gateway_core::{
    build::Build,
    resolve::topology::{Bind, Listener, ListenerProtocol, Route, Rule, Topology},
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use crate::{question::Question, run::Inspector};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 64;

/// What the endpoints show.
#[derive(Debug)]
pub struct Admin {
    inspector: Inspector,
    served: ArcSwapOption<Build>,
}

impl Admin {
    /// Shows the state of a gateway.
    #[must_use]
    pub fn new(inspector: Inspector) -> Arc<Self> {
        Arc::new(Self { inspector, served: ArcSwapOption::empty() })
    }

    /// Shows this build from now on.
    pub fn show(&self, build: Build) {
        self.served.store(Some(Arc::new(build)));
    }

    /// Serves the endpoints until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        self.serve_some(listener, Self::answer).await;
    }

    /// Serves those of the endpoints that tell nothing about routes, for whoever watches over us.
    pub async fn serve_probes(self: Arc<Self>, listener: TcpListener) {
        self.serve_some(listener, Self::answer_probe).await;
    }

    async fn serve_some(
        self: Arc<Self>,
        listener: TcpListener,
        answer: fn(&Self, &Request<Incoming>) -> Response<Full<Bytes>>,
    ) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((socket, _)) = listener.accept().await else {
                sleep(Duration::from_millis(200)).await;
                continue;
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&admin, &request);
                    async { Ok::<_, Infallible>(answer) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(socket), service);
                // How an operator's connection ends concerns nobody.
                let _ = connection.await;
                drop(place);
            });
        }
    }

    fn answer_probe(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/healthz" | "/readyz" | "/metrics" => self.answer(request),
            _ => {
                text(StatusCode::NOT_FOUND, "not found; there are /healthz, /readyz and /metrics\n")
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is of use here\n");
        }
        let served = self.served.load();
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.inspector.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no routes are served\n"),
            "/metrics" => metrics(self.inspector.metrics()),
            "/" => text(
                StatusCode::OK,
                "/healthz\n/readyz\n/metrics\n/status\n/config\n/explain?url=\n",
            ),
            path => match (path, &*served) {
                ("/status", Some(build)) => match serde_json::to_value(&build.status) {
                    Ok(status) => json_answer(StatusCode::OK, &status),
                    Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
                },
                ("/config", Some(build)) => json_answer(StatusCode::OK, &config(&build.topology)),
                ("/explain", Some(build)) => match explain(build, request.uri().query()) {
                    Ok(explained) => json_answer(StatusCode::OK, &explained),
                    Err(wrong) => text(StatusCode::BAD_REQUEST, &format!("{wrong}\n")),
                },
                ("/status" | "/config" | "/explain", None) => {
                    text(StatusCode::SERVICE_UNAVAILABLE, "no routes are served\n")
                }
                _ => text(StatusCode::NOT_FOUND, "not found; / lists what there is\n"),
            },
        }
    }
}

/// Opens the socket of the endpoints.
///
/// # Errors
/// If the address cannot be bound.
pub async fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", format!("{value:#}\n"))
}

fn metrics(metrics: String) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics)
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// What is served, without anything secret: certificates are counted, not shown.
fn config(topology: &Topology) -> Value {
    let listener = |listener: &Arc<Listener>| {
        json!({
            "gateway": listener.gateway.to_string(),
            "owner": listener.owner.to_string(),
            "name": listener.name,
            "hostname": listener.hostname.to_string(),
            "port": listener.port,
            "protocol": protocol(&listener.protocol),
        })
    };
    let bind = |bind: &Bind| {
        json!({
            "address": format!("{:?}", bind.key.address),
            "port": bind.key.port,
            "transport": format!("{:?}", bind.key.transport),
            "listeners": bind.listeners.iter().map(|id| id.0).collect::<Vec<_>>(),
        })
    };
    json!({
        "binds": topology.binds.iter().map(bind).collect::<Vec<_>>(),
        "listeners": topology.listeners.iter().map(listener).collect::<Vec<_>>(),
        "routes": topology.routes.values().map(|found| route(found)).collect::<Vec<_>>(),
    })
}

fn protocol(protocol: &ListenerProtocol) -> Value {
    match protocol {
        ListenerProtocol::Https(tls) | ListenerProtocol::TlsTerminate(tls) => json!({
            "name": if matches!(protocol, ListenerProtocol::Https(_)) { "HTTPS" } else { "TLS" },
            "certificates": tls.certificates.len(),
            "clientValidation": tls.client_validation.is_some(),
        }),
        ListenerProtocol::Http => json!({"name": "HTTP"}),
        ListenerProtocol::TlsPassthrough => json!({"name": "TLS", "passthrough": true}),
        ListenerProtocol::Tcp => json!({"name": "TCP"}),
        ListenerProtocol::Udp => json!({"name": "UDP"}),
    }
}

fn route(route: &Route) -> Value {
    let attachments = route.attachments.iter().map(|attachment| {
        let hostnames = attachment.hostnames.iter().map(ToString::to_string);
        json!({"listener": attachment.listener.0, "hostnames": hostnames.collect::<Vec<_>>()})
    });
    json!({
        "route": route.key.to_string(),
        "attachments": attachments.collect::<Vec<_>>(),
        "rules": route.rules.iter().map(|found| rule(found)).collect::<Vec<_>>(),
    })
}

fn rule(rule: &Rule) -> Value {
    let backends = rule.backends.as_slice().iter().map(|weighted| match &weighted.target {
        Ok(backend) => json!({
            "backend": backend.key.to_string(),
            "weight": weighted.weight,
            "protocol": format!("{:?}", backend.protocol),
            "tls": backend.tls.is_some(),
        }),
        Err(invalid) => json!({"invalid": format!("{invalid:?}"), "weight": weighted.weight}),
    });
    json!({
        "name": rule.name,
        "index": rule.index,
        "matches": rule.matches.iter().map(|found| format!("{found:?}")).collect::<Vec<_>>(),
        "filters": rule.filters.len(),
        "backends": backends.collect::<Vec<_>>(),
    })
}

/// What becomes of a request and why: `url`, and optionally `method`, `sni` and any number of
/// `header` as `name:value`.
fn explain(build: &Build, query: Option<&str>) -> Result<Value, String> {
    let pairs: Vec<(String, String)> = pairs(query.unwrap_or(""));
    let of = |name: &str| pairs.iter().find(|(of, _)| of == name).map(|(_, value)| &**value);
    let url = of("url")
        .ok_or("say what to explain: /explain?url=http://host/path&method=GET&header=name:value")?;
    let headers = pairs.iter().filter(|(name, _)| name == "header");
    let question = Question {
        request: format!("{} {url}", of("method").unwrap_or("GET")).parse()?,
        headers: headers.map(|(_, header)| header.parse()).collect::<Result<_, _>>()?,
        sni: of("sni").map(str::to_owned),
    };
    let answers = question.ask(build).map_err(|unanswered| unanswered.to_string())?;
    Ok(json!({ "sockets": answers }))
}

/// The parameters of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let text = text.as_bytes();
    let mut bytes = Vec::with_capacity(text.len());
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        place += 1;
        let escaped = (*byte == b'%').then(|| hex(text.get(place)).zip(hex(text.get(place + 1))));
        match (byte, escaped.flatten()) {
            (_, Some((high, low))) => {
                bytes.push((high << 4 | low) as u8);
                place += 2;
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn queries_are_decoded() {
        let got = pairs("url=http%3a%2F%2Fa%2fb&x=1+2&y&z=%zz%4");
        let got: Vec<_> = got.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(got, [("url", "http://a/b"), ("x", "1 2"), ("y", ""), ("z", "%zz%4")]);
    }
}
