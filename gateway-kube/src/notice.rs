//! What the operator is told.
//!
//! In: events of the adapter. Out: one line of text each. Not here: where it is printed.

use std::{fmt, sync::Arc};

use gateway_core::api::{Kind, ObjectKey};

/// Takes notices as they come.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The API server does not answer; what is known stays.
    Lost(String),
    /// It answers again.
    Back,
    /// Kinds that the cluster does not serve.
    Missing(Vec<Kind>),
    /// Objects of a kind cannot be listed or watched.
    Unwatched {
        /// The kind.
        kind: Kind,
        /// Namespace and name if it is about one object.
        object: Option<(String, String)>,
        /// Why.
        error: String,
    },
    /// An object that the API server holds cannot be read; what it said before, if anything, stays.
    Unreadable {
        /// The object.
        key: ObjectKey,
        /// Why.
        error: String,
    },
    /// The kinds of the cluster cannot be found out.
    Undiscovered(String),
    /// A status could not be written; it is tried again.
    Unwritten {
        /// The object.
        key: ObjectKey,
        /// Why.
        error: String,
    },
    /// The API server does not take a status; it is not tried again before something changes.
    Refused {
        /// The object.
        key: ObjectKey,
        /// Why.
        error: String,
    },
    /// The status of an object has no room for all that we would say.
    Full(ObjectKey),
    /// Whether this replica writes status from now on.
    Leading(bool),
    /// The lease cannot be read or written.
    Lease(String),
    /// The first configuration is served.
    Serving {
        /// Gateways of ours.
        gateways: usize,
        /// Routes.
        routes: usize,
    },
    /// The API server is away, and what an earlier run served is served.
    Cached {
        /// Gateways of ours and of others.
        gateways: usize,
        /// Routes.
        routes: usize,
    },
    /// The cache cannot be read or written.
    Uncached(String),
    /// Events cannot be written.
    Eventless(String),
    /// An object cannot be sent to data planes, which go on without it.
    Unsent(String),
    /// An object of a Gateway cannot be applied or removed; it is tried again.
    Unapplied {
        /// The object.
        object: String,
        /// Why.
        error: String,
    },
    /// An object of a Gateway was applied, and is not as it should be all the same. Told once of each.
    Changed {
        /// The object.
        object: String,
        /// Where it differs.
        difference: String,
    },
    /// Objects that Gateways are made of cannot be listed or watched; it is tried again.
    Unseen {
        /// Of which kind.
        objects: String,
        /// Why.
        error: String,
    },
    /// The server of configurations ended, which it never should.
    Unserved(String),
    /// The pool has no address left for a Gateway.
    PoolExhausted(ObjectKey),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) => {
                write!(f, "the API server does not answer, serving what is known: {error}")
            }
            Self::Back => f.write_str("the API server answers again"),
            Self::Missing(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                write!(
                    f,
                    "the cluster does not serve {}; install the CRDs of the Gateway API to use \
                     them, no restart is needed",
                    names.join(", ")
                )
            }
            Self::Unwatched { kind, object: None, error } => {
                write!(f, "cannot watch {kind} objects: {error}")
            }
            Self::Unwatched { kind, object: Some((namespace, name)), error } => {
                write!(f, "cannot watch {kind} {namespace}/{name}: {error}")
            }
            Self::Unreadable { key, error } => {
                write!(f, "{key} cannot be read, what it said before stays: {error}")
            }
            Self::Undiscovered(error) => {
                write!(f, "cannot find out which kinds the cluster serves: {error}")
            }
            Self::Unwritten { key, error } => {
                write!(f, "cannot write the status of {key}, trying again: {error}")
            }
            Self::Refused { key, error } => write!(
                f,
                "the API server refuses the status of {key}, which stays as it was until something \
                 changes: {error}"
            ),
            Self::Full(key) => {
                write!(f, "the status of {key} is full with entries of other controllers")
            }
            Self::Leading(true) => f.write_str("this replica writes status"),
            Self::Leading(false) => f.write_str("another replica writes status"),
            Self::Lease(error) => write!(f, "cannot use the lease of the leader: {error}"),
            Self::Serving { gateways, routes } => {
                write!(f, "serving {gateways} Gateways with {routes} routes")
            }
            Self::Cached { gateways, routes } => write!(
                f,
                "the API server is away: serving {gateways} Gateways with {routes} routes as the \
                 cache has them"
            ),
            Self::Uncached(error) => write!(f, "cannot use the cache: {error}"),
            Self::Eventless(error) => {
                write!(f, "cannot write Events, statuses say the same: {error}")
            }
            Self::Unsent(error) => write!(f, "an object cannot be sent to data planes: {error}"),
            Self::Unapplied { object, error } => {
                write!(f, "cannot apply {object}, trying again: {error}")
            }
            Self::Changed { object, difference } => write!(
                f,
                "{object} was applied, but {difference}: a webhook or the API server changes it; it \
                 is left so"
            ),
            Self::Unseen { objects, error } => {
                write!(f, "cannot watch {objects}, what is known of them stays: {error}")
            }
            Self::Unserved(error) => write!(f, "configurations are not served: {error}"),
            Self::PoolExhausted(key) => {
                write!(f, "no address of the pool is left for {key}; give more --address-pool")
            }
        }
    }
}
