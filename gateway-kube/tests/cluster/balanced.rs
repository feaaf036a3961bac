//! Each Gateway behind a Service of its own, all on the pods of the program.

use std::collections::BTreeMap;

use gateway_core::{
    api::{Kind, ObjectKey},
    snapshot::{Placement, Transport},
};
use gateway_kube::{balanced::Balanced, dedicated::foreign_name, rbac::Shape};
use serde_json::{Value, json};

use crate::{
    CLASSES, GATEWAYS, class, condition,
    fake::Fake,
    gateway,
    running::{Options, Replica, run},
};

const SERVICES: &str = "/services";

fn balanced(ports: &str) -> Balanced {
    Balanced {
        namespace: "default".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "gateway".to_owned())]),
        service_type: "LoadBalancer",
        ports: ports.parse().expect("it is a range"),
    }
}

fn fake() -> Fake {
    let fake = Fake::new().of_shape(Shape::Balanced);
    fake.apply(CLASSES, class());
    fake
}

fn start(fake: &Fake, ports: &str) -> Replica {
    let balanced = Some(balanced(ports));
    Replica::start_with(fake, Options { balanced, ..Options::default() })
}

fn follow(fake: &Fake, ports: &str, identity: &'static str) -> Replica {
    let balanced = Some(balanced(ports));
    let identity = Some(identity);
    Replica::start_with(fake, Options { balanced, identity, ..Options::default() })
}

fn name(gateway: &str) -> String {
    foreign_name("shop", gateway, "ours")
}

fn service(fake: &Fake, gateway: &str) -> Value {
    fake.get(SERVICES, "default", &name(gateway))
}

/// The ports of a Gateway's Service with those that stand for them.
fn allotted(fake: &Fake, gateway: &str) -> BTreeMap<u64, u64> {
    let service = service(fake, gateway);
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let number = |port: &Value, field: &str| port[field].as_u64().expect("it is a number");
    ports.map(|port| (number(port, "port"), number(port, "targetPort"))).collect()
}

