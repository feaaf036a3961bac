//! Gateways on pods of their own: what is made for them, kept and removed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway_core::scope::ControllerScope;
use gateway_kube::{
    AddressPool, Notice, Settings,
    config_stream::Publisher,
    dedicated::{Blueprint, Check, Fleet},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{CLASSES, GATEWAYS, US, class, condition, fake::Fake, gateway, running};

const DEPLOYMENTS: &str = "apps/deployments";
const SERVICES: &str = "/services";
const ACCOUNTS: &str = "/serviceaccounts";
const MAPS: &str = "/configmaps";
const BUDGETS: &str = "policy/poddisruptionbudgets";

/// A controller of dedicated Gateways that is the only replica.
struct Replica {
    notices: Arc<Mutex<Vec<Notice>>>,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(fake: &Fake) -> Self {
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let told = Arc::clone(&notices);
        let settings = Settings {
            controller_name: US.to_owned(),
            scope: ControllerScope::of_class(US)
                .shared_sockets(false)
                .parameters_check(Arc::new(Check)),
            pool: AddressPool::default(),
            balanced: None,
            cache: None,
            election: None,
            notices: Arc::new(move |notice| {
                told.lock().expect("no test panics while it holds them").push(notice);
            }),
        };
        let blueprint = Blueprint {
            controller_name: US.to_owned(),
            image: "gateway:test".to_owned(),
            config_url: "https://gateway.default.svc:15443".to_owned(),
            authority: "certificate".to_owned(),
            arguments: Vec::new(),
        };
        let connection = fake.connection();
        let notify = Arc::clone(&settings.notices);
        let publisher = Publisher::default();
        let mut fleet = Fleet::start(&connection, blueprint, publisher, notify);
        let task = tokio::task::spawn_local(async move {
            gateway_kube::run(connection, settings, &mut fleet, std::future::pending()).await;
        });
        Self { notices, task }
    }

    /// Ends it as a crash does.
    fn end(self) {
        self.task.abort();
    }

    fn told(&self, part: &str) -> bool {
        let notices = self.notices.lock().expect("no test panics while it holds them");
        notices.iter().any(|notice| notice.to_string().contains(part))
    }
}

fn owned(name: &str) -> Value {
    let mut gateway = gateway(name);
    gateway["metadata"]["uid"] = format!("uid of {name}").into();
    gateway
}

fn programmed(fake: &Fake, name: &str) -> (String, String, String) {
    let gateway = fake.get(GATEWAYS, "shop", name);
    let condition = condition(&gateway["status"]["conditions"], "Programmed");
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Its pods are up, and the load balancer has given an address.
fn bring_up(fake: &Fake, name: &str, address: &str) {
    fake.set_status(DEPLOYMENTS, "shop", name, json!({"availableReplicas": 1}));
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    fake.set_status(SERVICES, "shop", name, ingress);
}

fn permitted(fake: &Fake) {
    assert_eq!(fake.state().forbidden, [""; 0], "rights that the manifests do not give");
}

#[test]
fn a_gateway_gets_its_objects_and_is_programmed_once_they_serve() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, owned("public"));
        let _replica = Replica::start(&fake);
        fake.until(|fake| programmed(fake, "public").1 == "Pending").await;
        fake.until(|fake| !fake.get(SERVICES, "shop", "public-ours").is_null()).await;
        for resource in [ACCOUNTS, MAPS, DEPLOYMENTS, SERVICES] {
            let object = fake.get(resource, "shop", "public-ours");
            assert_eq!(
                object["metadata"]["ownerReferences"][0]["uid"], "uid of public",
                "{resource}"
            );
        }
        bring_up(&fake, "public-ours", "203.0.113.1");
        fake.until(|fake| programmed(fake, "public").0 == "True").await;
        let addresses = fake.get(GATEWAYS, "shop", "public")["status"]["addresses"].clone();
        assert_eq!(addresses, json!([{"type": "IPAddress", "value": "203.0.113.1"}]));
        // All pods are lost.
        fake.set_status(DEPLOYMENTS, "shop", "public-ours", json!({"availableReplicas": 0}));
        fake.until(|fake| programmed(fake, "public").0 == "False").await;
        assert!(programmed(&fake, "public").2.contains("no pod of the Deployment public-ours"));
        permitted(&fake);
    });
}

