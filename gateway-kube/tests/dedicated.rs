//! What is created for a Gateway, by example: each `dedicated/*.yaml` has a Gateway and maybe
//! ConfigMaps with parameters (of its class, then its own), each `*.out.yaml` the objects.

use std::{collections::BTreeSet, fmt::Debug, fs, path::PathBuf};

use gateway_core::{
    api::{ConfigMap, Gateway, Kind, ObjectKey, Resource},
    build::build,
    scope::ControllerScope,
    snapshot::Snapshot,
};
use gateway_kube::dedicated::{Blueprint, KINDS, Object, ObjectKind, Parameters, objects, ports};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{PodSpec, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn blueprint() -> Blueprint {
    Blueprint {
        controller_name: ControllerScope::DEFAULT_CONTROLLER.to_owned(),
        image: "ghcr.io/gateway-rs/gateway:test".to_owned(),
        config_url: "https://gateway.gateway-system.svc:15443".to_owned(),
        authority: "(certificate)\n".to_owned(),
        arguments: vec!["--trusted-hops=1".to_owned()],
    }
}

struct Case {
    name: String,
    expect: PathBuf,
    objects: Vec<Object>,
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dedicated");
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut names: Vec<String> = files
        .map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| !name.ends_with(".out"))
        .collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    let case = |name: String| {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("readable");
        let expect = folder.join(format!("{name}.out.yaml"));
        Case { objects: objects_of(&text), name, expect }
    };
    names.into_iter().map(case).collect()
}

fn objects_of(text: &str) -> Vec<Object> {
    let documents: Vec<Value> =
        text.split("\n---\n").map(|one| serde_saphyr::from_str(one).expect("YAML")).collect();
    let resource = |value: &Value| {
        let group = value["apiVersion"].as_str().and_then(|version| version.split_once('/'));
        let kind = Kind::find(group.map_or("", |(group, _)| group), value["kind"].as_str()?)?;
        Resource::deserialize(kind, value.clone()).ok()
    };
    let mut gateway: Gateway = serde_json::from_value(documents[0].clone()).expect("a Gateway");
    let parameters: Vec<ConfigMap> = documents[1..]
        .iter()
        .filter(|value| value["kind"] == "ConfigMap")
        .map(|value| serde_json::from_value(value.clone()).expect("a ConfigMap"))
        .collect();
    let parameters = match &*parameters {
        [] => Parameters::default(),
        [own] => Parameters::read(None, Some(own)).expect("good parameters"),
        [class, own, ..] => Parameters::read(Some(class), Some(own)).expect("good parameters"),
    };
    let snapshot: Snapshot = documents.iter().filter_map(resource).collect();
    let build = build(&snapshot, &ControllerScope::all().shared_sockets(false));
    let (namespace, name) = (&gateway.metadata.namespace, &gateway.metadata.name);
    let key = ObjectKey::new(Kind::Gateway, namespace, name);
    let ports = ports(&build.topology, &key);
    gateway.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    objects(&gateway, &ports, &parameters, &blueprint())
}

#[test]
fn objects_are_as_in_the_goldens() {
    for case in cases() {
        let got: Vec<String> = case
            .objects
            .iter()
            .map(|object| serde_saphyr::to_string(&object.body).expect("can be written"))
            .collect();
        let got = got.iter().map(|one| one.trim_end()).collect::<Vec<_>>().join("\n---\n") + "\n";
        let expect = fs::read_to_string(&case.expect).unwrap_or_default();
        if std::env::var("BLESS").is_ok_and(|wanted| !wanted.is_empty()) {
            fs::write(&case.expect, &got).expect("can be written");
        } else {
            assert_eq!(got, expect, "{}; BLESS=1 accepts", case.name);
        }
    }
}

/// Whether every field of `wanted` is one that `T` has.
#[track_caller]
fn fits<T: Serialize + DeserializeOwned + Debug>(wanted: &Value) {
    let typed: T = serde_json::from_value(wanted.clone()).expect("the API has such values");
    let again = serde_json::to_value(&typed).expect("can be written");
    for (path, value) in leaves(wanted) {
        assert_eq!(again.pointer(&path), Some(&value), "{path} is no field of the API");
    }
}

