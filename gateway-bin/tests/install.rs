//! Chart, rendered manifests and the program say the same.
//!
//! `deploy/shared.yaml` and `deploy/dedicated.yaml` are the chart, rendered here; `BLESS=1` writes them
//! anew. Where the program `helm` is found (in `HELM`, or on the path), it must render the same.

#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "install/template.rs"]
mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;
use gateway_bin::{
    args::{self, Cli},
    cli::install::manifests,
};
use gateway_core::{api::Gateway, scope::ControllerScope};
use gateway_kube::{
    dedicated::{GATEWAY_CLASS_NAME, GATEWAY_NAME, MANAGED_BY, PROBE_PORT, labels},
    rbac::{Right, Shape, rights},
};
use serde_json::{Value, json};

const SHAPES: [&str; 3] = ["shared", "balanced", "dedicated"];

/// The values of the chart for a shape: `balanced` is `shared`, each Gateway with its own Service.
fn values(shape: &str) -> Vec<(&str, Value)> {
    match shape {
        "balanced" => vec![("/shape", "shared".into()), ("/service/perGateway", true.into())],
        _ => vec![("/shape", shape.into())],
    }
}

/// The words that ask for a shape.
fn words(shape: &str) -> String {
    match shape {
        "balanced" => "--service-type LoadBalancer".to_owned(),
        _ => format!("--shape {shape}"),
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn documents(text: &str) -> Vec<Value> {
    let is_object =
        |text: &&str| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let documents = text.split("\n---\n").filter(is_object);
    documents.map(|text| template::yaml(text.trim_start_matches("---\n"))).collect()
}

/// The chart's documents in the order in which they are to be applied.
fn chart(set: &[(&str, Value)]) -> String {
    let mut values =
        template::yaml(&fs::read_to_string(deploy().join("chart/values.yaml")).unwrap());
    for (path, value) in set {
        *values.pointer_mut(path).unwrap_or_else(|| panic!("no value {path}")) = value.clone();
    }
    let scope = json!({"Values": values, "Release": {"Namespace": "gateway-system"}});
    let templates = [
        "serviceaccount",
        "clusterrole",
        "clusterrolebinding",
        "role",
        "rolebinding",
        "service",
        "deployment",
        "poddisruptionbudget",
        "networkpolicy",
        "gatewayclass",
    ];
    let folder = deploy().join("chart/templates");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), templates.len(), "each template is listed");
    let render = |name: &str| {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        template::render(&text, &scope).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let rendered: Vec<String> = templates.iter().map(|name| render(name)).collect();
    let kept = rendered.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    kept.collect::<Vec<_>>().join("\n---\n") + "\n"
}

fn rendered(shape: &str) -> String {
    let namespace = fs::read_to_string(deploy().join("namespace.yaml")).unwrap();
    let said = match shape {
        "balanced" => "service.perGateway".to_owned(),
        _ => format!("shape {shape}"),
    };
    format!(
        "# The chart with {said}, rendered. Change deploy/chart, then BLESS=1 cargo test -p gateway-bin --test install.\n\
         {namespace}---\n{}",
        chart(&values(shape))
    )
}

fn install(words: &str) -> Vec<Value> {
    let words = ["gateway", "install"].into_iter().chain(words.split_whitespace());
    let args::Command::Install(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("not install");
    };
    documents(&manifests(&args))
}

fn find<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    one
}

#[test]
fn rendered_manifests_are_those_of_the_chart() {
    for shape in SHAPES {
        let (path, text) = (deploy().join(format!("{shape}.yaml")), rendered(shape));
        if std::env::var("BLESS").is_ok_and(|wanted| !wanted.is_empty()) {
            fs::write(&path, &text).unwrap();
        }
        let expect = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expect, "{}: BLESS=1 accepts", path.display());
    }
}

