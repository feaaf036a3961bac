//! The types of `api` and the rules of `validate` against the CRD schemas of v1.6.1, in both channels.
//!
//! `testdata/crds` holds the schemas without their texts and CEL rules.

#![cfg(feature = "yaml")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use gateway_core::api::{Kind, Resource};
use gateway_core::diagnostic::Severity;
use gateway_core::source::Sources;
use gateway_core::validate::{Channel, Schema, validate};
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Value, json};

/// One served version of a kind.
struct Version {
    channel: Channel,
    kind: Kind,
    api_version: String,
    schema: Value,
}

fn served_versions() -> Vec<Version> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/crds");
    let mut versions = Vec::new();
    for (folder, channel) in
        [("standard", Channel::Standard), ("experimental", Channel::Experimental)]
    {
        for file in std::fs::read_dir(root.join(folder)).expect("the schemas are there") {
            let text = std::fs::read_to_string(file.expect("the folder is readable").path())
                .expect("readable");
            let crd: Value = serde_json::from_str(&text).expect("a schema is JSON");
            assert_eq!(crd["bundle"], "v1.6.1");
            let (group, name) = (text_of(&crd["group"]), text_of(&crd["kind"]));
            let kind = Kind::find(group, name)
                .unwrap_or_else(|| panic!("{name} of {group} is not modelled"));
            assert_eq!(kind.is_namespaced(), crd["scope"] == "Namespaced", "{kind}");
            for version in
                list_of(&crd["versions"]).iter().filter(|version| version["served"] == true)
            {
                for name in list_of(&version["names"]) {
                    let api_version = format!("{group}/{}", text_of(name));
                    versions.push(Version {
                        channel,
                        kind,
                        api_version,
                        schema: version["schema"].clone(),
                    });
                }
            }
        }
    }
    versions
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn list_of(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

#[test]
fn every_served_version_is_read_and_no_other() {
    let mut expected: BTreeSet<(Kind, String)> = BTreeSet::new();
    for version in served_versions() {
        assert_eq!(
            Resource::find_kind(&version.api_version, version.kind.as_str()),
            Some(version.kind)
        );
        expected.insert((version.kind, version.api_version));
    }
    let known = Kind::ALL.iter().filter(|kind| kind.is_gateway_api());
    let read = known.flat_map(|kind| {
        kind.versions().iter().map(|version| (*kind, format!("{}/{version}", kind.group())))
    });
    assert_eq!(read.collect::<BTreeSet<_>>(), expected);
}

// === Field paths ===

#[test]
fn types_and_schemas_have_the_same_fields() {
    for version in served_versions() {
        let mut in_schema = BTreeSet::new();
        schema_paths(&version.schema, "", &mut in_schema);
        in_schema.retain(|path| !matches!(path.as_str(), "apiVersion" | "kind" | "metadata"));
        let in_type = type_paths(version.kind);
        let name = format!("{} {:?}", version.api_version, version.kind);
        let missing: Vec<_> = in_schema.difference(&in_type).collect();
        assert!(missing.is_empty(), "{name}: the type lacks {missing:?}");
        if version.channel == Channel::Experimental {
            let extra: Vec<_> = in_type.difference(&in_schema).collect();
            assert!(extra.is_empty(), "{name}: no schema has {extra:?}");
        }
    }
}

fn schema_paths(schema: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        schema_paths(below, &path, paths);
        paths.insert(path);
    }
    if schema["items"].is_object() {
        schema_paths(&schema["items"], &format!("{path}[]"), paths);
    }
}

/// All fields that the type of a kind reads, found by reading it from a value that has every field.
fn type_paths(kind: Kind) -> BTreeSet<String> {
    let paths = RefCell::new(BTreeSet::new());
    Resource::deserialize(kind, Everything { path: String::new(), text: "x", paths: &paths })
        .expect("it has every field");
    let mut paths = paths.into_inner();
    paths.retain(|path| !path.starts_with("metadata"));
    paths
}

/// A value that has whatever is asked for: every field of a struct, one item in a list.
struct Everything<'p> {
    path: String,
    text: &'static str,
    paths: &'p RefCell<BTreeSet<String>>,
}

