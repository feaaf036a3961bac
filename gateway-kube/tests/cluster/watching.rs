//! What is watched, and what happens if that fails.

use std::time::Duration;

use gateway_kube::Notice;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    CLASSES, GATEWAYS, ROUTES, class, condition,
    fake::{Fake, KINDS},
    gateway, route,
    running::{Replica, run},
};

fn has_status(fake: &Fake, route: &str) -> bool {
    fake.get(ROUTES, "shop", route)["status"]["parents"][0].is_object()
}

#[test]
fn a_list_follows_if_a_watch_cannot_go_on() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        fake.apply(ROUTES, route("b", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| has_status(fake, "a") && has_status(fake, "b")).await;
        // In one moment, so that no watch sees what happens: the list has to tell it.
        fake.delete(ROUTES, "shop", "a");
        fake.apply(ROUTES, route("c", "gw"));
        fake.cut(true);
        fake.until(|fake| has_status(fake, "c")).await;
        let names: Vec<String> = replica.plane.served().names.into_iter().collect();
        assert_eq!(names, ["b", "c"]);
        replica.end().await;
    });
}

#[test]
fn without_api_server_all_goes_on() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| has_status(fake, "a")).await;
        fake.state().down = true;
        fake.cut(false);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(replica.plane.served().names.len(), 1);
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Lost(_))), 1);
        fake.state().down = false;
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| has_status(fake, "b")).await;
        assert_eq!(replica.told(|notice| *notice == Notice::Back), 1);
        replica.end().await;
    });
}

#[test]
fn an_api_server_that_falls_silent_is_asked_anew() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, secure("gw", "cert"));
        fake.state().silent.push("/httproutes");
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(replica.plane.served().serves, 0);
        fake.state().silent.clear();
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        let told = |notice: &Notice| matches!(notice, Notice::Unwatched { .. });
        let before = replica.told(told);
        // Its connections stay open.
        fake.hush();
        fake.apply(ROUTES, route("a", "gw"));
        fake.apply("/secrets", json!({"metadata": {"namespace": "shop", "name": "cert"}}));
        fake.until(|fake| has_status(fake, "a")).await;
        fake.install("standard");
        sleep(Duration::from_secs(5)).await;
        assert!(replica.plane.served().secrets.contains("cert"));
        assert_eq!(replica.told(told), before, "there was nothing to tell");
        replica.end().await;
    });
}

#[test]
fn kinds_that_are_missing_are_picked_up_when_they_appear() {
    run(async {
        let fake = Fake::new();
        fake.state().kinds.clear();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(replica.plane.served().serves, 0, "nothing is known yet");
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Missing(_))), 1);
        fake.state().kinds =
            KINDS.iter().copied().filter(|(kind, _)| *kind != "HTTPRoute").collect();
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        fake.apply(ROUTES, route("a", "gw"));
        fake.state().kinds = KINDS.to_vec();
        fake.until(|fake| has_status(fake, "a")).await;
        // And its objects go with the kind.
        fake.state().kinds =
            KINDS.iter().copied().filter(|(kind, _)| *kind != "HTTPRoute").collect();
        let plane = replica.plane.clone();
        sleep(Duration::from_secs(60)).await;
        assert!(plane.served().names.is_empty());
        replica.end().await;
    });
}

#[test]
fn older_versions_do_until_the_newest_is_served() {
    run(async {
        let fake = Fake::new();
        fake.state().versions = vec!["v1beta1"];
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| has_status(fake, "a")).await;
        let asked = |part: &str| fake.state().requests.iter().any(|(line, _)| line.contains(part));
        assert!(!asked("networking.k8s.io/v1/"));
        let serves = replica.plane.served().serves;
        fake.state().versions = vec!["v1beta1", "v1"];
        sleep(Duration::from_secs(60)).await;
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| has_status(fake, "b")).await;
        assert!(asked("PATCH /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/b"));
        let served = replica.plane.served();
        assert_eq!(served.names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(served.serves, serves, "no socket was touched");
        replica.end().await;
    });
}

