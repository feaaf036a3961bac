//! A request that is only asked about: what would become of it?
//!
//! In: method, address, headers, server name. Out: an explanation for each socket that it could
//! come in by. Not here: how the question is put (`cli`, `admin`) and the answer printed.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use gateway_core::{
    build::Build,
    compile::Ingress,
    explain::{Explanation, explain},
    matcher::{RequestHead, Scheme},
    snapshot::{BindAddress, BindKey, Transport},
};
use http::{Request, Uri, Version, header::HOST, request::Parts, uri::Authority};
use serde::Serialize;

use crate::{
    args::{HeaderLine, RequestLine},
    guard::{Framing, Limits, Peer, Refusal, admit},
};

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The port of its address is that of the listener.
    pub(crate) request: RequestLine,
    /// A `Host` wins over the host of the address, as with curl.
    pub(crate) headers: Vec<HeaderLine>,
    /// The server name of the handshake, if it is not the host. Empty for none.
    pub(crate) sni: Option<String>,
}

/// What becomes of a request that comes in by one socket.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    /// Where the socket listens, as the Gateway says it.
    pub(crate) address: String,
    /// The port of the listeners.
    pub(crate) port: u16,
    /// Step by step.
    pub(crate) explanation: Explanation,
}

/// Why no route is even looked for.
#[derive(Clone, Debug)]
pub(crate) enum Unanswered {
    /// The request is refused as it stands.
    Refused(Refusal),
    /// No Gateway listens on its port.
    Unserved {
        /// The port that is asked for.
        port: u16,
        /// Those that listeners have.
        served: BTreeSet<u16>,
    },
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refusal { status, reason, .. }) => {
                write!(f, "answered with {status} before any route is looked for: {reason}")
            }
            Self::Unserved { port, served } if served.is_empty() => {
                write!(f, "no Gateway listens on port {port}, nor on any other")
            }
            Self::Unserved { port, served } => {
                let served: Vec<_> = served.iter().map(u16::to_string).collect();
                let served = served.join(", ");
                write!(f, "no Gateway listens on port {port}; listeners have port {served}")
            }
        }
    }
}

impl Question {
    /// What would become of it: at least one answer.
    pub(crate) fn ask(&self, build: &Build) -> Result<Vec<Answer>, Unanswered> {
        let head = self.head().map_err(Unanswered::Refused)?;
        let port = self.request.port();
        let keys = build.topology.binds.iter().map(|bind| &bind.key);
        let keys: Vec<_> = keys.filter(|key| key.transport == Transport::Tcp).collect();
        let here = keys.iter().filter(|key| key.port == port);
        let answers: Vec<_> = here.filter_map(|key| self.answer(build, key, &head)).collect();
        if answers.is_empty() {
            let served = keys.iter().map(|key| key.port).collect();
            return Err(Unanswered::Unserved { port, served });
        }
        Ok(answers)
    }

    fn answer(&self, build: &Build, key: &BindKey, head: &Parts) -> Option<Answer> {
        let bind = build.table.bind(key)?;
        let head = RequestHead::of(head);
        let sni = self.sni.as_deref().unwrap_or_else(|| head.host());
        let ingress = match self.request.is_https() {
            true => Ingress::tls(bind, Some(sni).filter(|name| !name.is_empty())),
            false => Ingress::plain(bind),
        };
        let explanation = explain(&build.table, &ingress, &head);
        Some(Answer { address: address(key), port: key.port, explanation })
    }

    /// The head as routes see it, which is also the one that backends get.
    fn head(&self) -> Result<Parts, Refusal> {
        let mut request = Request::new(());
        *request.method_mut() = self.request.method.clone();
        *request.uri_mut() = self.request.uri.clone();
        // The address stands for Host, and there is no connection whose framing could be judged.
        *request.version_mut() = Version::HTTP_2;
        for header in &self.headers {
            request.headers_mut().append(header.name.clone(), header.value.clone());
        }
        let (mut head, ()) = request.into_parts();
        let host = head.headers.get(HOST).map(|host| Authority::try_from(host.as_bytes()));
        if let Some(Ok(authority)) = host {
            let mut parts = head.uri.into_parts();
            parts.authority = Some(authority);
            head.uri = Uri::from_parts(parts).unwrap_or_else(|_| self.request.uri.clone());
        }
        let scheme = if self.request.is_https() { Scheme::Https } else { Scheme::Http };
        let peer = Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), scheme);
        admit(&mut head, &peer, Framing::default(), &Limits::default())?;
        Ok(head)
    }
}

fn address(key: &BindKey) -> String {
    match &key.address {
        BindAddress::Default => "the default address".to_owned(),
        BindAddress::Ip(ip) => ip.to_string(),
        BindAddress::Hostname(name) => name.to_string(),
        BindAddress::Own(gateway) => format!("the address of {gateway}"),
    }
}