impl<'p> Everything<'p> {
    fn below(&self, path: String) -> Self {
        Self { path, text: self.text, paths: self.paths }
    }
}

type Failure = de::value::Error;

impl<'de> Deserializer<'de> for Everything<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_bool(true)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i32(1)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i64(1)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(OneItem(Some(self.below(format!("{}[]", self.path)))))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Fields { all: &self, rest: [].iter(), current: "" })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(Fields { all: &self, rest: fields.iter(), current: "" })
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

struct OneItem<'p>(Option<Everything<'p>>);

impl<'de> SeqAccess<'de> for OneItem<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        self.0.take().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Fields<'p, 'a> {
    all: &'a Everything<'p>,
    rest: std::slice::Iter<'static, &'static str>,
    current: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let Some(field) = self.rest.next() else { return Ok(None) };
        self.current = field;
        let key: de::value::StrDeserializer<'_, Failure> = field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let dot = if self.all.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.all.path, self.current);
        self.all.paths.borrow_mut().insert(path.clone());
        seed.deserialize(self.all.below(path))
    }
}

// === Round trip ===

#[test]
fn an_object_with_every_field_is_written_as_it_was_read() {
    for version in served_versions() {
        let object = maximal(&version);
        let mut sources = Sources::default();
        let loaded = sources.load("maximal.json", object.to_string());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let mut written =
            serde_json::to_value(&loaded.resources[0].0).expect("resources can be written");
        // Objects are written in the preferred version.
        written["apiVersion"] = json!(version.api_version);
        assert_eq!(written, object);
        let read = Resource::from_value(&version.api_version, version.kind.as_str(), &object)
            .expect("types fit");
        assert_eq!(read.as_ref(), Some(&loaded.resources[0].0), "both ways of reading agree");
    }
}

fn maximal(version: &Version) -> Value {
    let mut object = example(&version.schema);
    object["apiVersion"] = json!(version.api_version);
    object["kind"] = json!(version.kind.as_str());
    object["metadata"] = json!({"name": "maximal"});
    if version.kind.is_namespaced() {
        object["metadata"]["namespace"] = json!("default");
    }
    object
}

/// A value with every field of the schema, one item in each list, and of the right types.
fn example(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match text_of(&schema["type"]) {
        "object" if schema["additionalProperties"].is_object() => {
            json!({"example.com/key": example(&schema["additionalProperties"])})
        }
        "object" => {
            let fields = schema["properties"].as_object().cloned().unwrap_or_default();
            fields.iter().map(|(name, below)| (name.clone(), example(below))).collect()
        }
        "array" => json!([example(&schema["items"])]),
        "string"
            if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("h|m|s|ms")) =>
        {
            json!("1s")
        }
        "string" => json!("a"),
        "integer" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        "boolean" => json!(true),
        other => panic!("a type that is not known: {other}"),
    }
}

// === Constraints ===

/// Breaks every constraint of every schema, one at a time, and wants an error at just that field.
#[test]
fn every_constraint_of_the_schemas_is_checked() {
    let mut missed = Vec::new();
    let mut broken = 0;
    for version in served_versions() {
        let object = maximal(&version);
        let sound = errors(&version, &object);
        for Break { at, what, value } in breaks(&version.schema["properties"]["spec"], "/spec") {
            let mut object = object.clone();
            let field = path_of(&at);
            *object.pointer_mut(&at).expect("the example has every field") = value;
            broken += 1;
            let found = errors(&version, &object);
            if !found.iter().any(|error| error.starts_with(&field) && !sound.contains(error)) {
                missed.push(format!("{} {} {field}: {what}", version.api_version, version.kind));
            }
        }
    }
    assert!(broken > 2_000, "only {broken} constraints were found");
    assert!(missed.is_empty(), "{} of {broken} not noticed:\n{}", missed.len(), missed.join("\n"));
}

