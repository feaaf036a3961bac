//! The question that a table is asked, and its answer.

use std::sync::Arc;

use crate::{
    filter::RequestFacts,
    resolve::topology::{Listener, Route, Rule},
};

/// A socket of a table and of all that were [edited](super::RouteTable::edit) from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindId(pub(super) u32);

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress<'a> {
    /// The socket.
    pub bind: BindId,
    /// Over TLS: the server name that the client sent, if any.
    pub tls: Option<Option<&'a str>>,
}

impl<'a> Ingress<'a> {
    /// In plain text.
    #[must_use]
    pub fn plain(bind: BindId) -> Self {
        Self { bind, tls: None }
    }

    /// Over TLS, with the server name that the client sent.
    #[must_use]
    pub fn tls(bind: BindId, sni: Option<&'a str>) -> Self {
        Self { bind, tls: Some(sni) }
    }
}

/// The rule of a request or a connection.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The listener that it came in by.
    pub listener: &'t Arc<Listener>,
    /// The route.
    pub route: &'t Arc<Route>,
    /// The rule, one of the route's.
    pub rule: &'t Arc<Rule>,
    /// The entry of the rule's matches; 0 for rules that have none.
    pub match_index: usize,
    /// Bytes of the path that a prefix covers, without trailing slash; none if the path was matched
    /// in another way.
    pub matched_prefix: Option<usize>,
}

impl Found<'_> {
    /// What filters want to know besides the head of the request.
    #[must_use]
    pub fn facts(&self) -> RequestFacts {
        RequestFacts {
            scheme: self.listener.scheme(),
            listener_port: self.listener.port,
            matched_prefix: self.matched_prefix,
        }
    }
}

/// Why no rule serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// No listener of the socket serves the host.
    NoListener,
    /// The connection's server name belongs to another listener than the host of the request.
    Misdirected,
    /// No route of the listener matches.
    NoRoute {
        /// Whether the request is a gRPC call and has to be told so.
        grpc: bool,
    },
}
