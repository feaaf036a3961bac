//! What the pods of all Gateways are to serve.
//!
//! In: builds, and the [`Plan`]. Out: an [`Offer`] for each Gateway. Not here: handing them out.
//!
//! A Gateway that is refused keeps the spec that was served last, and all else goes on: its pods
//! follow routes, Services, endpoints, grants and renewed certificates as they would otherwise. So a
//! typing error takes no traffic down, and neither does the next roll-over of a backend.
//!
//! What that spec names comes from the cluster as long as it is watched. If only that spec names it,
//! it is as it was last. So are the authorities for clients of the last spec, if without that the last
//! spec is refused as well. If it is refused even then, since a grant for the authorities was
//! withdrawn, the pods keep what they had without what is not permitted any more: they do not serve
//! listeners whose clients nobody can judge, and follow nothing but grants until the spec is put right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gateway_core::{
    api::{EndpointSlice, Gateway, ObjectKey},
    build::Builder,
    snapshot::Snapshot,
};

use super::plan::Plan;
use crate::{
    config_stream::{Account, Offer, SERVICE_NAME, needs, needs_of, still_permitted},
    reference::references,
};

/// The offers, as of the last build.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    published: BTreeMap<ObjectKey, (Account, Offer)>,
    /// What Gateways that are refused come to with the specs that they had before.
    refused: Option<Refused>,
    slices: BTreeMap<ObjectKey, Arc<EndpointSlice>>,
}

#[derive(Debug)]
struct Refused {
    builder: Builder,
    /// What it was built from, sharing its objects with the cluster's snapshot.
    built: Snapshot,
}

impl Refused {
    /// What these Gateways need in this cluster.
    fn needs(
        &mut self,
        whole: Snapshot,
        gateways: &BTreeSet<ObjectKey>,
    ) -> BTreeMap<ObjectKey, Snapshot> {
        self.builder.apply(whole.changes_since(&self.built));
        self.built = whole;
        let wanted = |key: &ObjectKey| gateways.contains(key);
        needs_of(self.builder.snapshot(), self.builder.topology(), wanted)
    }
}

impl Offers {
    /// One for each account.
    pub(crate) fn all(&self) -> BTreeMap<Account, Offer> {
        self.published.values().cloned().collect()
    }

    /// Follows a build.
    pub(crate) fn publish(&mut self, builder: &Builder, plan: &Plan) {
        let is_named = |key: &ObjectKey| plan.get(key).is_some_and(|wanted| !wanted.collides);
        self.published.retain(|key, _| is_named(key));
        let needs = needs(builder.snapshot(), builder.topology());
        let refused: BTreeSet<ObjectKey> =
            self.published.keys().filter(|key| !needs.contains_key(*key)).cloned().collect();
        for (key, snapshot) in needs {
            self.offer(key, snapshot, plan);
        }
        for (key, snapshot) in self.refused(builder, &refused) {
            self.offer(key, snapshot, plan);
        }
        self.slices.clone_from(builder.snapshot().endpoint_slices());
    }

    fn offer(&mut self, key: ObjectKey, snapshot: Snapshot, plan: &Plan) {
        let Some(wanted) = plan.get(&key).filter(|wanted| !wanted.collides) else { return };
        let before = self.published.get(&key);
        // While its objects are left alone, so are its pods.
        let kept = before.filter(|_| wanted.objects.is_none());
        let (account, pods) = match kept {
            Some((account, offer)) => (account.clone(), offer.pods),
            None => (wanted.account(), wanted.pods),
        };
        let offer = Offer { gateway: key.clone(), snapshot: Arc::new(snapshot), pods };
        self.published.insert(key, (account, offer));
    }