#[test]
fn helm_renders_the_same() {
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    for (shape, set) in [
        ("shared", &[][..]),
        ("dedicated", &[][..]),
        (
            "dedicated",
            &["gatewayClass.parameters=p", "networkPolicy=false", "arguments={--trusted-hops=1}"][..],
        ),
    ] {
        let mut values = vec![("/shape", Value::from(shape))];
        if !set.is_empty() {
            values.push(("/gatewayClass/parameters", "p".into()));
            values.push(("/networkPolicy", false.into()));
            values.push(("/arguments", json!(["--trusted-hops=1"])));
        }
        let ours = by_identity(&documents(&chart(&values)));
        let mut command = Command::new(&helm);
        command.args(["template", "gateway"]).arg(deploy().join("chart"));
        command.args(["--namespace", "gateway-system", "--kube-version", "1.33.0"]);
        command.args(["--set", &format!("shape={shape}")]);
        set.iter().for_each(|one| _ = command.args(["--set", one]));
        // Without helm the chart is still rendered and looked at, by the other tests.
        let Ok(output) = command.output() else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs = documents(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(by_identity(&theirs), ours, "{shape}");
    }
}

fn by_identity(documents: &[Value]) -> BTreeMap<String, Value> {
    let key = |document: &Value| format!("{} {}", document["kind"], document["metadata"]["name"]);
    documents.iter().map(|document| (key(document), document.clone())).collect()
}

#[test]
fn the_program_may_do_what_it_does_and_nothing_else() {
    for shape in SHAPES {
        let documents = install(&words(shape));
        let mut granted = BTreeSet::new();
        for (kind, own_namespace) in [("ClusterRole", false), ("Role", true)] {
            for rule in find(&documents, kind)["rules"].as_array().unwrap() {
                granted.extend(rights_of(rule, own_namespace));
            }
        }
        let shape_of = match shape {
            "shared" => Shape::Shared,
            "balanced" => Shape::Balanced,
            _ => Shape::Dedicated,
        };
        let needed = rights(shape_of, ControllerScope::DEFAULT_CONTROLLER);
        let said =
            |rights: BTreeSet<&Right>| rights.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said(needed.difference(&granted).collect()), [""; 0], "missing in {shape}");
        assert_eq!(said(granted.difference(&needed).collect()), [""; 0], "too much in {shape}");
    }
}

fn rights_of(rule: &Value, own_namespace: bool) -> Vec<Right> {
    let strings = |field: &str| -> Vec<String> {
        let values = rule[field].as_array().into_iter().flatten();
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    let names = strings("resourceNames");
    let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    let mut rights = Vec::new();
    for group in strings("apiGroups") {
        for resource in strings("resources") {
            for verb in strings("verbs") {
                for name in names.clone() {
                    let (group, resource) = (group.clone(), resource.clone());
                    rights.push(Right { own_namespace, group, resource, verb: verb.clone(), name });
                }
            }
        }
    }
    rights
}

#[test]
fn everything_that_is_named_is_there() {
    for shape in SHAPES {
        let documents =
            install(&format!("{} --namespace infra --image host/gw:1 --replicas 3", words(shape)));
        let text = documents.iter().map(ToString::to_string).collect::<String>();
        assert!(!text.contains("gateway-system") && !text.contains("ghcr.io"), "{shape}");
        let deployment = find(&documents, "Deployment");
        assert_eq!(deployment["spec"]["replicas"], 3);
        let pod = &deployment["spec"]["template"];
        let labels = pod["metadata"]["labels"].as_object().unwrap();
        let services = documents.iter().filter(|document| document["kind"] == "Service");
        let services = services.map(|service| &service["spec"]["selector"]);
        let selectors = [
            &deployment["spec"]["selector"]["matchLabels"],
            &find(&documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            &find(&documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ];
        for selector in services.chain(selectors) {
            let pairs = selector.as_object().unwrap();
            assert!(
                !pairs.is_empty()
                    && pairs.iter().all(|(key, value)| labels.get(key) == Some(value))
            );
        }
        let account = find(&documents, "ServiceAccount");
        assert_eq!(account["metadata"]["name"], pod["spec"]["serviceAccountName"]);
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            let binding = find(&documents, kind);
            assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
            assert_eq!(binding["subjects"][0]["namespace"], "infra");
            let role = find(&documents, binding["roleRef"]["kind"].as_str().unwrap());
            assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        }
        for document in &documents {
            let namespace = &document["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == "infra", "{document}");
        }
        match shape {
            "balanced" => check_pod_ports(&documents, pod),
            _ => check_ports(&documents, shape),
        }
        check_arguments(pod, shape);
    }
}

/// Ports that Services, probes and policies name are those of the container.
fn check_ports(documents: &[Value], shape: &str) {
    let container = &find(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let ports: BTreeMap<&str, u64> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports["probes"], u64::from(PROBE_PORT));
    for probe in ["readinessProbe", "livenessProbe"] {
        assert!(ports.contains_key(container[probe]["httpGet"]["port"].as_str().unwrap()));
    }
    let service = find(documents, "Service")["spec"]["ports"].as_array().unwrap();
    let targets: Vec<u64> = service
        .iter()
        .map(|port| match &port["targetPort"] {
            Value::String(name) => ports[&**name],
            number => number.as_u64().unwrap(),
        })
        .collect();
    let allowed: BTreeSet<u64> = find(documents, "NetworkPolicy")["spec"]["ingress"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_u64().unwrap())
        .collect();
    let expect: BTreeSet<u64> = targets.iter().copied().chain([ports["probes"]]).collect();
    assert_eq!(allowed, expect, "{shape}");
    if shape == "dedicated" {
        assert_eq!(targets, [ports["config"]]);
    }
}

#[test]
fn the_port_of_configurations_is_for_pods_of_gateways() {
    let source = |documents: &[Value]| {
        let rules = find(documents, "NetworkPolicy")["spec"]["ingress"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["from"].is_array()).unwrap();
        let [from] = &**rule["from"].as_array().unwrap() else { panic!("{rule}") };
        from.clone()
    };
    let from = source(&install("--shape dedicated"));
    assert_eq!(from["namespaceSelector"], json!({}));
    let made = labels(&Gateway::new("infra", "public").class("gateway"), "example.net/us");
    for (key, value) in from["podSelector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(made.get(key).map(String::as_str), value.as_str());
    }
    let expressions = from["podSelector"]["matchExpressions"].as_array().unwrap();
    let wanted: BTreeSet<&str> = expressions
        .iter()
        .filter(|expression| expression["operator"] == "Exists")
        .map(|expression| expression["key"].as_str().unwrap())
        .collect();
    assert_eq!(wanted, BTreeSet::from([MANAGED_BY, GATEWAY_NAME, GATEWAY_CLASS_NAME]));
    assert!(wanted.iter().all(|key| made.contains_key(*key)));

    let some =
        chart(&[("/shape", "dedicated".into()), ("/gatewayNamespaces", json!(["infra", "shop"]))]);
    let from = source(&documents(&some));
    assert_eq!(
        from["namespaceSelector"]["matchExpressions"],
        json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["infra", "shop"]}])
    );
    assert!(from["podSelector"].is_object());
}