#[test]
fn an_api_server_that_does_not_know_its_kinds_yet_takes_nothing_away() {
    run(async {
        let fake = Fake::new();
        let names = KINDS.iter().map(|(_, plural)| format!("{plural}.gateway.networking.k8s.io"));
        for name in names.filter(|name| !name.starts_with("gatewayclasses")) {
            let crd = json!({"metadata": {"name": name}});
            fake.apply("apiextensions.k8s.io/customresourcedefinitions", crd);
        }
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| has_status(fake, "a")).await;
        let serves = replica.plane.served().serves;
        // It starts anew: first there are no kinds, then nobody may see them.
        fake.state().kinds.clear();
        for _ in 0..100 {
            fake.state().faults.push(("gateway.networking.k8s.io/v1/", 404));
            fake.state().faults.push(("gateway.networking.k8s.io/v1/", 403));
        }
        fake.cut(true);
        sleep(Duration::from_secs(120)).await;
        fake.state().kinds = KINDS.to_vec();
        fake.state().faults.clear();
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| has_status(fake, "b")).await;
        let served = replica.plane.served();
        assert_eq!(served.names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(served.serves, serves, "no socket was touched");
        replica.end().await;
    });
}

fn secure(name: &str, secret: &str) -> Value {
    let mut gateway = gateway(name);
    gateway["spec"]["listeners"][0] = json!({
        "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": secret}]},
    });
    gateway
}

#[test]
fn only_secrets_that_are_named_are_read_and_changes_wait_for_them() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, secure("gw", "cert"));
        for name in ["cert", "next", "private"] {
            let secret = json!({"metadata": {"namespace": "shop", "name": name}, "data": {}});
            fake.apply("/secrets", secret);
        }
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        let known =
            |replica: &Replica| replica.plane.served().secrets.into_iter().collect::<Vec<_>>();
        assert_eq!((known(&replica), replica.plane.served().serves), (vec!["cert".to_owned()], 2));
        fake.apply(GATEWAYS, secure("gw", "next"));
        let plane = replica.plane.clone();
        fake.until(|fake| {
            let status = fake.get(GATEWAYS, "shop", "gw")["status"]["conditions"][0].clone();
            status["observedGeneration"] == 2
        })
        .await;
        assert!(plane.served().secrets.contains("next"));
        let asked = |part: &str| fake.state().requests.iter().any(|(line, _)| line.contains(part));
        assert!(
            asked("/secrets?&fieldSelector=metadata.name%3Dnext"),
            "{:#?}",
            fake.state().requests
        );
        assert!(!asked("private") && !asked("/api/v1/secrets"));
        replica.end().await;
    });
}

#[test]
fn what_the_tls_of_a_backend_names_is_read_while_a_route_leads_there() {
    run(async {
        let fake = Fake::new();
        fake.state().kinds.push(("XBackend", "xbackends"));
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply("/secrets", json!({"metadata": {"namespace": "shop", "name": "client"}}));
        fake.apply("/configmaps", json!({"metadata": {"namespace": "shop", "name": "ca"}}));
        let backend = json!({
            "metadata": {"namespace": "shop", "name": "outside"},
            "spec": {
                "type": "ExternalHostname",
                "externalHostname": {"hostname": "www.example.com"},
                "port": {"port": 443},
                "tls": {
                    "mode": "ClientAndServer",
                    "clientCertificateRef": {"name": "client"},
                    "validation": {
                        "hostname": "www.example.com",
                        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
                    },
                },
            },
        });
        fake.apply("gateway.networking.x-k8s.io/xbackends", backend);
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        let known = |replica: &Replica| {
            let served = replica.plane.served();
            served.secrets.into_iter().chain(served.maps).collect::<Vec<_>>()
        };
        assert!(known(&replica).is_empty());
        let mut leading = route("a", "gw");
        leading["spec"]["rules"] = json!([{"backendRefs": [
            {"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "outside"},
        ]}]);
        fake.apply(ROUTES, leading);
        fake.until(|fake| has_status(fake, "a")).await;
        assert_eq!(known(&replica), ["client", "ca"]);
        replica.end().await;
    });
}

#[test]
fn without_right_to_read_a_secret_the_rest_is_served() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, secure("secure", "cert"));
        fake.apply(GATEWAYS, gateway("gw"));
        for _ in 0..3 {
            fake.state().faults.push(("/secrets", 403));
        }
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Unwatched { .. })), 1);
        replica.end().await;
    });
}

