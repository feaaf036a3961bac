//! The features of the Gateway API v1.6.1 by their upstream names: what is served, and what shows it.
//!
//! One table gives the README its support table and a GatewayClass its `supportedFeatures`.

use std::fmt::Write as _;

/// A feature as the conformance suite names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The upstream name.
    pub name: &'static str,
    /// Whether every implementation must have it.
    pub level: Level,
    /// Which CRDs can express it.
    pub channel: Channel,
    /// How far it is served.
    pub support: Support,
    /// The folder under `testdata` whose goldens show it; empty as long as nothing does.
    pub goldens: &'static str,
}

/// Whether a feature is obligatory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Part of every profile of its route kind.
    Core,
    /// Optional.
    Extended,
}

/// The release channel whose CRDs a feature needs.
///
/// That is a matter of fields: upstream calls `TLSRouteModeMixed` and
/// `HTTPRouteDestinationPortMatching` experimental, but the standard CRDs have all that they take.
/// Since both are served whatever the channel, a class that did not claim them would say less than
/// is true, and would have to refuse listeners of mixed modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Both channels have it.
    Standard,
    /// Only the experimental CRDs have it.
    Experimental,
}

impl Channel {
    /// The channel as CRDs state it in an annotation. What is not known for certain counts as
    /// standard, so that nothing is claimed that cannot be asked for.
    ///
    /// ```
    /// use gateway_core::feature::Channel;
    /// assert_eq!(Channel::of_crds("experimental"), Channel::Experimental);
    /// assert_eq!(Channel::of_crds(""), Channel::Standard);
    /// ```
    #[must_use]
    pub fn of_crds(stated: &str) -> Self {
        if stated == Self::Experimental.as_str() { Self::Experimental } else { Self::Standard }
    }

    /// The name of the channel.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Experimental => "experimental",
        }
    }

    /// Whether CRDs of this channel can express the feature `name`. Names that the table does not
    /// have are those of the embedding program, which knows best.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        let known = FEATURES.iter().find(|feature| feature.name == name);
        self == Self::Experimental || known.is_none_or(|feature| feature.channel == self)
    }
}

/// How far a feature is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Status and traffic, from files.
    Served,
    /// Needs a cluster.
    Cluster,
    /// Nothing yet.
    Planned,
}

impl Support {
    /// What a reader of the support table sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "yes",
            Self::Cluster => "with the cluster adapter",
            Self::Planned => "planned",
        }
    }
}

const fn core(name: &'static str, support: Support, goldens: &'static str) -> Feature {
    Feature { name, level: Level::Core, channel: Channel::Standard, support, goldens }
}

const fn extended(name: &'static str, support: Support, goldens: &'static str) -> Feature {
    Feature { name, level: Level::Extended, channel: Channel::Standard, support, goldens }
}

const fn experimental(name: &'static str, support: Support, goldens: &'static str) -> Feature {
    Feature { name, level: Level::Extended, channel: Channel::Experimental, support, goldens }
}