    /// What Gateways that are refused need.
    fn refused(
        &mut self,
        builder: &Builder,
        refused: &BTreeSet<ObjectKey>,
    ) -> BTreeMap<ObjectKey, Snapshot> {
        if refused.is_empty() {
            self.refused = None;
            return BTreeMap::new();
        }
        let snapshot = builder.snapshot();
        let mut last = self.refused.take().unwrap_or_else(|| Refused {
            builder: Builder::new(builder.scope().clone()),
            built: Snapshot::default(),
        });
        let mut whole = self.with_last_specs(builder, refused);
        let mut found = last.needs(whole.clone(), refused);
        let unserved: BTreeSet<_> =
            refused.iter().filter(|key| !found.contains_key(*key)).cloned().collect();
        if !unserved.is_empty() {
            for key in &unserved {
                self.restore_authorities(key, &mut whole);
            }
            // The others keep to what the cluster has.
            found.extend(last.needs(whole, &unserved));
        }
        for key in &unserved {
            if !found.contains_key(key)
                && let Some((_, offer)) = self.published.get(key)
            {
                found.insert(key.clone(), still_permitted(key, &offer.snapshot, snapshot));
            }
        }
        self.refused = Some(last);
        found
    }

    /// The cluster as it would be if these Gateways were still as they were.
    fn with_last_specs(&self, builder: &Builder, refused: &BTreeSet<ObjectKey>) -> Snapshot {
        let snapshot = builder.snapshot();
        let mut whole = snapshot.clone();
        // What is watched and not there is gone, and is to be.
        let watched = references(snapshot, &[], builder.scope());
        for key in refused {
            let Some((_, offer)) = self.published.get(key) else { continue };
            let had = &offer.snapshot;
            let Some(gateway) = had.gateways().get(key) else { continue };
            // Parameters are for objects, which stay as they are.
            let name = &gateway.spec.gateway_class_name;
            if let Some(class) = snapshot.gateway_class("", name) {
                let mut class = (**class).clone();
                class.spec.parameters_ref = None;
                whole.insert(class.into());
            }
            whole.insert(Gateway::clone(gateway).into());
            // What only the last spec names is not watched any more.
            for (key, secret) in had.secrets() {
                if !snapshot.secrets().contains_key(key) && !watched.contains(key) {
                    whole.insert((**secret).clone().into());
                }
            }
            for (key, map) in had.config_maps() {
                if !snapshot.config_maps().contains_key(key) && !watched.contains(key) {
                    whole.insert((**map).clone().into());
                }
            }
        }
        whole
    }

    /// Puts the authorities for the clients of a Gateway back to what its pods have.
    fn restore_authorities(&self, gateway: &ObjectKey, whole: &mut Snapshot) {
        let Some((_, offer)) = self.published.get(gateway) else { return };
        let had = &offer.snapshot;
        let spec = had.gateways().get(gateway).and_then(|gateway| gateway.spec.tls.as_ref());
        let Some(frontend) = spec.and_then(|tls| tls.frontend.as_ref()) else { return };
        let per_port = frontend.per_port.iter().filter_map(|port| port.tls.as_ref());
        let all = frontend.default.iter().chain(per_port);
        let validations = all.filter_map(|tls| tls.validation.as_ref());
        for reference in validations.flat_map(|validation| &validation.ca_certificate_refs) {
            let namespace = reference.namespace(&gateway.namespace);
            if let Some(map) = had.config_map(namespace, &reference.name) {
                whole.insert((**map).clone().into());
            }
        }
    }

    /// Follows a build in which nothing but endpoints differs from the one before.
    pub(crate) fn locate(&mut self, builder: &Builder) {
        let (before, now) = (&self.slices, builder.snapshot().endpoint_slices());
        let keys = before.keys().chain(now.keys()).collect::<BTreeSet<_>>().into_iter();
        let same = |key: &&ObjectKey| match (before.get(*key), now.get(*key)) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        for key in keys.filter(|key| !same(key)) {
            let slice = now.get(key);
            for (_, offer) in self.published.values_mut() {
                let wanted = slice.filter(|slice| is_of_a_service(slice, &offer.snapshot));
                if wanted.is_none() && !offer.snapshot.endpoint_slices().contains_key(key) {
                    continue;
                }
                let snapshot = Arc::make_mut(&mut offer.snapshot);
                match wanted {
                    Some(slice) => snapshot.insert((**slice).clone().into()),
                    None => snapshot.remove(key),
                };
            }
        }
        self.slices.clone_from(now);
    }
}