#[test]
fn nodes_that_are_read_for_long_hold_nothing_up() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        let mut gateway = owned("public");
        gateway["spec"]["infrastructure"] = json!({
            "parametersRef": {"group": "", "kind": "ConfigMap", "name": "parameters"},
        });
        fake.apply(GATEWAYS, gateway);
        let map = json!({"metadata": {"namespace": "shop", "name": "parameters"}, "data": {"serviceType": "NodePort"}});
        fake.apply(MAPS, map);
        fake.state().silent.push("/nodes");
        let replica = Replica::start(&fake);
        let read =
            |fake: &Fake| fake.state().requests.iter().any(|(line, _)| line.contains("/nodes"));
        while !read(&fake) {
            sleep(Duration::from_millis(100)).await;
        }
        let at = Instant::now();
        fake.delete(DEPLOYMENTS, "shop", "public-ours");
        fake.until(|fake| !fake.get(DEPLOYMENTS, "shop", "public-ours").is_null()).await;
        assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
        sleep(Duration::from_secs(15)).await;
        assert!(replica.told("cannot watch Node objects"));
        permitted(&fake);
    });
}

#[test]
fn what_somebody_changes_is_put_back_and_what_is_wanted_no_more_is_removed() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, owned("public"));
        let mut map = json!({"metadata": {"namespace": "shop", "name": "parameters"}, "data": {"minAvailable": "1"}});
        fake.apply(MAPS, map.clone());
        let _replica = Replica::start(&fake);
        fake.until(|fake| !fake.get(DEPLOYMENTS, "shop", "public-ours").is_null()).await;
        let mut deployment = fake.get(DEPLOYMENTS, "shop", "public-ours");
        deployment["spec"]["replicas"] = 7.into();
        fake.apply(DEPLOYMENTS, deployment);
        fake.until(|fake| fake.get(DEPLOYMENTS, "shop", "public-ours")["spec"]["replicas"] == 1)
            .await;
        fake.delete(SERVICES, "shop", "public-ours");
        fake.until(|fake| !fake.get(SERVICES, "shop", "public-ours").is_null()).await;
        // In one moment, so that only a new list tells it.
        fake.delete(SERVICES, "shop", "public-ours");
        fake.state().refuses_forgotten = true;
        fake.cut(true);
        fake.until(|fake| !fake.get(SERVICES, "shop", "public-ours").is_null()).await;

        let mut gateway = owned("public");
        gateway["spec"]["infrastructure"] = json!({
            "labels": {"team": "shop"},
            "parametersRef": {"group": "", "kind": "ConfigMap", "name": "parameters"},
        });
        fake.apply(GATEWAYS, gateway.clone());
        fake.until(|fake| !fake.get(BUDGETS, "shop", "public-ours").is_null()).await;
        fake.until(|fake| {
            let template = fake.get(DEPLOYMENTS, "shop", "public-ours")["spec"]["template"].clone();
            template["metadata"]["labels"]["team"] == "shop"
        })
        .await;
        map["data"] = json!({});
        fake.apply(MAPS, map.clone());
        fake.until(|fake| fake.get(BUDGETS, "shop", "public-ours").is_null()).await;

        // Wrong parameters are told, and take nothing down.
        map["data"] = json!({"replicas": "many"});
        fake.apply(MAPS, map);
        fake.until(|fake| {
            let gateway = fake.get(GATEWAYS, "shop", "public");
            condition(&gateway["status"]["conditions"], "Accepted")["reason"] == "InvalidParameters"
        })
        .await;
        assert!(!fake.get(DEPLOYMENTS, "shop", "public-ours").is_null());

        fake.delete(GATEWAYS, "shop", "public");
        for resource in [ACCOUNTS, MAPS, DEPLOYMENTS, SERVICES] {
            fake.until(|fake| fake.get(resource, "shop", "public-ours").is_null()).await;
        }
        permitted(&fake);
    });
}

