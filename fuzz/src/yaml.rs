use gateway_core::{
    api::Resource,
    source::{Limits, Sources},
};

/// Any text. What can be read writes and reads back as the same, and every complaint can be
/// written.
pub fn yaml(data: &[u8]) {
    let limits = Limits { nodes: 20_000, aliased_nodes: 10_000, ..Limits::default() };
    let mut sources = Sources::with_limits(limits);
    let loaded = sources.load_bytes("fuzz.yaml", data.to_vec());
    for diagnostic in &loaded.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    for (resource, _) in &loaded.resources {
        check_round_trip(resource);
    }
}

fn check_round_trip(resource: &Resource) {
    let text = serde_json::to_string(resource).expect("resources are data");
    let loaded = Sources::default().load("again.json", text);
    let again = loaded.resources.first().map(|(resource, _)| resource);
    assert_eq!(again, Some(resource), "{:?}", loaded.diagnostics);
}
