//! A start without API server.

use std::time::Duration;

use gateway_kube::{AddressPool, Notice};
use tokio::time::sleep;

use crate::{
    CLASSES, GATEWAYS, ROUTES, class,
    fake::Fake,
    gateway, route,
    running::{Options, Replica, run},
};

#[test]
fn what_was_served_last_is_served_until_the_api_server_answers() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder can be had");
        let start = |fake: &Fake| {
            let pool = AddressPool::new(["192.0.2.0/24".parse().expect("it is a range")]);
            let cache = Some(folder.path().to_owned());
            Replica::start_with(fake, Options { pool, cache, ..Options::default() })
        };
        let has_status = |fake: &Fake, name| fake.get(ROUTES, "shop", name)["status"].is_object();
        let fake = Fake::new();
        // With and without API server the same is observed.
        let crd = "gatewayclasses.gateway.networking.k8s.io";
        fake.delete("apiextensions.k8s.io/customresourcedefinitions", "", crd);
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("first"));
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        fake.apply(ROUTES, route("b", "gw"));
        let replica = start(&fake);
        fake.until(|fake| has_status(fake, "a") && has_status(fake, "b")).await;
        fake.delete(GATEWAYS, "shop", "first");
        sleep(Duration::from_secs(5)).await;
        let before = replica.plane.served();
        assert!(before.leads());
        replica.end().await;

        fake.state().down = true;
        let writes = fake.writes().len();
        let replica = start(&fake);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(replica.plane.served().serves, 0, "the API server has some time to answer");
        sleep(Duration::from_secs(60)).await;
        let served = replica.plane.served();
        assert_eq!((&served.names, &served.own), (&before.names, &before.own));
        assert_eq!(fake.writes().len(), writes);
        assert!(!served.leads(), "what the cache has is nothing to write by");
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Cached { .. })), 1);

        fake.state().down = false;
        fake.delete(ROUTES, "shop", "a");
        fake.apply(ROUTES, route("c", "gw"));
        fake.until(|fake| has_status(fake, "c")).await;
        let names: Vec<String> = replica.plane.served().names.into_iter().collect();
        assert_eq!(names, ["b", "c"]);
        assert!(replica.plane.served().leads());
        let mut moved = gateway("gw");
        moved["spec"]["listeners"][0]["port"] = 8080.into();
        fake.apply(GATEWAYS, moved);
        fake.until(|fake| {
            let status = fake.get(GATEWAYS, "shop", "gw")["status"].clone();
            status["conditions"][0]["observedGeneration"] == 2
        })
        .await;
        let addresses = &fake.get(GATEWAYS, "shop", "gw")["status"]["addresses"];
        assert_eq!(addresses[0]["value"], "192.0.2.2");
        replica.end().await;
    });
}

#[test]
fn without_cache_nothing_is_served_until_the_api_server_answers() {
    run(async {
        let fake = Fake::new();
        fake.state().down = true;
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(replica.plane.served().serves, 0);
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Undiscovered(_))), 1);
        replica.end().await;
    });
}