/// Whether the endpoints are those of a Service that is needed.
fn is_of_a_service(slice: &EndpointSlice, needed: &Snapshot) -> bool {
    let service = slice.metadata.labels.get(SERVICE_NAME);
    service.is_some_and(|service| needed.service(&slice.metadata.namespace, service).is_some())
}

#[cfg(test)]
mod tests {
    use gateway_core::{
        api::{Kind, ObjectKey, Resource},
        build::Builder,
        scope::ControllerScope,
        snapshot::Change,
    };
    use serde_json::{Value, json};

    use super::Offers;
    use crate::dedicated::{Blueprint, Check, plan::plan};

    struct Cluster {
        builder: Builder,
        offers: Offers,
    }

    impl Cluster {
        fn new() -> Self {
            let scope = ControllerScope::of_class("example.net/us")
                .shared_sockets(false)
                .parameters_check(std::sync::Arc::new(Check));
            Self { builder: Builder::new(scope), offers: Offers::default() }
        }

        fn apply(&mut self, kind: Kind, object: Value) {
            let resource = Resource::deserialize(kind, object).expect("it can be read");
            self.change(Change::Upsert(resource));
        }

        fn change(&mut self, change: Change) {
            self.builder.apply([change]);
            let blueprint = Blueprint {
                controller_name: "example.net/us".to_owned(),
                image: String::new(),
                config_url: String::new(),
                authority: String::new(),
                arguments: Vec::new(),
            };
            self.offers.publish(&self.builder, &plan(&self.builder, &blueprint));
        }

        /// The authority for clients that the pods know.
        fn authority(&self) -> Option<String> {
            let all = self.offers.all();
            let map = all.values().next()?.snapshot.config_map("pki", "clients")?;
            map.data.get("ca.crt").cloned()
        }

        /// What the pods know, apart from Namespaces.
        fn offered(&self) -> Vec<String> {
            let all = self.offers.all();
            let Some(offer) = all.values().next() else { return Vec::new() };
            let known = offer.snapshot.changes_since(&Default::default());
            let name = |change: &Change| match change {
                Change::Upsert(resource) if resource.kind() != Kind::Namespace => {
                    Some(resource.key().to_string())
                }
                _ => None,
            };
            let mut known: Vec<String> = known.iter().filter_map(name).collect();
            known.sort();
            known
        }
    }

    fn class() -> Value {
        json!({"metadata": {"name": "ours"}, "spec": {"controllerName": "example.net/us"}})
    }

    fn gateway(secret: &str, parameters: Option<&str>) -> Value {
        let infrastructure = parameters
            .map(|name| json!({"parametersRef": {"group": "", "kind": "ConfigMap", "name": name}}));
        json!({
            "metadata": {"namespace": "infra", "name": "gw"},
            "spec": {
                "gatewayClassName": "ours",
                "infrastructure": infrastructure,
                "listeners": [{"name": "https", "port": 443, "protocol": "HTTPS",
                    "tls": {"certificateRefs": [{"name": secret}]}}],
            },
        })
    }

    fn secret(name: &str) -> Value {
        let pem = |label: &str| {
            use std::fmt::Write as _;
            let mut text = String::new();
            let _ = write!(text, "-----BEGIN {label}-----\neA==\n-----END {label}-----\n");
            text
        };
        json!({
            "metadata": {"namespace": "infra", "name": name},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": pem("CERTIFICATE"), "tls.key": pem("PRIVATE KEY")},
        })
    }

    fn route(service: &str) -> Value {
        json!({
            "metadata": {"namespace": "infra", "name": "route"},
            "spec": {
                "parentRefs": [{"name": "gw"}],
                "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
            },
        })
    }

    fn service(name: &str) -> Value {
        json!({"metadata": {"namespace": "infra", "name": name}, "spec": {"ports": [{"port": 80}]}})
    }

