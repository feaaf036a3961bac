//! The Service of a Gateway on shared pods, by example: `balanced/*.yaml` has a Gateway, `*.out.yaml`
//! its Service.

use std::{collections::BTreeMap, fs, path::PathBuf};

use gateway_core::{api::Gateway, resolve::topology::Transport, scope::ControllerScope};
use gateway_kube::{
    balanced::{Balanced, allot, service},
    dedicated::{Parameters, Port},
};
use k8s_openapi::api::core::v1::Service;

#[test]
fn services_are_as_in_the_goldens() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/balanced");
    for name in ["plain", "infrastructure"] {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("readable");
        let gateway: Gateway = serde_saphyr::from_str(&text).expect("a Gateway");
        let balanced = Balanced {
            namespace: "gateway-system".to_owned(),
            selector: BTreeMap::from([("app.kubernetes.io/name".into(), "gateway".into())]),
            service_type: "LoadBalancer",
            ports: "20000-29999".parse().expect("a range"),
        };
        let ports = gateway.spec.listeners.iter().map(|listener| Port {
            number: u16::try_from(listener.port).expect("a port"),
            transport: match listener.protocol.as_str() {
                "UDP" => Transport::Udp,
                _ => Transport::Tcp,
            },
        });
        let ports = ports.collect();
        let allotted = allot(balanced.ports, &[("it", &ports)], &BTreeMap::new());
        let (parameters, controller) = (Parameters::default(), ControllerScope::DEFAULT_CONTROLLER);
        let object = service(&gateway, &allotted["it"], &parameters, &balanced, controller);
        let typed: Service = serde_json::from_value(object.body.clone()).expect("a Service");
        assert_eq!(serde_json::to_value(&typed).expect("can be written"), object.body);
        let got = serde_saphyr::to_string(&object.body).expect("can be written");
        let expect = folder.join(format!("{name}.out.yaml"));
        if std::env::var("BLESS").is_ok_and(|wanted| !wanted.is_empty()) {
            fs::write(&expect, &got).expect("can be written");
        }
        assert_eq!(got, fs::read_to_string(&expect).unwrap_or_default(), "{name}; BLESS=1 accepts");
    }
}