fn leaves(value: &Value) -> Vec<(String, Value)> {
    let below = |key: &str, value: &Value| -> Vec<(String, Value)> {
        let key = key.replace('~', "~0").replace('/', "~1");
        leaves(value).into_iter().map(|(path, leaf)| (format!("/{key}{path}"), leaf)).collect()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(at, item)| below(&at.to_string(), item)).collect()
        }
        leaf => vec![(String::new(), leaf.clone())],
    }
}

#[test]
fn objects_have_no_fields_that_the_api_does_not_know() {
    let mut kinds = BTreeSet::new();
    for object in cases().iter().flat_map(|case| &case.objects) {
        kinds.insert(object.id.kind);
        match object.id.kind {
            ObjectKind::ServiceAccount => fits::<ServiceAccount>(&object.body),
            ObjectKind::ConfigMap => {
                fits::<k8s_openapi::api::core::v1::ConfigMap>(&object.body);
            }
            ObjectKind::Deployment => fits::<Deployment>(&object.body),
            ObjectKind::Service => fits::<Service>(&object.body),
            ObjectKind::PodDisruptionBudget => fits::<PodDisruptionBudget>(&object.body),
            ObjectKind::HorizontalPodAutoscaler => fits::<HorizontalPodAutoscaler>(&object.body),
            ObjectKind::EndpointSlice => fits::<EndpointSlice>(&object.body),
        }
    }
    assert_eq!(kinds, KINDS.iter().copied().collect(), "each kind is in some case");
}

#[test]
fn pods_fulfil_the_restricted_standard() {
    for object in cases().iter().flat_map(|case| &case.objects) {
        if object.id.kind == ObjectKind::Deployment {
            let pod = object.body.pointer("/spec/template/spec").expect("a pod");
            check_restricted(&serde_json::from_value(pod.clone()).expect("a pod"));
        }
    }
}

/// The rules of <https://kubernetes.io/docs/concepts/security/pod-security-standards/> that a pod can
/// break by what it says.
#[track_caller]
fn check_restricted(pod: &PodSpec) {
    const VOLUMES: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "name",
    ];
    const SYSCTLS: &[&str] = &["net.ipv4.ip_unprivileged_port_start"];
    assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
    let security = pod.security_context.as_ref().expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    assert_ne!(security.run_as_user, Some(0));
    assert_eq!(security.seccomp_profile.as_ref().map(|one| &*one.type_), Some("RuntimeDefault"));
    let sysctls = security.sysctls.iter().flatten();
    sysctls.for_each(|one| assert!(SYSCTLS.contains(&&*one.name), "{}", one.name));
    for volume in pod.volumes.iter().flatten() {
        let volume = serde_json::to_value(volume).expect("can be written");
        let kinds = volume.as_object().expect("an object").keys();
        kinds.for_each(|kind| assert!(VOLUMES.contains(&&**kind), "{kind}"));
    }
    for container in &pod.containers {
        let security = container.security_context.as_ref().expect("a security context");
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_ne!(security.privileged, Some(true));
        let capabilities = security.capabilities.as_ref().expect("capabilities");
        assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
        assert!(capabilities.add.as_ref().is_none_or(Vec::is_empty));
        assert!(container.ports.iter().flatten().all(|port| port.host_port.is_none()));
    }
}

#[test]
fn a_new_listener_restarts_no_pod() {
    let text = |listeners: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: a, namespace: b}}\n\
             spec:\n  gatewayClassName: c\n  listeners: [{listeners}]\n"
        )
    };
    let web = "{name: web, port: 80, protocol: HTTP}";
    let (before, after) = (
        objects_of(&text(web)),
        objects_of(&text(&format!("{web}, {{name: dns, port: 53, protocol: UDP}}"))),
    );
    let differ = |(before, after): (&Object, &Object)| (before != after).then_some(before.id.kind);
    let differing: Vec<_> = before.iter().zip(&after).filter_map(differ).collect();
    assert_eq!(differing, [ObjectKind::Service]);
}