/// The ports at which a replica has sockets for a Gateway.
fn placed(replica: &Replica, gateway: &str) -> BTreeMap<u64, u64> {
    let key = ObjectKey::new(Kind::Gateway, "shop", gateway);
    match replica.plane.served().own.get(&key) {
        Some(Placement::Ports(ports)) => {
            let tcp = ports.iter().filter(|((_, transport), _)| *transport == Transport::Tcp);
            tcp.map(|((port, _), number)| (u64::from(*port), u64::from(*number))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn programmed(fake: &Fake, gateway: &str) -> (String, String) {
    let gateway = fake.get(GATEWAYS, "shop", gateway);
    let condition = condition(&gateway["status"]["conditions"], "Programmed");
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn with_ports(name: &str, ports: &[u16]) -> Value {
    let mut gateway = gateway(name);
    let listener =
        |port: &u16| json!({"name": format!("p{port}"), "port": port, "protocol": "HTTP"});
    gateway["spec"]["listeners"] = ports.iter().map(listener).collect();
    gateway
}

/// The load balancer gives an address.
fn balance(fake: &Fake, gateway: &str, address: &str) {
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    fake.set_status(SERVICES, "default", &name(gateway), ingress);
}

fn permitted(fake: &Fake) {
    assert_eq!(fake.state().forbidden, [""; 0], "rights that the manifests do not give");
}

#[test]
fn a_gateway_is_programmed_at_the_address_of_its_service() {
    run(async {
        let fake = fake();
        let mut public = gateway("public");
        public["spec"]["infrastructure"] =
            json!({"labels": {"team": "a"}, "annotations": {"lb": "inner"}});
        fake.apply(GATEWAYS, public);
        let replica = start(&fake, "20000-29999");
        fake.until(|fake| !service(fake, "public").is_null()).await;
        fake.until(|fake| programmed(fake, "public").0 == "AddressNotAssigned").await;
        let made = service(&fake, "public");
        assert_eq!(made["metadata"]["labels"]["team"], "a");
        assert_eq!(made["metadata"]["annotations"]["lb"], "inner");
        assert_eq!(made["spec"]["selector"], json!({"app": "gateway"}));
        assert!(made["metadata"]["ownerReferences"].is_null());
        let ports = allotted(&fake, "public");
        assert!((20000..=29999).contains(&ports[&80]), "{ports:?}");
        balance(&fake, "public", "203.0.113.1");
        fake.until(|fake| programmed(fake, "public").0 == "Programmed").await;
        assert_eq!(placed(&replica, "public"), ports);
        let status = &fake.get(GATEWAYS, "shop", "public")["status"];
        assert_eq!(status["addresses"], json!([{"type": "IPAddress", "value": "203.0.113.1"}]));
        permitted(&fake);
        replica.end().await;
    });
}

#[test]
fn ports_are_the_same_after_a_restart_and_for_every_replica() {
    run(async {
        let fake = fake();
        // So few that chance would not do.
        let range = "20000-20003";
        fake.apply(GATEWAYS, with_ports("b", &[80, 443]));
        let first = follow(&fake, range, "first");
        fake.until(|fake| allotted(fake, "b").len() == 2).await;
        fake.apply(GATEWAYS, gateway("a"));
        fake.until(|fake| !service(fake, "a").is_null()).await;
        let (of_a, of_b) = (allotted(&fake, "a"), allotted(&fake, "b"));
        assert!(!of_b.values().any(|number| of_a[&80] == *number), "{of_a:?} {of_b:?}");
        let second = follow(&fake, range, "second");
        fake.until(|_| placed(&second, "b") == of_b && placed(&second, "a") == of_a).await;
        assert!(!second.plane.served().leads());
        first.end().await;
        fake.until(|_| second.plane.served().leads()).await;

        // A port comes and a port goes; the others stay.
        fake.apply(GATEWAYS, with_ports("b", &[80, 8080]));
        fake.until(|fake| allotted(fake, "b").contains_key(&8080)).await;
        fake.until(|fake| allotted(fake, "b").len() == 2).await;
        assert_eq!(allotted(&fake, "b")[&80], of_b[&80]);
        assert_eq!(allotted(&fake, "a"), of_a);

        // What somebody deletes comes back as it was.
        let before = allotted(&fake, "a");
        fake.delete(SERVICES, "default", &name("a"));
        fake.until(|fake| allotted(fake, "a") == before).await;
        permitted(&fake);
        second.end().await;
    });
}

#[test]
fn a_service_goes_with_its_gateway_also_after_a_restart() {
    run(async {
        let fake = fake();
        for name in ["a", "b", "c"] {
            fake.apply(GATEWAYS, gateway(name));
        }
        let replica = start(&fake, "20000-29999");
        fake.until(|fake| ["a", "b", "c"].iter().all(|name| !service(fake, name).is_null())).await;
        fake.delete(GATEWAYS, "shop", "a");
        fake.until(|fake| service(fake, "a").is_null()).await;
        replica.end().await;
        fake.delete(GATEWAYS, "shop", "b");
        // A Gateway that cannot be read is still there.
        let mut broken = gateway("c");
        broken["spec"]["listeners"] = "none".into();
        fake.apply(GATEWAYS, broken);
        let replica = start(&fake, "20000-29999");
        fake.until(|fake| service(fake, "b").is_null()).await;
        assert!(!service(&fake, "c").is_null());
        fake.delete(GATEWAYS, "shop", "c");
        fake.until(|fake| service(fake, "c").is_null()).await;
        permitted(&fake);
        replica.end().await;
    });
}

#[test]
fn when_no_port_is_left_the_status_says_so() {
    run(async {
        let fake = fake();
        fake.apply(GATEWAYS, with_ports("a", &[80, 81]));
        let replica = start(&fake, "20000-20001");
        fake.until(|fake| allotted(fake, "a").len() == 2).await;
        fake.apply(GATEWAYS, gateway("b"));
        fake.until(|fake| programmed(fake, "b").1.contains("all of 20000-20001 are in use")).await;
        assert!(service(&fake, "b").is_null());
        // One of two: the other one is served.
        fake.apply(GATEWAYS, with_ports("a", &[80, 81, 82]));
        fake.until(|fake| {
            let listeners = fake.get(GATEWAYS, "shop", "a")["status"]["listeners"].clone();
            condition(&listeners[2]["conditions"], "Programmed")["reason"] == "PortUnavailable"
        })
        .await;
        balance(&fake, "a", "203.0.113.1");
        fake.until(|fake| programmed(fake, "a").0 == "Programmed").await;
        fake.delete(GATEWAYS, "shop", "a");
        fake.until(|fake| allotted(fake, "b").len() == 1).await;
        replica.end().await;
    });
}

#[test]
fn a_service_of_somebody_else_is_not_touched() {
    run(async {
        let fake = fake();
        let theirs = json!({
            "metadata": {"namespace": "default", "name": name("public")},
            "spec": {"ports": [{"port": 80, "targetPort": 20000}]},
        });
        fake.apply(SERVICES, theirs);
        fake.apply(GATEWAYS, gateway("public"));
        let replica = start(&fake, "20000-29999");
        fake.until(|fake| programmed(fake, "public").1.contains("belongs to somebody else")).await;
        assert!(service(&fake, "public")["metadata"]["labels"].is_null());
        assert_eq!(placed(&replica, "public"), BTreeMap::new(), "no socket before it has a port");
        replica.end().await;
    });
}

#[test]
fn addresses_and_parameters() {
    run(async {
        let fake = fake();
        let mut public = gateway("public");
        public["spec"]["addresses"] = json!([{"type": "IPAddress", "value": "192.0.2.1"}]);
        fake.apply(GATEWAYS, public.clone());
        let replica = start(&fake, "20000-29999");
        fake.until(|fake| service(fake, "public")["spec"]["loadBalancerIP"] == "192.0.2.1").await;
        fake.until(|fake| programmed(fake, "public").0 == "AddressNotUsable").await;
        balance(&fake, "public", "192.0.2.1");
        fake.until(|fake| programmed(fake, "public").0 == "Programmed").await;

        let map = |key: &str, value: &str| json!({"metadata": {"namespace": "shop", "name": "parameters"}, "data": {key: value}});
        fake.apply("/configmaps", map("externalTrafficPolicy", "Local"));
        public["spec"]["infrastructure"] =
            json!({"parametersRef": {"group": "", "kind": "ConfigMap", "name": "parameters"}});
        fake.apply(GATEWAYS, public);
        fake.until(|fake| service(fake, "public")["spec"]["externalTrafficPolicy"] == "Local")
            .await;
        fake.apply("/configmaps", map("replicas", "2"));
        fake.until(|fake| {
            let gateway = fake.get(GATEWAYS, "shop", "public");
            let accepted = condition(&gateway["status"]["conditions"], "Accepted").clone();
            accepted["reason"] == "InvalidParameters"
        })
        .await;
        assert!(!service(&fake, "public").is_null(), "a mistake takes nothing down");
        permitted(&fake);
        replica.end().await;
    });
}

#[test]
fn a_start_without_api_server_knows_the_ports() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder can be had");
        let fake = fake();
        let start = || {
            let (balanced, cache) = (Some(balanced("20000-29999")), Some(folder.path().to_owned()));
            Replica::start_with(&fake, Options { balanced, cache, ..Options::default() })
        };
        fake.apply(GATEWAYS, gateway("a"));
        let replica = start();
        fake.until(|fake| !service(fake, "a").is_null()).await;
        balance(&fake, "a", "203.0.113.1");
        fake.until(|fake| programmed(fake, "a").0 == "Programmed").await;
        replica.end().await;
        let writes = fake.writes().len();
        fake.state().down = true;
        let replica = start();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert_eq!(placed(&replica, "a"), allotted(&fake, "a"));
        fake.state().down = false;
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert!(replica.plane.served().leads());
        let writes = fake.writes().split_off(writes).into_iter().map(|(line, _)| line);
        // The version of the CRDs is news to who had to begin without.
        let writes: Vec<String> =
            writes.filter(|line| !line.contains("/gatewayclasses/")).collect();
        assert_eq!(writes, [""; 0], "nothing has changed");
        replica.end().await;
    });
}
