//! What is ours, and what the embedding program brings along.
//!
//! In: settings of the program. Out: the answers that `resolve` needs besides the resources. Not
//! here: anything that changes while the program runs; that is in the snapshot.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{api::ConfigMap, backend::KeyPair, filter::CustomFilter, matcher::RegexLimits};

/// Which objects belong to us and how they may be served.
///
/// ```
/// use gateway_core::scope::ControllerScope;
/// let scope = ControllerScope::of_class("example.net/gateway-controller").external_names(true);
/// assert!(scope.owns_class("example.net/gateway-controller"));
/// assert!(!scope.owns_class("other.example/controller"));
/// ```
#[derive(Clone, Debug)]
pub struct ControllerScope {
    /// Which Gateways are ours.
    pub ownership: Ownership,
    /// Whether Gateways without addresses share the sockets of the program, so that only one of
    /// them can serve a port and hostname. Otherwise each has an address of its own.
    pub shared_sockets: bool,
    /// Whether addresses of Gateways are those of load balancers in front of the program: no socket
    /// is opened at them, and each Gateway has sockets of its own, whatever addresses it names.
    pub fronted: bool,
    /// Whether Services of type ExternalName may be backends. They can name any host, also ones
    /// that only the gateway reaches, so the default is no.
    pub external_names: bool,
    /// Bounds for regular expressions in routes.
    pub regex_limits: RegexLimits,
    /// Seed of the hash tables; a random one keeps clients from choosing colliding hosts.
    pub hash_seed: u64,
    /// Names for `supportedFeatures` of GatewayClasses; sorted when they are written, and only those
    /// that the installed CRDs can express.
    pub supported_features: &'static [&'static str],
    /// Looks into certificates; without one only their PEM frame is checked.
    pub certificate_check: Option<Arc<dyn CertificateCheck>>,
    /// Looks into parameters of Gateways and GatewayClasses; without one none are supported.
    pub parameters_check: Option<Arc<dyn ParametersCheck>>,
    /// By group and kind, then by name.
    filters: BTreeMap<(Box<str>, Box<str>), NamedFilters>,
}

/// The filters of one group and kind by name.
type NamedFilters = BTreeMap<Box<str>, Arc<dyn CustomFilter>>;

/// Which Gateways are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Those of every GatewayClass with this controller name.
    Class(String),
    /// All of them, whatever their class; the class need not exist.
    All,
}

/// Looks into certificates, which takes an X.509 parser that this crate does not have.
pub trait CertificateCheck: fmt::Debug + Send + Sync {
    /// The DNS names of the leaf certificate of `pair`.
    ///
    /// # Errors
    ///
    /// A message if the chain cannot be read or the private key is not that of the leaf.
    fn names(&self, pair: &KeyPair) -> Result<Vec<String>, String>;

    /// Whether `pem` holds certificates that can be trusted as authorities.
    ///
    /// # Errors
    ///
    /// A message if one of them cannot be read.
    fn authorities(&self, pem: &str) -> Result<(), String>;
}

/// Looks into the ConfigMaps that `parametersRef` names. What they say is up to the program.
pub trait ParametersCheck: fmt::Debug + Send + Sync {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    ///
    /// A message that names the key and says what would be right.
    fn check(&self, parameters: &ConfigMap) -> Result<(), String>;
}

/// Why an `extensionRef` names no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFilter {
    /// No filter was registered for group and kind.
    UnknownKind,
    /// Group and kind are known, the name is not.
    UnknownName,
}

impl ControllerScope {
    /// The controller that is named in the status of objects whose class does not exist.
    pub const DEFAULT_CONTROLLER: &'static str = "gateway-rs.github.io/gateway";

    /// The Gateways of all classes with this controller name, each with its own address.
    #[must_use]
    pub fn of_class(controller_name: impl Into<String>) -> Self {
        Self::new(Ownership::Class(controller_name.into()), false)
    }

    /// Every Gateway there is, on shared sockets: a program that reads files.
    #[must_use]
    pub fn all() -> Self {
        Self::new(Ownership::All, true)
    }

    fn new(ownership: Ownership, shared_sockets: bool) -> Self {
        Self {
            ownership,
            shared_sockets,
            fronted: false,
            external_names: false,
            regex_limits: RegexLimits::default(),
            hash_seed: 0,
            supported_features: &[],
            certificate_check: None,
            parameters_check: None,
            filters: BTreeMap::new(),
        }
    }

    /// Sets [`Self::shared_sockets`].
    #[must_use]
    pub fn shared_sockets(mut self, shared: bool) -> Self {
        self.shared_sockets = shared;
        self
    }

    /// Sets [`Self::fronted`].
    #[must_use]
    pub fn fronted(mut self, fronted: bool) -> Self {
        self.fronted = fronted;
        self
    }

    /// Sets [`Self::external_names`].
    #[must_use]
    pub fn external_names(mut self, allowed: bool) -> Self {
        self.external_names = allowed;
        self
    }

    /// Sets [`Self::regex_limits`].
    #[must_use]
    pub fn regex_limits(mut self, limits: RegexLimits) -> Self {
        self.regex_limits = limits;
        self
    }

    /// Sets [`Self::hash_seed`].
    #[must_use]
    pub fn hash_seed(mut self, seed: u64) -> Self {
        self.hash_seed = seed;
        self
    }

    /// Sets [`Self::supported_features`].
    #[must_use]
    pub fn supported_features(mut self, features: &'static [&'static str]) -> Self {
        self.supported_features = features;
        self
    }

    /// Sets [`Self::certificate_check`].
    #[must_use]
    pub fn certificate_check(mut self, check: Arc<dyn CertificateCheck>) -> Self {
        self.certificate_check = Some(check);
        self
    }

    /// Sets [`Self::parameters_check`].
    #[must_use]
    pub fn parameters_check(mut self, check: Arc<dyn ParametersCheck>) -> Self {
        self.parameters_check = Some(check);
        self
    }

    /// Adds a filter that routes name by an `extensionRef` to the object `name` of `kind`.
    #[must_use]
    pub fn with_filter(
        mut self,
        group: &str,
        kind: &str,
        name: &str,
        filter: Arc<dyn CustomFilter>,
    ) -> Self {
        let names = self.filters.entry((group.into(), kind.into())).or_default();
        names.insert(name.into(), filter);
        self
    }

    /// The filter behind an `extensionRef`.
    ///
    /// # Errors
    ///
    /// If there is none, whether already the kind is unknown.
    pub fn filter(
        &self,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Result<&Arc<dyn CustomFilter>, NoFilter> {
        let names = self.filters.get(&(group.into(), kind.into()));
        names.ok_or(NoFilter::UnknownKind)?.get(name).ok_or(NoFilter::UnknownName)
    }

    /// Whether classes with this controller name are ours.
    #[must_use]
    pub fn owns_class(&self, controller_name: &str) -> bool {
        match &self.ownership {
            Ownership::Class(ours) => ours == controller_name,
            Ownership::All => true,
        }
    }
}