/// The ports that Services of Gateways may lead to are those that clients may connect to, and those
/// Services find the pods.
fn check_pod_ports(documents: &[Value], pod: &Value) {
    assert!(!documents.iter().any(|document| document["kind"] == "Service"));
    let run = run_args(pod);
    let clients = &find(documents, "NetworkPolicy")["spec"]["ingress"][1]["ports"];
    for (at, protocol) in ["TCP", "UDP"].into_iter().enumerate() {
        let allowed = format!("{}-{}", clients[at]["port"], clients[at]["endPort"]);
        assert_eq!(allowed, run.kubernetes.pod_ports.to_string());
        assert_eq!(clients[at]["protocol"], protocol);
    }
    assert!(!run.kubernetes.pod_labels.is_empty());
    for (key, value) in run.kubernetes.pod_labels {
        assert_eq!(pod["metadata"]["labels"][&key], value, "{key}");
    }
    for service_type in ["LoadBalancer", "NodePort", "ClusterIP"] {
        let documents = install(&format!("--service-type {service_type}"));
        let pod = &find(&documents, "Deployment")["spec"]["template"];
        let asked = run_args(pod).kubernetes.service_type.unwrap();
        assert_eq!(asked.as_str(), service_type);
    }
}

/// The arguments with which pods run the program.
fn run_args(pod: &Value) -> args::RunArgs {
    let words = pod["spec"]["containers"][0]["args"].as_array().unwrap().iter();
    let words = words.map(|word| word.as_str().unwrap().replace("$(POD_IP)", "10.0.0.1"));
    let cli = Cli::try_parse_from(["gateway".to_owned()].into_iter().chain(words)).unwrap();
    let args::Command::Run(run) = cli.command else { panic!("not run") };
    run
}

/// The arguments are those of a program that would start, and name ports and Services that exist.
fn check_arguments(pod: &Value, shape: &str) {
    let run = run_args(pod);
    assert!(run.kubernetes.kubernetes);
    assert_eq!(run.probes, Some(PROBE_PORT));
    if shape == "dedicated" {
        assert_eq!(run.kubernetes.shape, args::Shape::Dedicated);
        assert_eq!(run.kubernetes.image, "host/gw:1");
        let address = run.kubernetes.config_address.unwrap();
        assert_eq!(address.as_str(), format!("gateway.infra.svc:{}", run.kubernetes.config_port));
    } else {
        assert_eq!(run.kubernetes.shape, args::Shape::Shared);
        assert_eq!(run.kubernetes.service_type.is_some(), shape == "balanced");
    }
}

#[test]
fn wrong_arguments_are_told() {
    for words in [
        "--namespace A_b",
        "--image 'a'",
        "--replicas 0",
        "--shape both",
        "--service-type ExternalName",
    ] {
        let words = ["gateway", "install"].into_iter().chain(words.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err());
    }
}
