//! Reading YAML and JSON: what is loaded and what is reported, as goldens under `testdata/yaml`.
//!
//! `BLESS=1 cargo test -p gateway-core --test yaml` rewrites the goldens.

#![cfg(feature = "yaml")]

mod golden;

use std::fmt::Write;

use gateway_core::source::{Limits, Sources};
use proptest::prelude::*;

#[test]
fn goldens() {
    golden::check("yaml", |name, text| {
        let mut sources = Sources::default();
        let loaded = sources.load(name, text);
        let mut out = String::new();
        for (resource, origin) in &loaded.resources {
            let span = &origin.span;
            writeln!(
                out,
                "{}:{} {} from {}",
                span.line,
                span.column,
                resource.key(),
                origin.api_version
            )
            .unwrap();
        }
        for diagnostic in &loaded.diagnostics {
            golden::write_diagnostic(&mut out, diagnostic);
        }
        out
    });
}

const ROUTE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: shop
spec:
  hostnames: [a.example.com, b.example.com]
  rules:
  - backendRefs:
    - name: cart
      port: 80
";

#[track_caller]
fn check_place(field: &str, expected: &str, text: &str) {
    let mut sources = Sources::default();
    let key = sources.load("shop.yaml", ROUTE).resources[0].0.key();
    let span = sources.locate(&key, &field.into()).expect("the object is there");
    assert_eq!(span.to_string(), expected, "{field}");
    assert_eq!(&ROUTE[span.bytes][..span.length], text, "{field}");
}

#[test]
fn fields_are_found_or_the_nearest_one_above() {
    check_place("spec.hostnames[1]", "shop.yaml:6:30", "b.example.com");
    check_place("spec.rules[0].backendRefs[0].port", "shop.yaml:10:13", "80");
    check_place("spec.rules[0].backendRefs[0].weight", "shop.yaml:9:7", "name: cart");
    check_place("spec.rules[0].backendRefs", "shop.yaml:8:5", "backendRefs");
    check_place("spec.rules[7].filters", "shop.yaml:7:3", "rules");
    check_place("status", "shop.yaml:1:1", "apiVersion: gateway.networking.k8s.io/v1");
    check_place("", "shop.yaml:1:1", "apiVersion: gateway.networking.k8s.io/v1");
}

#[test]
fn duplicates_are_found_across_texts() {
    let mut sources = Sources::default();
    assert_eq!(sources.load("a.yaml", ROUTE).resources.len(), 1);
    let second = sources.load("b.yaml", ROUTE);
    assert!(second.resources.is_empty());
    let shown = second.diagnostics[0].to_string();
    assert!(shown.contains("HTTPRoute default/shop is already defined at a.yaml:1:1"), "{shown}");
}

#[track_caller]
fn check_limit(limits: Limits, text: &str) {
    let loaded = Sources::with_limits(limits).load("limit.yaml", text);
    assert_eq!(loaded.diagnostics[0].code.as_str(), "GW0002", "{:?}", loaded.diagnostics);
}

#[test]
fn every_limit_holds() {
    let limits = Limits::default();
    check_limit(Limits { bytes: 10, ..limits }, ROUTE);
    check_limit(Limits { nodes: 5, ..limits }, ROUTE);
    check_limit(Limits { depth: 2, ..limits }, ROUTE);
    check_limit(Limits { aliased_nodes: 0, ..limits }, "a: &a {b: c}\nd: {<<: *a}\n");
    let repeated = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{{}}}\n",
        "a: b, ".repeat(50)
    );
    let loaded =
        Sources::with_limits(Limits { diagnostics: 7, ..limits }).load("limit.yaml", repeated);
    assert_eq!(loaded.diagnostics.len(), 7);
}

#[test]
fn bytes_that_are_no_text_are_reported_where_they_are() {
    let loaded = Sources::default().load_bytes("x.yaml", b"a: b\nc: \xff".to_vec());
    assert_eq!(
        loaded.diagnostics[0].to_string(),
        "x.yaml:2:4: error[GW0001]: the text is not UTF-8"
    );
}

/// Fragments that are likely to be put together wrongly.
fn fragment() -> impl Strategy<Value = String> {
    let fragments = [
        "apiVersion: v1\n",
        "apiVersion: gateway.networking.k8s.io/v1\n",
        "kind: List\n",
        "kind: HTTPRoute\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  rules:\n",
        "  - ",
        "items:\n",
        "- ",
        "---\n",
        "...\n",
        "&a ",
        "*a",
        "<<: *a\n",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "!!str ",
        "#",
        "\t",
        "\u{feff}",
        "é",
        "\0",
        "%YAML 1.2\n",
    ];
    prop_oneof![proptest::sample::select(fragments.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        Sources::default().load_bytes("any.yaml", bytes);
    }

    #[test]
    fn any_mixture_is_read_without_panic(parts in proptest::collection::vec(fragment(), 0..40)) {
        let mut sources = Sources::default();
        let loaded = sources.load("any.yaml", parts.concat());
        for (resource, _) in &loaded.resources {
            prop_assert!(sources.locate(&resource.key(), &"spec.rules[0]".into()).is_some());
        }
    }
}