    fn slice(name: &str, service: &str) -> Value {
        json!({
            "metadata": {"namespace": "infra", "name": name,
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"]}],
            "ports": [{"port": 8080}],
        })
    }

    fn started() -> Cluster {
        let mut cluster = Cluster::new();
        cluster.apply(Kind::GatewayClass, class());
        cluster.apply(Kind::Secret, secret("cert"));
        cluster.apply(Kind::Gateway, gateway("cert", None));
        for name in ["a", "b"] {
            cluster.apply(Kind::Service, service(name));
            cluster.apply(Kind::EndpointSlice, slice(&format!("{name}-1"), name));
        }
        cluster.apply(Kind::HttpRoute, route("a"));
        let whole = ["EndpointSlice infra/a-1", "Gateway infra/gw", "HTTPRoute infra/route"];
        assert_eq!(cluster.offered()[..3], whole);
        assert_eq!(cluster.offered()[3..], ["Secret infra/cert", "Service infra/a"]);
        cluster
    }

    #[test]
    fn a_gateway_that_is_refused_keeps_its_spec_and_follows_all_else() {
        let mut cluster = started();
        // Its parameters do not exist, and it names another certificate.
        cluster.apply(Kind::Gateway, gateway("other", Some("missing")));
        assert!(cluster.builder.topology().listeners.is_empty(), "it is refused");
        cluster.change(Change::Remove(ObjectKey::new(Kind::Secret, "infra", "cert")));
        assert_eq!(cluster.offered()[3..], ["Secret infra/cert", "Service infra/a"]);
        cluster.apply(Kind::EndpointSlice, slice("a-2", "a"));
        assert_eq!(cluster.offered()[..2], ["EndpointSlice infra/a-1", "EndpointSlice infra/a-2"]);
        cluster.apply(Kind::HttpRoute, route("b"));
        let moved = ["EndpointSlice infra/b-1", "Gateway infra/gw", "HTTPRoute infra/route"];
        assert_eq!(cluster.offered()[..3], moved);
        assert_eq!(cluster.offered()[3..], ["Secret infra/cert", "Service infra/b"]);
        // Without the route there is nothing left but the listener.
        cluster.change(Change::Remove(ObjectKey::new(Kind::HttpRoute, "infra", "route")));
        assert_eq!(cluster.offered(), ["Gateway infra/gw", "Secret infra/cert"]);
        // Put right, it is as it says.
        cluster.apply(Kind::Secret, secret("other"));
        cluster.apply(Kind::Gateway, gateway("other", None));
        assert_eq!(cluster.offered(), ["Gateway infra/gw", "Secret infra/other"]);
        // Of another class, it is not ours any more.
        let mut theirs = gateway("other", None);
        theirs["spec"]["gatewayClassName"] = "theirs".into();
        cluster.apply(Kind::Gateway, theirs);
        assert!(cluster.offered().is_empty());
    }

    /// With an authority for clients, in another namespace.
    fn careful(parameters: Option<&str>) -> Value {
        let mut careful = gateway("cert", parameters);
        careful["spec"]["tls"] = json!({"frontend": {"default": {"validation": {
            "caCertificateRefs": [
                {"group": "", "kind": "ConfigMap", "namespace": "pki", "name": "clients"},
            ],
        }}}});
        careful
    }

    fn authority(pem: &str) -> Value {
        json!({"metadata": {"namespace": "pki", "name": "clients"}, "data": {"ca.crt": pem}})
    }

    fn pem() -> String {
        ["-----BEGIN CERTIFICATE-----", "eA==", "-----END CERTIFICATE-----", ""].join("\n")
    }

    fn grant(to: &str) -> Value {
        json!({
            "metadata": {"namespace": "pki", "name": "grant"},
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway",
                    "namespace": "infra"}],
                "to": [{"group": "", "kind": to}],
            },
        })
    }

    /// Whose clients show certificates of an authority.
    fn started_carefully() -> Cluster {
        let mut cluster = started();
        cluster.apply(Kind::Namespace, json!({"metadata": {"name": "pki"}}));
        cluster.apply(Kind::ReferenceGrant, grant("ConfigMap"));
        cluster.apply(Kind::ConfigMap, authority(&pem()));
        cluster.apply(Kind::Gateway, careful(None));
        cluster
    }

    const CAREFUL: [&str; 7] = [
        "ConfigMap pki/clients",
        "EndpointSlice infra/a-1",
        "Gateway infra/gw",
        "HTTPRoute infra/route",
        "ReferenceGrant pki/grant",
        "Secret infra/cert",
        "Service infra/a",
    ];

    #[test]
    fn an_authority_that_cannot_be_used_stays_as_it_was() {
        let mut cluster = started_carefully();
        assert_eq!(cluster.offered(), CAREFUL);
        let gone = Change::Remove(ObjectKey::new(Kind::ConfigMap, "pki", "clients"));
        let broken = ["", "none"].map(|pem| {
            let map = Resource::deserialize(Kind::ConfigMap, authority(pem));
            Change::Upsert(map.expect("it can be read"))
        });
        for change in broken.into_iter().chain([gone]) {
            cluster.change(change);
            assert!(cluster.builder.topology().listeners.is_empty(), "it is refused");
            assert_eq!(cluster.offered(), CAREFUL);
            assert_eq!(cluster.authority(), Some(pem()));
        }
        // All else goes on.
        cluster.apply(Kind::HttpRoute, route("b"));
        assert_eq!(cluster.offered()[6], "Service infra/b");
        // One that can be used again is.
        let renewed = pem() + &pem();
        cluster.apply(Kind::ConfigMap, authority(&renewed));
        assert_eq!(cluster.authority(), Some(renewed));
    }

    #[test]
    fn what_is_not_permitted_any_more_is_taken_from_pods() {
        let mut cluster = started_carefully();
        cluster.apply(Kind::Gateway, careful(Some("missing")));
        assert_eq!(cluster.offered(), CAREFUL);
        cluster.apply(Kind::ReferenceGrant, grant("Secret"));
        assert_eq!(cluster.offered(), CAREFUL[1..]);
        cluster.change(Change::Remove(ObjectKey::new(Kind::ReferenceGrant, "pki", "grant")));
        assert_eq!(cluster.offered(), [&CAREFUL[1..4], &CAREFUL[5..]].concat());
    }

    #[test]
    fn a_certificate_that_its_owner_removed_goes_although_the_gateway_is_refused() {
        let mut cluster = started();
        // The spec names the same certificate as before, so it is still watched.
        cluster.apply(Kind::Gateway, gateway("cert", Some("missing")));
        assert_eq!(cluster.offered()[3..], ["Secret infra/cert", "Service infra/a"]);
        cluster.change(Change::Remove(ObjectKey::new(Kind::Secret, "infra", "cert")));
        assert_eq!(cluster.offered()[3..], ["Service infra/a"]);
    }

    #[test]
    fn endpoints_alone_come_to_what_a_build_comes_to() {
        let mut cluster = started();
        let upsert = |name: &str, service: &str| {
            let slice = Resource::deserialize(Kind::EndpointSlice, slice(name, service));
            Change::Upsert(slice.expect("it can be read"))
        };
        let removed =
            |name: &str| Change::Remove(ObjectKey::new(Kind::EndpointSlice, "infra", name));
        for change in [
            upsert("a-2", "a"),
            upsert("b-2", "b"),
            upsert("a-2", "b"),
            upsert("b-2", "a"),
            removed("a-1"),
            removed("b-1"),
            upsert("a-1", "nobody"),
        ] {
            cluster.builder.apply([change.clone()]);
            cluster.offers.locate(&cluster.builder);
            let located = cluster.offered();
            cluster.change(change);
            assert_eq!(located, cluster.offered());
        }
        assert_eq!(cluster.offered()[0], "EndpointSlice infra/b-2");
    }
}