/// `field: message` of each error.
fn errors(version: &Version, object: &Value) -> BTreeSet<String> {
    let read = Resource::from_value(&version.api_version, version.kind.as_str(), object);
    let resource = read.expect("types fit").expect("the kind is known");
    let schema = Schema { channel: version.channel, api_version: Some(&version.api_version) };
    let found = validate(&resource, schema);
    let errors = found.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| format!("{}: {}", diagnostic.field, diagnostic.message)).collect()
}

/// One way to break a constraint: another value at a JSON pointer.
struct Break {
    at: String,
    what: String,
    value: Value,
}

fn breaks(schema: &Value, at: &str) -> Vec<Break> {
    let mut found = Vec::new();
    let limit = |name: &str| schema[name].as_i64();
    let mut add = |what: &str, value: Value| {
        found.push(Break { at: at.to_owned(), what: what.to_owned(), value })
    };
    if let Some(most) = limit("maxLength") {
        add("maxLength", json!("a".repeat(usize::try_from(most).expect("a length") + 1)));
    }
    if limit("minLength").is_some_and(|least| least > 0) {
        add("minLength", json!(""));
    }
    if schema["pattern"].is_string() {
        add("pattern", json!("\u{7f}"));
    }
    if schema["enum"].is_array() && schema["type"] == "string" {
        add("enum", json!("Unheard"));
    }
    if schema["enum"].is_array() && schema["type"] == "integer" {
        add("enum", json!(299));
    }
    if let Some(least) = limit("minimum") {
        add("minimum", json!(least - 1));
    }
    if let Some(most) = limit("maximum") {
        add("maximum", json!(most + 1));
    }
    if let Some(most) = limit("maxItems") {
        add(
            "maxItems",
            json!(vec![example(&schema["items"]); usize::try_from(most).expect("a length") + 1]),
        );
    }
    if limit("minItems").is_some_and(|least| least > 0) && !has_default(at) {
        add("minItems", json!([]));
    }
    if let Some(most) = limit("maxProperties") {
        let value = example(&schema["additionalProperties"]);
        add("maxProperties", (0..=most).map(|key| (format!("k{key}"), value.clone())).collect());
    }
    breaks_below(schema, at, &mut found);
    found
}

fn breaks_below(schema: &Value, at: &str, found: &mut Vec<Break>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(breaks(below, &format!("{at}/{name}")));
    }
    if schema["items"].is_object() {
        found.extend(breaks(&schema["items"], &format!("{at}/0")));
    }
    if schema["additionalProperties"].is_object() {
        found.extend(breaks(&schema["additionalProperties"], &format!("{at}/example.com~1key")));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let mut without = example(schema);
        without.as_object_mut().expect("only objects require fields").remove(text_of(name));
        found.push(Break { at: at.to_owned(), what: format!("required {name}"), value: without });
    }
}

/// `validate` cannot tell an empty list of rules from a missing one, which has a default; the reader can.
fn has_default(at: &str) -> bool {
    at == "/spec/rules"
}

#[test]
fn empty_lists_that_have_a_default_are_refused_by_the_reader() {
    let mut refused = 0;
    for version in served_versions() {
        let rules = &version.schema["properties"]["spec"]["properties"]["rules"];
        if rules["minItems"].is_null() {
            continue;
        }
        let mut object = maximal(&version);
        object["spec"]["rules"] = json!([]);
        let loaded = Sources::default().load("empty.yaml", object.to_string());
        let found = loaded.diagnostics.into_iter().filter(|it| it.severity == Severity::Error);
        let mut fields: BTreeSet<_> = found.map(|it| it.field.to_string()).collect();
        for (resource, _) in &loaded.resources {
            let schema =
                Schema { channel: version.channel, api_version: Some(&version.api_version) };
            fields.extend(validate(resource, schema).into_iter().map(|it| it.field.to_string()));
        }
        assert!(fields.contains("spec.rules"), "{} {}", version.api_version, version.kind);
        refused += 1;
    }
    assert!(refused > 0);
}

/// `/spec/rules/0/name` as `spec.rules[0].name`.
fn path_of(pointer: &str) -> String {
    let mut path = gateway_core::diagnostic::FieldPath::root();
    for part in pointer.split('/').skip(1) {
        path = match part.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.field(&part.replace("~1", "/")),
        };
    }
    path.to_string()
}