/// All features, sorted by name.
pub const FEATURES: &[Feature] = {
    use Support::{Cluster, Planned, Served};
    &[
        core("BackendTLSPolicy", Served, "policy"),
        extended("BackendTLSPolicySANValidation", Served, "policy"),
        core("GRPCRoute", Served, "grpc"),
        extended("GRPCRouteNamedRouteRule", Served, "grpc"),
        core("Gateway", Served, "listener"),
        extended("GatewayAddressEmpty", Served, "status"),
        extended("GatewayBackendClientCertificate", Served, "tls"),
        extended("GatewayFrontendClientCertificateValidation", Served, "tls"),
        extended("GatewayFrontendClientCertificateValidationInsecureFallback", Served, "tls"),
        extended("GatewayHTTPListenerIsolation", Served, "listener"),
        extended("GatewayHTTPSListenerDetectMisdirectedRequests", Served, "tls"),
        extended("GatewayInfrastructurePropagation", Cluster, ""),
        extended("GatewayPort8080", Served, "listener"),
        extended("GatewayStaticAddresses", Served, "status"),
        core("HTTPRoute", Served, "match"),
        extended("HTTPRoute303RedirectStatusCode", Served, "filter/redirect"),
        extended("HTTPRoute307RedirectStatusCode", Served, "filter/redirect"),
        extended("HTTPRoute308RedirectStatusCode", Served, "filter/redirect"),
        extended("HTTPRouteBackendProtocolH2C", Served, "backend"),
        extended("HTTPRouteBackendProtocolWebSocket", Served, "backend"),
        extended("HTTPRouteBackendRequestHeaderModification", Served, "filter/header-modifier"),
        extended("HTTPRouteBackendTimeout", Served, "timeout"),
        extended("HTTPRouteCORS", Served, "filter/cors"),
        extended("HTTPRouteDestinationPortMatching", Served, "attach"),
        extended("HTTPRouteHostRewrite", Served, "filter/rewrite"),
        extended("HTTPRouteMethodMatching", Served, "match"),
        extended("HTTPRouteNamedRouteRule", Served, "match"),
        extended("HTTPRouteParentRefPort", Served, "attach"),
        extended("HTTPRoutePathRedirect", Served, "filter/redirect"),
        extended("HTTPRoutePathRewrite", Served, "filter/rewrite"),
        extended("HTTPRoutePortRedirect", Served, "filter/redirect"),
        extended("HTTPRouteQueryParamMatching", Served, "match"),
        extended("HTTPRouteRequestMirror", Served, "filter/mirror"),
        extended("HTTPRouteRequestMultipleMirrors", Served, "filter/mirror"),
        extended("HTTPRouteRequestPercentageMirror", Served, "filter/mirror"),
        extended("HTTPRouteRequestTimeout", Served, "timeout"),
        extended("HTTPRouteResponseHeaderModification", Served, "filter/header-modifier"),
        experimental("HTTPRouteRetry", Served, "retry"),
        experimental("HTTPRouteRetryBackendTimeout", Served, "retry"),
        experimental("HTTPRouteRetryConnectionError", Served, "retry"),
        extended("HTTPRouteSchemeRedirect", Served, "filter/redirect"),
        extended("ListenerSet", Served, "listenerset"),
        core("Mesh", Planned, ""),
        extended("MeshClusterIPMatching", Planned, ""),
        extended("MeshConsumerRoute", Planned, ""),
        extended("MeshHTTPRouteBackendRequestHeaderModification", Planned, ""),
        extended("MeshHTTPRouteNamedRouteRule", Planned, ""),
        extended("MeshHTTPRouteQueryParamMatching", Planned, ""),
        extended("MeshHTTPRouteRedirectPath", Planned, ""),
        extended("MeshHTTPRouteRedirectPort", Planned, ""),
        extended("MeshHTTPRouteRewritePath", Planned, ""),
        extended("MeshHTTPRouteSchemeRedirect", Planned, ""),
        core("ReferenceGrant", Served, "grant"),
        core("TCPRoute", Served, "l4"),
        core("TLSRoute", Served, "l4"),
        extended("TLSRouteModeMixed", Served, "l4"),
        extended("TLSRouteModeTerminate", Served, "l4"),
        core("UDPRoute", Served, "l4"),
    ]
};

/// The names of the features that are served, as a GatewayClass lists them.
#[must_use]
pub fn served() -> Vec<&'static str> {
    let served = FEATURES.iter().filter(|feature| feature.support == Support::Served);
    served.map(|feature| feature.name).collect()
}

/// The names of the features that are served in a cluster.
#[must_use]
pub fn served_in_cluster() -> Vec<&'static str> {
    let served = FEATURES
        .iter()
        .filter(|feature| matches!(feature.support, Support::Served | Support::Cluster));
    served.map(|feature| feature.name).collect()
}

/// The support table of the README, in Markdown.
#[must_use]
pub fn support_table() -> String {
    let mut table = String::from(
        "| feature | level | channel | supported | shown by |\n|---|---|---|---|---|\n",
    );
    for feature in FEATURES {
        let level = match feature.level {
            Level::Core => "core",
            Level::Extended => "extended",
        };
        let shown = match feature.goldens {
            "" => String::new(),
            folder => format!("[testdata/{folder}](testdata/{folder})"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {level} | {} | {} | {shown} |",
            feature.name,
            feature.channel.as_str(),
            feature.support.as_str()
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Channel, FEATURES};

    #[test]
    fn the_table_is_sorted_and_fits_into_a_status() {
        assert!(FEATURES.is_sorted_by(|a, b| a.name < b.name));
        assert!(FEATURES.len() <= 64, "supportedFeatures holds 64");
    }

    #[test]
    fn a_channel_has_what_its_definitions_can_express() {
        let check = |name: &str, standard: bool| {
            assert!(Channel::Experimental.has(name), "{name}");
            assert_eq!(Channel::Standard.has(name), standard, "{name}");
        };
        check("HTTPRoute", true);
        check("TLSRouteModeTerminate", true);
        check("TLSRouteModeMixed", true);
        check("HTTPRouteRetry", false);
        check("example.net/own", true);
    }
}