#[test]
fn what_the_api_server_writes_in_its_own_way_is_not_applied_again_and_again() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        let parameters = json!({"metadata": {"namespace": "shop", "name": "parameters"}, "data": {"cpuRequest": "0.5"}});
        fake.apply(MAPS, parameters);
        let mut gateway = owned("public");
        gateway["spec"]["infrastructure"] =
            json!({"parametersRef": {"group": "", "kind": "ConfigMap", "name": "parameters"}});
        fake.apply(GATEWAYS, gateway);
        let replica = Replica::start(&fake);
        fake.until(|fake| !fake.get(DEPLOYMENTS, "shop", "public-ours").is_null()).await;
        sleep(Duration::from_secs(600)).await;
        let deployment = fake.get(DEPLOYMENTS, "shop", "public-ours");
        assert!(deployment.to_string().contains("500m"), "{deployment}");
        let applies = || {
            let writes = fake.writes();
            writes.iter().filter(|(line, _)| line.contains("/deployments/public-ours")).count()
        };
        assert_eq!(applies(), 1);
        // What somebody changes is put back all the same.
        let mut scaled = deployment.clone();
        scaled["spec"]["replicas"] = 7.into();
        fake.apply(DEPLOYMENTS, scaled);
        fake.until(|fake| fake.get(DEPLOYMENTS, "shop", "public-ours")["spec"]["replicas"] == 1)
            .await;
        assert_eq!(applies(), 2);
        assert!(!replica.told("was applied, but"));
    });
}

#[test]
fn an_apply_that_is_changed_on_its_way_is_told_once() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        // As a webhook that knows better.
        fake.state().rewrites.push(("\"replicas\":1", "\"replicas\":2"));
        fake.apply(GATEWAYS, owned("public"));
        let replica = Replica::start(&fake);
        fake.until(|fake| !fake.get(DEPLOYMENTS, "shop", "public-ours").is_null()).await;
        sleep(Duration::from_secs(600)).await;
        let text = "Deployment shop/public-ours was applied, but spec.replicas is 2 instead of 1";
        let told = replica.notices.lock().expect("no panic").clone();
        let told = told.iter().filter(|notice| notice.to_string().contains(text)).count();
        assert_eq!(told, 1);
    });
}

#[test]
fn nothing_comes_back_while_a_gateway_is_being_deleted() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, owned("public"));
        let _replica = Replica::start(&fake);
        fake.until(|fake| !fake.get(SERVICES, "shop", "public-ours").is_null()).await;
        let mut gateway = owned("public");
        gateway["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
        gateway["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        fake.apply(GATEWAYS, gateway);
        // What comes later is seen later.
        fake.apply(GATEWAYS, owned("another"));
        fake.until(|fake| !fake.get(SERVICES, "shop", "another-ours").is_null()).await;
        fake.delete(SERVICES, "shop", "public-ours");
        fake.delete(SERVICES, "shop", "another-ours");
        fake.until(|fake| !fake.get(SERVICES, "shop", "another-ours").is_null()).await;
        assert!(fake.get(SERVICES, "shop", "public-ours").is_null());
        assert!(!fake.get(DEPLOYMENTS, "shop", "public-ours").is_null());
    });
}

#[test]
fn addresses_that_are_asked_for_must_come() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        let mut gateway = owned("public");
        gateway["spec"]["addresses"] = json!([{"type": "IPAddress", "value": "192.0.2.1"}, {"type": "IPAddress", "value": "203.0.113.1"}]);
        fake.apply(GATEWAYS, gateway.clone());
        let _replica = Replica::start(&fake);
        fake.until(|fake| {
            fake.get(SERVICES, "shop", "public-ours")["spec"]["loadBalancerIP"] == "192.0.2.1"
        })
        .await;
        fake.set_status(DEPLOYMENTS, "shop", "public-ours", json!({"availableReplicas": 1}));
        fake.until(|fake| programmed(fake, "public").1 == "AddressNotUsable").await;
        gateway["spec"]["addresses"] = json!([{"type": "IPAddress", "value": "203.0.113.1"}]);
        fake.apply(GATEWAYS, gateway);
        fake.until(|fake| {
            fake.get(SERVICES, "shop", "public-ours")["spec"]["loadBalancerIP"] == "203.0.113.1"
        })
        .await;
        bring_up(&fake, "public-ours", "203.0.113.1");
        fake.until(|fake| programmed(fake, "public").0 == "True").await;
        let addresses = fake.get(GATEWAYS, "shop", "public")["status"]["addresses"].clone();
        assert_eq!(addresses, json!([{"type": "IPAddress", "value": "203.0.113.1"}]));
    });
}

