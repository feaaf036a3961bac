//! Every Gateway has an address of its own.

use std::collections::BTreeSet;

use gateway_kube::AddressPool;
use serde_json::{Value, json};

use crate::{
    CLASSES, GATEWAYS, class, condition,
    fake::Fake,
    gateway,
    plane::Plane,
    running::{Options, Replica, run},
};

fn pool(ranges: &[&str]) -> AddressPool {
    AddressPool::new(ranges.iter().map(|range| range.parse().expect("it is a range")))
}

fn plane() -> Plane {
    let unusable = BTreeSet::from(["198.51.100.1".parse().expect("it is an address")]);
    Plane { unusable, ..Plane::default() }
}

fn start(fake: &Fake, ranges: &[&str]) -> Replica {
    Replica::start_with(fake, Options { plane: plane(), pool: pool(ranges), ..Options::default() })
}

fn addresses(fake: &Fake, gateway: &str) -> Value {
    fake.get(GATEWAYS, "shop", gateway)["status"]["addresses"].clone()
}

fn programmed(fake: &Fake, gateway: &str, generation: i64) -> String {
    let status = fake.get(GATEWAYS, "shop", gateway)["status"]["conditions"].clone();
    let programmed = condition(&status, "Programmed");
    match programmed["observedGeneration"] == generation {
        true => programmed["reason"].as_str().unwrap_or_default().to_owned(),
        false => String::new(),
    }
}

fn ip(address: &str) -> Value {
    json!([{"type": "IPAddress", "value": address}])
}

#[test]
fn addresses_outlive_the_program_and_are_released_with_the_gateway() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("b"));
        let replica = start(&fake, &["192.0.2.1-192.0.2.2"]);
        fake.until(|fake| addresses(fake, "b") == ip("192.0.2.1")).await;
        fake.apply(GATEWAYS, gateway("a"));
        fake.until(|fake| addresses(fake, "a") == ip("192.0.2.2")).await;
        fake.apply(GATEWAYS, gateway("c"));
        fake.until(|fake| programmed(fake, "c", 1) == "AddressNotAssigned").await;
        replica.end().await;
        let replica = start(&fake, &["192.0.2.1-192.0.2.2"]);
        fake.delete(GATEWAYS, "shop", "b");
        fake.until(|fake| programmed(fake, "c", 1) == "Programmed").await;
        assert_eq!(addresses(&fake, "c"), ip("192.0.2.1"));
        assert_eq!(addresses(&fake, "a"), ip("192.0.2.2"));
        replica.end().await;
    });
}

#[test]
fn static_addresses_step_by_step() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        let with = |addresses: &Value| {
            let mut gateway = gateway("gw");
            gateway["spec"]["addresses"] = addresses.clone();
            gateway
        };
        let unsupported = json!({"type": "example.net/fax", "value": "555"});
        let unusable = json!({"type": "IPAddress", "value": "198.51.100.1"});
        let usable = json!({"type": "IPAddress", "value": "192.0.2.7"});
        fake.apply(GATEWAYS, with(&json!([unsupported, unusable, usable])));
        let replica = start(&fake, &["192.0.2.0/24"]);
        fake.until(|fake| {
            let status = fake.get(GATEWAYS, "shop", "gw")["status"]["conditions"].clone();
            condition(&status, "Accepted")["reason"] == "UnsupportedAddress"
        })
        .await;
        fake.apply(GATEWAYS, with(&json!([unusable, usable])));
        fake.until(|fake| programmed(fake, "gw", 2) == "AddressNotUsable").await;
        fake.apply(GATEWAYS, with(&json!([usable])));
        fake.until(|fake| programmed(fake, "gw", 3) == "Programmed").await;
        assert_eq!(addresses(&fake, "gw"), json!([usable]));
        // A type without value asks for any address, beside one that is named.
        fake.apply(GATEWAYS, with(&json!([usable, {"type": "IPAddress"}])));
        fake.until(|fake| programmed(fake, "gw", 4) == "Programmed").await;
        let both = json!([usable, {"type": "IPAddress", "value": "192.0.2.1"}]);
        assert_eq!(addresses(&fake, "gw"), both, "{:#}", fake.get(GATEWAYS, "shop", "gw"));
        replica.end().await;
    });
}
