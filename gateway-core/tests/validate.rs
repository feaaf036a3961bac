//! Every rule of the CRD schemas, as goldens under `testdata/validate/<kind>`.
//!
//! `BLESS=1 cargo test -p gateway-core --test validate` rewrites the goldens. A line begins with `standard` or
//! `experimental` if only CRDs of that channel bring it up.

#![cfg(feature = "yaml")]

mod golden;

use std::fmt::Write;

use gateway_core::diagnostic::{Code, Diagnostic};
use gateway_core::source::Sources;
use gateway_core::validate::{Channel, Schema, validate};
use proptest::prelude::*;

#[test]
fn goldens() {
    golden::check("validate", |name, text| {
        let mut sources = Sources::default();
        let loaded = sources.load(name, text);
        let mut out = String::new();
        for diagnostic in &loaded.diagnostics {
            golden::write_diagnostic(&mut out, diagnostic);
        }
        for (resource, origin) in &loaded.resources {
            let in_channel = |channel| {
                let mut found =
                    validate(resource, Schema { channel, api_version: Some(&origin.api_version) });
                found.iter_mut().for_each(|diagnostic| sources.place(diagnostic));
                found
            };
            write_both(
                &mut out,
                &in_channel(Channel::Standard),
                &in_channel(Channel::Experimental),
            );
        }
        out
    });
}

fn write_both(out: &mut String, standard: &[Diagnostic], experimental: &[Diagnostic]) {
    for diagnostic in experimental {
        if !standard.contains(diagnostic) {
            write!(out, "experimental ").expect("writing to a String does not fail");
        }
        golden::write_diagnostic(out, diagnostic);
    }
    for diagnostic in standard.iter().filter(|diagnostic| !experimental.contains(diagnostic)) {
        write!(out, "standard ").expect("writing to a String does not fail");
        golden::write_diagnostic(out, diagnostic);
    }
}

#[test]
fn every_rule_has_a_golden() {
    let inputs = ["yaml", "validate"].into_iter().flat_map(golden::inputs);
    let shown: String = inputs
        .map(|input| std::fs::read_to_string(input.with_extension("out.txt")).unwrap_or_default())
        .collect();
    let is_ours = |code: &&Code| code.as_str() < "GW0500";
    let missing: Vec<_> =
        Code::ALL.iter().filter(is_ours).filter(|code| !shown.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "no golden shows {missing:?}");
}

/// A golden with a part of it replaced by something else.
fn damaged() -> impl Strategy<Value = String> {
    let texts: Vec<String> = golden::inputs("validate")
        .into_iter()
        .map(|input| std::fs::read_to_string(input).expect("goldens are readable"))
        .filter(|text| text.len() < 10_000)
        .collect();
    let fragment = prop_oneof![
        Just(""),
        Just("\"\""),
        Just("0"),
        Just("-1"),
        Just("~"),
        Just("[]"),
        Just("{}"),
        Just("*"),
        Just("/"),
        Just("é"),
    ];
    (proptest::sample::select(texts), any::<prop::sample::Index>(), 0..12_usize, fragment).prop_map(
        |(text, at, length, fragment)| {
            let chars: Vec<char> = text.chars().collect();
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            chars[..start]
                .iter()
                .chain(&fragment.chars().collect::<Vec<_>>())
                .chain(&chars[end..])
                .collect()
        },
    )
}

proptest! {
    #[test]
    fn every_diagnostic_of_a_damaged_object_has_its_place(text in damaged()) {
        let mut sources = Sources::default();
        for (resource, _) in sources.load("damaged.yaml", text).resources {
            for mut diagnostic in validate(&resource, Schema::default()) {
                sources.place(&mut diagnostic);
                prop_assert!(diagnostic.span.is_some(), "{}", diagnostic);
            }
        }
    }
}
