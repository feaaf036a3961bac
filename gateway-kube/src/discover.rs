//! Which kinds the cluster serves, and in which version.
//!
//! In: the discovery documents of the API server. Out: [`Served`]. Not here: watching them.

use std::collections::BTreeMap;

use gateway_core::api::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, Kind};
use kube::{Client, core::ApiResource};

/// The kinds that can be asked for, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Served {
    by_kind: BTreeMap<Kind, ApiResource>,
}

impl Served {
    /// How objects of `kind` are asked for; none if the cluster does not serve the kind.
    pub(crate) fn get(&self, kind: Kind) -> Option<&ApiResource> {
        self.by_kind.get(&kind)
    }

    /// The kinds that are wanted and not served.
    pub(crate) fn missing(&self) -> Vec<Kind> {
        let wanted = Kind::ALL.iter().copied().filter(|kind| is_listed(*kind));
        wanted.filter(|kind| !self.by_kind.contains_key(kind)).collect()
    }

    /// The kinds whose objects are all listed.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (Kind, &ApiResource)> {
        self.by_kind.iter().map(|(kind, how)| (*kind, how)).filter(|(kind, _)| is_listed(*kind))
    }

    /// Counts a kind as served that discovery does not show.
    pub(crate) fn keep(&mut self, kind: Kind, how: &ApiResource) {
        self.by_kind.insert(kind, how.clone());
    }

    /// Whether there can be Gateways at all.
    pub(crate) fn has_gateways(&self) -> bool {
        self.by_kind.contains_key(&Kind::Gateway) && self.by_kind.contains_key(&Kind::GatewayClass)
    }
}

/// Whether all objects of a kind are listed. Secrets and ConfigMaps are asked for one by one;
/// meshes are not ours.
pub(crate) fn is_listed(kind: Kind) -> bool {
    !matches!(kind, Kind::Secret | Kind::ConfigMap | Kind::XMesh)
}

/// Asks the API server.
///
/// # Errors
/// If it does not answer.
pub(crate) async fn discover(client: &Client) -> Result<Served, kube::Error> {
    let mut served = Served::default();
    for kind in Kind::ALL.iter().copied().filter(|kind| !kind.is_gateway_api()) {
        served.by_kind.insert(kind, builtin(kind));
    }
    let groups = client.list_api_groups().await?.groups;
    for group in [GATEWAY_GROUP, EXPERIMENTAL_GROUP] {
        let Some(found) = groups.iter().find(|found| found.name == group) else { continue };
        let mut by_version = BTreeMap::new();
        for version in &found.versions {
            match client.list_api_group_resources(&version.group_version).await {
                Ok(resources) => by_version.insert(version.version.as_str(), resources.resources),
                // A group that has just come or gone is listed before or after it is served.
                Err(kube::Error::Api(status)) if status.code == 404 => None,
                Err(error) => return Err(error),
            };
        }
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.group() == group) {
            // The preferred version first.
            let found = kind.versions().iter().find_map(|version| {
                let resources = by_version.get(version)?;
                let of_kind =
                    |resource: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource| {
                        resource.kind == kind.as_str() && !resource.name.contains('/')
                    };
                let resource = resources.iter().find(of_kind)?;
                Some(resource_of(kind, version, &resource.name))
            });
            if let Some(found) = found {
                served.by_kind.insert(kind, found);
            }
        }
    }
    Ok(served)
}

fn builtin(kind: Kind) -> ApiResource {
    // Plurals of the kinds that every cluster has.
    let plural = match kind {
        Kind::Namespace => "namespaces",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        _ => "configmaps",
    };
    resource_of(kind, kind.versions()[0], plural)
}

fn resource_of(kind: Kind, version: &str, plural: &str) -> ApiResource {
    let api_version = match kind.group() {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    ApiResource {
        group: kind.group().to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.as_str().to_owned(),
        plural: plural.to_owned(),
    }
}
