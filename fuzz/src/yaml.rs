use gateway_core::{
    api::Resource,
    source::{Limits, Sources},
    validate::{Schema, validate},
};
use gateway_testkit::{corpus::Engine, library::Library};

/// Any text. What can be read writes and reads back as the same, every complaint can be written,
/// and whatever the objects ask for becomes a table and a status.
pub fn yaml(data: &[u8]) {
    let limits = Limits { nodes: 20_000, aliased_nodes: 10_000, ..Limits::default() };
    let mut sources = Sources::with_limits(limits);
    let loaded = sources.load_bytes("fuzz.yaml", data.to_vec());
    for diagnostic in &loaded.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    let resources: Vec<_> = loaded.resources.into_iter().map(|(resource, _)| resource).collect();
    for resource in &resources {
        check_round_trip(resource);
        for diagnostic in validate(resource, Schema::default()) {
            assert!(!diagnostic.to_string().is_empty());
        }
    }
    let library = Library::new(&resources);
    assert!(library.status().len() <= resources.len(), "only objects have a status");
}

fn check_round_trip(resource: &Resource) {
    let text = serde_json::to_string(resource).expect("resources are data");
    let loaded = Sources::default().load("again.json", text);
    let again = loaded.resources.first().map(|(resource, _)| resource);
    assert_eq!(again, Some(resource), "{:?}", loaded.diagnostics);
}
