//! What becomes of a request: which rule and which backend, or which answer.
//!
//! In: a [`RouteTable`] and the head of a request. Out: a [`Decision`], all of it borrowed from the
//! table. Not here: running the filters of the rule (`filter`), which can still answer, and
//! forwarding, which needs IO.

use std::fmt;

use crate::{
    backend::WeightedBackend,
    compile::{Found, Ingress, Miss, RouteTable},
    filter::FilterCause,
    matcher::RequestHead,
    resolve::topology::Rule,
};

/// What to do with a request.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'t> {
    /// Run the filters of the rule, then forward.
    Forward(Forward<'t>),
    /// Answer at once.
    Respond(Respond),
}

/// A request that a rule serves.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'t> {
    /// The rule, and how it was found.
    pub found: Found<'t>,
    /// The backend whose turn it is. A cause counts only once the filters of the rule have run
    /// without answering: a redirect needs no backend.
    pub backend: Result<&'t WeightedBackend, Cause>,
}

/// An answer of the gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The HTTP status.
    pub status: u16,
    /// The code in `grpc-status`, for gRPC requests, whose HTTP status is 200.
    pub grpc_status: Option<u8>,
    /// Why.
    pub cause: Cause,
}

/// Why the gateway answered a request itself; a label for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// No listener serves the host.
    NoListener,
    /// No rule matches.
    NoRoute,
    /// The host belongs to another listener than the connection's server name.
    Misdirected,
    /// The request itself is malformed.
    BadRequest,
    /// The rule has no backends, or none with a weight.
    NoBackend,
    /// The backend whose turn it was cannot be used.
    InvalidBackend,
    /// The rule has a filter that is invalid or not supported.
    InvalidFilter,
    /// A redirect filter answered.
    Redirect,
    /// A CORS preflight was answered.
    CorsPreflight,
    /// A filter of the embedding application answered.
    Custom,
    /// External authorization refused the request.
    AuthDenied,
    /// External authorization could not be asked.
    AuthUnavailable,
    /// The body is longer than external authorization may see.
    BodyTooLarge,
    /// The backend has no endpoint that is ready.
    NoEndpoint,
    /// No connection to the backend.
    UpstreamConnect,
    /// TLS with the backend could not be set up as its policy asks.
    UpstreamTls,
    /// The connection to the backend broke before an answer came.
    UpstreamReset,
    /// The backend's answer was malformed.
    UpstreamProtocol,
    /// One try at the backend took too long.
    UpstreamTimeout,
    /// The request as a whole took too long.
    RequestTimeout,
    /// Another try was due, but too many requests to the backend are retries already.
    RetryBudget,
    /// Too many requests at once.
    Overload,
}