#[test]
fn objects_of_others_are_left_alone() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        let theirs =
            json!({"metadata": {"namespace": "shop", "name": "public-ours", "labels": {"a": "b"}}});
        fake.apply(ACCOUNTS, theirs);
        fake.apply(GATEWAYS, owned("public"));
        let replica = Replica::start(&fake);
        fake.until(|_| replica.told("it exists and belongs to somebody else")).await;
        fake.until(|fake| programmed(fake, "public").2.contains("belongs to somebody else")).await;
        let account = fake.get(ACCOUNTS, "shop", "public-ours");
        assert_eq!(account["metadata"]["labels"], json!({"a": "b"}));
        assert!(account["metadata"]["ownerReferences"].is_null());
    });
}

#[test]
fn two_gateways_whose_objects_would_have_one_name() {
    running::run(async {
        let fake = Fake::new();
        let of = |name: &str, class: &str| {
            let mut gateway = owned(name);
            gateway["spec"]["gatewayClassName"] = class.into();
            gateway
        };
        for name in ["ours", "b-ours"] {
            fake.apply(
                CLASSES,
                json!({"metadata": {"name": name}, "spec": {"controllerName": US}}),
            );
        }
        fake.apply(GATEWAYS, of("a-b", "ours"));
        fake.apply(GATEWAYS, of("a", "b-ours"));
        let _replica = Replica::start(&fake);
        fake.until(|fake| programmed(fake, "a-b").2.contains("names of those of Gateway shop/a"))
            .await;
        fake.until(|fake| !fake.get(DEPLOYMENTS, "shop", "a-b-ours").is_null()).await;
        let deployment = fake.get(DEPLOYMENTS, "shop", "a-b-ours");
        assert_eq!(deployment["metadata"]["ownerReferences"][0]["name"], "a");
    });
}

#[test]
fn what_cannot_be_read_keeps_its_objects_even_when_the_controller_starts_anew() {
    running::run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, owned("public"));
        let objects = [ACCOUNTS, MAPS, DEPLOYMENTS, SERVICES];
        let kept = |fake: &Fake| {
            objects.iter().all(|kind| !fake.get(kind, "shop", "public-ours").is_null())
        };
        let writes = |fake: &Fake| {
            let writes = fake.writes();
            writes.into_iter().filter(|(line, _)| line.contains("public-ours")).count()
        };
        let replica = Replica::start(&fake);
        fake.until(kept).await;
        let mut odd_gateway = owned("public");
        odd_gateway["spec"]["listeners"][0]["port"] = "eighty".into();
        let mut odd_class = class();
        odd_class["spec"]["parametersRef"] = "large".into();
        fake.apply(GATEWAYS, odd_gateway);
        sleep(Duration::from_secs(60)).await;
        let before = writes(&fake);
        replica.end();
        // Now it is not known what they said before.
        for class in [class(), odd_class] {
            fake.apply(CLASSES, class);
            let replica = Replica::start(&fake);
            sleep(Duration::from_secs(60)).await;
            assert!(kept(&fake));
            assert_eq!(writes(&fake), before);
            replica.end();
        }
        fake.apply(GATEWAYS, owned("public"));
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(60)).await;
        assert!(kept(&fake));
        assert_eq!(writes(&fake), before, "parameters that cannot be read change nothing");
        fake.delete(GATEWAYS, "shop", "public");
        fake.until(|fake| fake.get(DEPLOYMENTS, "shop", "public-ours").is_null()).await;
        replica.end();
    });
}
