//! What the newest reports of the conformance suite say is what the table of features says.

use std::{collections::BTreeSet, fs, path::Path};

use gateway_core::feature::{Channel, FEATURES, Level, Support, served_in_cluster};
use serde_json::Value;

/// Extended features that no profile of gateways has in v1.6.1, so that no report lists them.
const IN_NO_PROFILE: &[&str] = &["GRPCRouteNamedRouteRule"];

/// Every shape has a report, and so has the standard channel.
const REPORTS: &[&str] = &[
    "experimental-v0.1.0-default-report.yaml",
    "experimental-v0.1.0-dedicated-report.yaml",
    "standard-v0.1.0-default-report.yaml",
];

const PROFILES: &[&str] =
    &["GATEWAY-GRPC", "GATEWAY-HTTP", "GATEWAY-TCP", "GATEWAY-TLS", "GATEWAY-UDP"];

fn report(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/reports/v1.6.1");
    let text = fs::read_to_string(folder.join(name)).expect("the report is there");
    serde_saphyr::from_str(&text).expect("the report is YAML")
}

fn profiles(report: &Value) -> &Vec<Value> {
    report["profiles"].as_array().expect("a report has profiles")
}

fn channel(report: &Value) -> Channel {
    Channel::of_crds(report["gatewayAPIChannel"].as_str().expect("a report names the channel"))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn reports_have_full_marks() {
    for name in REPORTS {
        let report = report(name);
        let mut seen: Vec<&str> =
            profiles(&report).iter().filter_map(|profile| profile["name"].as_str()).collect();
        seen.sort_unstable();
        assert_eq!(seen, PROFILES, "{name}");
        for profile in profiles(&report) {
            for part in [&profile["core"], &profile["extended"]] {
                assert_eq!(part["result"], "success", "{name} {}", profile["name"]);
                let statistics = &part["statistics"];
                assert_eq!((&statistics["Failed"], &statistics["Skipped"]), (&0.into(), &0.into()));
                let unsupported = names(&part["unsupportedFeatures"]);
                let channel = channel(&report);
                let possible = unsupported.iter().find(|name| channel.has(name));
                assert_eq!(possible, None, "{name} {}", profile["name"]);
            }
        }
    }
}

#[test]
fn reports_and_the_table_name_the_same_features() {
    let extended = FEATURES
        .iter()
        .filter(|feature| feature.level == Level::Extended && feature.support != Support::Planned)
        .map(|feature| feature.name)
        .filter(|name| !IN_NO_PROFILE.contains(name));
    for name in REPORTS {
        let report = report(name);
        let channel = channel(&report);
        let has = |name: &&str| channel.has(name);
        let served: BTreeSet<&str> = served_in_cluster().into_iter().filter(has).collect();
        let extended: BTreeSet<&str> = extended.clone().filter(has).collect();
        let lists = profiles(&report).iter().map(|of| &of["extended"]["supportedFeatures"]);
        let reported: BTreeSet<&str> = lists.flat_map(names).collect();
        assert!(reported.is_subset(&served), "{:?}", reported.difference(&served));
        assert!(extended.is_subset(&reported), "{:?}", extended.difference(&reported));
    }
}