#[test]
fn what_cannot_be_read_is_told_and_what_it_said_before_is_served_on() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        fake.apply(ROUTES, route("b", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| has_status(fake, "a") && has_status(fake, "b")).await;
        let mut broken = route("a", "gw");
        broken["spec"]["rules"] = json!("all of them");
        fake.apply(ROUTES, broken);
        fake.apply(ROUTES, route("c", "gw"));
        fake.until(|fake| has_status(fake, "c")).await;
        let names: Vec<String> = replica.plane.served().names.into_iter().collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Unreadable { .. })), 1);
        let accepted = |fake: &Fake| {
            let status = fake.get(ROUTES, "shop", "a")["status"].clone();
            condition(&status["parents"][0]["conditions"], "Accepted").clone()
        };
        fake.until(|fake| accepted(fake)["reason"] == "UnsupportedValue").await;
        assert_eq!(accepted(&fake)["observedGeneration"], 2);
        fake.apply(ROUTES, route("a", "gw"));
        fake.until(|fake| accepted(fake)["status"] == "True").await;
        let plane = replica.plane.clone();
        sleep(Duration::from_secs(1)).await;
        assert!(plane.served().names.contains("a"));
        replica.end().await;
    });
}

fn service() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "cart"}, "spec": {"ports": [{"port": 80}]}})
}

fn slice(last: u8) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": "cart-1",
            "labels": {"kubernetes.io/service-name": "cart"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [format!("192.0.2.{last}")]}],
        "ports": [{"port": 8080}],
    })
}

#[test]
fn endpoints_do_not_wait_for_what_others_name() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply("/services", service());
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        let before = replica.plane.served();
        fake.state().silent.push("/secrets");
        fake.apply(GATEWAYS, secure("gw", "cert"));
        fake.apply("discovery.k8s.io/endpointslices", slice(1));
        sleep(Duration::from_millis(50)).await;
        fake.apply("discovery.k8s.io/endpointslices", slice(2));
        sleep(Duration::from_millis(50)).await;
        let served = replica.plane.served();
        assert_eq!(served.endpoints.into_iter().collect::<Vec<_>>(), ["192.0.2.2:8080"]);
        assert_eq!((served.locates, served.serves), (before.locates + 2, before.serves));
        // The rest goes on without the Secret after a while.
        fake.until(|fake| {
            let status = fake.get(GATEWAYS, "shop", "gw")["status"]["conditions"][0].clone();
            status["observedGeneration"] == 2
        })
        .await;
        replica.end().await;
    });
}

#[test]
fn endpoints_take_the_fast_lane() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply("/services", service());
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        sleep(Duration::from_secs(5)).await;
        let (before, writes) = (replica.plane.served(), fake.writes().len());
        for last in 1..=3 {
            fake.apply("discovery.k8s.io/endpointslices", slice(last));
            sleep(Duration::from_secs(1)).await;
            let served = replica.plane.served();
            let endpoints: Vec<String> = served.endpoints.into_iter().collect();
            assert_eq!(endpoints, [format!("192.0.2.{last}:8080")]);
        }
        let after = replica.plane.served();
        assert_eq!((after.serves, after.routes), (before.serves, before.routes));
        assert_eq!((after.locates, fake.writes().len()), (before.locates + 3, writes));
        replica.end().await;
    });
}