impl Cause {
    /// The cause as a label in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoListener => "no-listener",
            Self::NoRoute => "no-route",
            Self::Misdirected => "misdirected",
            Self::BadRequest => "bad-request",
            Self::NoBackend => "no-backend",
            Self::InvalidBackend => "invalid-backend",
            Self::InvalidFilter => "invalid-filter",
            Self::Redirect => "redirect",
            Self::CorsPreflight => "cors-preflight",
            Self::Custom => "custom",
            Self::AuthDenied => "auth-denied",
            Self::AuthUnavailable => "auth-unavailable",
            Self::BodyTooLarge => "body-too-large",
            Self::NoEndpoint => "no-endpoint",
            Self::UpstreamConnect => "upstream-connect",
            Self::UpstreamTls => "upstream-tls",
            Self::UpstreamReset => "upstream-reset",
            Self::UpstreamProtocol => "upstream-protocol",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::RequestTimeout => "request-timeout",
            Self::RetryBudget => "retry-budget",
            Self::Overload => "overload",
        }
    }

    /// The answer for this cause where the gateway has to make one up.
    ///
    /// Causes whose answer comes from elsewhere (a redirect, an authorization service) get what
    /// suits if nothing else is known.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Redirect => 302,
            Self::CorsPreflight | Self::Custom => 200,
            Self::BadRequest => 400,
            Self::AuthDenied => 403,
            Self::NoListener | Self::NoRoute => 404,
            Self::BodyTooLarge => 413,
            Self::Misdirected => 421,
            Self::NoBackend | Self::InvalidBackend | Self::InvalidFilter => 500,
            Self::UpstreamConnect
            | Self::UpstreamTls
            | Self::UpstreamReset
            | Self::UpstreamProtocol => 502,
            Self::AuthUnavailable | Self::NoEndpoint | Self::RetryBudget | Self::Overload => 503,
            Self::UpstreamTimeout | Self::RequestTimeout => 504,
        }
    }

    /// The gRPC code that stands for this cause.
    // SPEC: gRPC status codes: UNIMPLEMENTED for an unknown method, DEADLINE_EXCEEDED for a timeout,
    // UNAVAILABLE where no backend could answer.
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        match self {
            Self::Redirect | Self::CorsPreflight | Self::Custom => 2,
            Self::BadRequest => 3,
            Self::UpstreamTimeout | Self::RequestTimeout => 4,
            Self::AuthDenied => 7,
            Self::BodyTooLarge | Self::Overload => 8,
            Self::NoListener | Self::NoRoute => 12,
            Self::Misdirected
            | Self::NoBackend
            | Self::InvalidBackend
            | Self::InvalidFilter
            | Self::AuthUnavailable
            | Self::NoEndpoint
            | Self::UpstreamConnect
            | Self::UpstreamTls
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::RetryBudget => 14,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<FilterCause> for Cause {
    fn from(cause: FilterCause) -> Self {
        match cause {
            FilterCause::Redirect => Self::Redirect,
            FilterCause::CorsPreflight => Self::CorsPreflight,
            FilterCause::InvalidFilter => Self::InvalidFilter,
            FilterCause::Custom => Self::Custom,
        }
    }
}

impl Respond {
    /// The answer for `cause`, to a gRPC request in the way that its clients understand.
    #[must_use]
    pub const fn new(cause: Cause, is_grpc: bool) -> Self {
        if is_grpc {
            Self { status: 200, grpc_status: Some(cause.grpc_status()), cause }
        } else {
            Self { status: cause.status(), grpc_status: None, cause }
        }
    }
}

impl From<Miss> for Respond {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NoListener => Self::new(Cause::NoListener, false),
            Miss::Misdirected => Self::new(Cause::Misdirected, false),
            Miss::NoRoute { grpc } => Self::new(Cause::NoRoute, grpc),
        }
    }
}

/// Decides on a request. `turn` numbers the requests of a rule (usually [`Rule::turns`]), so that
/// shares of backends come out exactly; it is called only for rules that have a choice to make.
///
/// ```
/// use gateway_core::{compile::{Ingress, RouteTable}, decide::{Cause, Decision, decide}};
/// use gateway_core::{matcher::RequestHead, resolve::topology::{Topology, Bind, BindKey, BindAddress, Transport}};
/// let key = BindKey { address: BindAddress::Default, port: 80, transport: Transport::Tcp };
/// let bind = Bind { key: key.clone(), listeners: vec![] };
/// let table = RouteTable::compile(&Topology { binds: vec![bind], ..Topology::default() }, 1);
/// let ingress = Ingress::plain(table.bind(&key).ok_or("the bind is there")?);
///
/// let (parts, ()) = http::Request::get("http://shop.example.com/cart").body(())?.into_parts();
/// let decision = decide(&table, &ingress, &RequestHead::of(&parts), |rule| rule.turns.next());
/// let Decision::Respond(answer) = decision else { return Err("there are no routes".into()) };
/// assert_eq!((answer.status, answer.cause), (404, Cause::NoListener));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decide<'t>(
    table: &'t RouteTable,
    ingress: &Ingress<'_>,
    head: &RequestHead<'_>,
    turn: impl FnOnce(&Rule) -> u64,
) -> Decision<'t> {
    match table.find(ingress, head) {
        Ok(found) => Decision::Forward(Forward { found, backend: pick(found.rule, turn) }),
        Err(miss) => Decision::Respond(miss.into()),
    }
}

fn pick(rule: &Rule, turn: impl FnOnce(&Rule) -> u64) -> Result<&WeightedBackend, Cause> {
    let turn = match rule.backends.as_slice() {
        [] | [_] => 0,
        _ => turn(rule),
    };
    let backend = rule.backends.pick(turn).ok_or(Cause::NoBackend)?;
    match &backend.target {
        Ok(_) => Ok(backend),
        Err(_) => Err(Cause::InvalidBackend),
    }
}
