//! From tree to the structs of `api`, noticing every field that no struct knows.
//!
//! In: a node. Out: any type with serde's `Deserialize`, and the findings on the way with their field paths.
//! Deliberately not here: the kinds (`document`).

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Entry, Node, NodeId, Tree, Value};
use crate::diagnostic::{Code, FieldPath, Segment, suggest};

/// One object being read.
pub(super) struct Walk<'t> {
    tree: &'t Tree,
    /// Whether fields that no struct knows are worth reporting.
    pub(super) reports_unknown_fields: bool,
    /// Whether values may be shown; not those of a Secret.
    pub(super) shows_values: bool,
    /// Nodes that may still be read; aliases make it possible to read more nodes than the text has.
    pub(super) budget: Cell<usize>,
    path: RefCell<FieldPath>,
    findings: RefCell<Vec<Finding>>,
}

/// Something wrong with a field.
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) field: FieldPath,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The key in question, if it is about a key.
    pub(super) key_range: Option<(u32, u32)>,
}

impl<'t> Walk<'t> {
    pub(super) fn new(tree: &'t Tree, budget: usize) -> Self {
        let (path, findings) = (RefCell::default(), RefCell::default());
        Self {
            tree,
            reports_unknown_fields: true,
            shows_values: true,
            budget: Cell::new(budget),
            path,
            findings,
        }
    }

    pub(super) fn deserializer(&self, node: NodeId) -> NodeDeserializer<'t, '_> {
        NodeDeserializer { walk: self, node }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }

    /// Reads what is one step down; an error found there keeps the path it was found at.
    fn below<T>(
        &self,
        segment: Segment<'_>,
        read: impl FnOnce() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let length = self.path.borrow().as_str().len();
        self.path.borrow_mut().push(segment);
        let outcome = read().map_err(|error| self.locate(error));
        self.path.borrow_mut().truncate(length);
        outcome
    }

    fn locate(&self, mut error: ReadError) -> ReadError {
        error.0.field.get_or_insert_with(|| self.path.borrow().clone());
        error
    }

    fn report_unknown_field(&self, entry: &Entry, known: &'static [&'static str]) {
        let is_root = self.path.borrow().is_root();
        let is_metadata = self.path.borrow().as_str() == "metadata";
        let is_expected = (is_root && matches!(&*entry.key, "apiVersion" | "kind"))
            || (is_metadata && UNREAD_METADATA.contains(&&*entry.key));
        if !self.reports_unknown_fields || is_expected {
            return;
        }
        let help = match suggest::nearest(&entry.key, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("known fields here are {}", known.join(", ")),
        };
        self.findings.borrow_mut().push(Finding {
            code: Code::UnknownField,
            field: self.path.borrow().field(&entry.key),
            message: format!("unknown field {:?}", entry.key),
            help: Some(help),
            key_range: Some(entry.key_range),
        });
    }
}

/// Metadata that Kubernetes has and no gateway reads.
const UNREAD_METADATA: &[&str] =
    &["deletionGracePeriodSeconds", "generateName", "managedFields", "selfLink"];

// === ReadError ===

/// Why an object could not be read.
#[derive(Debug)]
pub(super) struct ReadError(Box<Reason>);

#[derive(Debug)]
struct Reason {
    code: Code,
    message: String,
    help: Option<&'static str>,
    field: Option<FieldPath>,
}

impl ReadError {
    fn new(code: Code, message: String, help: Option<&'static str>) -> Self {
        Self(Box::new(Reason { code, message, help, field: None }))
    }

    pub(super) fn into_finding(self) -> Finding {
        let Reason { code, message, help, field } = *self.0;
        Finding {
            code,
            field: field.unwrap_or_default(),
            message,
            help: help.map(str::to_owned),
            key_range: None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Code::WrongType, message.to_string(), None)
    }
}

// === NodeDeserializer ===

pub(super) struct NodeDeserializer<'t, 'w> {
    walk: &'w Walk<'t>,
    node: NodeId,
}

impl<'t> NodeDeserializer<'t, '_> {
    /// Takes the node out of the budget.
    fn enter(&self) -> Result<&'t Node, ReadError> {
        let budget = self.walk.budget.get();
        if budget == 0 {
            let message = "the aliases of the text expand too far".to_owned();
            return Err(ReadError::new(Code::LimitExceeded, message, None));
        }
        self.walk.budget.set(budget - 1);
        Ok(&self.walk.tree[self.node])
    }

    fn wrong_type(&self, expected: &str, found: &Value) -> ReadError {
        let shown = match found {
            _ if !self.walk.shows_values => found.describe().to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::String(value) if value.len() <= 40 => format!("the string {value:?}"),
            _ => found.describe().to_owned(),
        };
        let help = match (expected, found) {
            ("a string", Value::Bool(_) | Value::Int(_) | Value::Float(_)) => {
                Some("put it in quotes")
            }
            ("a whole number", Value::String(text)) if text.parse::<i64>().is_ok() => {
                Some("remove the quotes")
            }
            ("true or false", Value::String(_)) => Some("write true or false, without quotes"),
            ("a list", Value::Map(_) | Value::String(_)) => Some("begin each item with \"- \""),
            _ => None,
        };
        let message = format!("expected {expected}, found {shown}");
        ReadError::new(Code::WrongType, message, help)
    }

    fn integer(&self, range: std::ops::RangeInclusive<i64>) -> Result<i64, ReadError> {
        match &self.enter()?.value {
            Value::Int(number) if range.contains(number) => Ok(*number),
            Value::Int(number) => {
                let message =
                    format!("{number} is not between {} and {}", range.start(), range.end());
                Err(ReadError::new(Code::OutOfRange, message, None))
            }
            other => Err(self.wrong_type("a whole number", other)),
        }
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.enter()?.value {
            Value::Map(entries) => visitor.visit_map(Fields {
                walk: self.walk,
                known,
                rest: entries.iter(),
                current: None,
            }),
            other => Err(self.wrong_type("an object", other)),
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.walk.tree[self.node].value {
            Value::Null => self.enter().and_then(|_| visitor.visit_unit()),
            Value::Bool(value) => self.enter().and_then(|_| visitor.visit_bool(*value)),
            Value::Int(value) => self.enter().and_then(|_| visitor.visit_i64(*value)),
            Value::Float(value) => self.enter().and_then(|_| visitor.visit_f64(*value)),
            Value::String(value) => self.enter().and_then(|_| visitor.visit_str(value)),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.map(None, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.enter()?.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            other => Err(self.wrong_type("true or false", other)),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(i64::from(i32::MIN)..=i64::from(i32::MAX))
            .and_then(|number| visitor.visit_i64(number))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(i64::MIN..=i64::MAX).and_then(|number| visitor.visit_i64(number))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.enter()?.value {
            Value::String(text) => visitor.visit_str(text),
            // Kubernetes reads a missing value of a label or annotation as the empty string.
            Value::Null => visitor.visit_str(""),
            other => Err(self.wrong_type("a string", other)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.walk.tree[self.node].value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.enter()?.value {
            Value::List(items) => {
                visitor.visit_seq(Items { walk: self.walk, rest: items.iter().enumerate() })
            }
            other => Err(self.wrong_type("a list", other)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.map(Some(fields), visitor)
    }

    /// Unknown fields were reported with their key; what is below them does not matter.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

struct Items<'t, 'w> {
    walk: &'w Walk<'t>,
    rest: std::iter::Enumerate<std::slice::Iter<'t, NodeId>>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let read = || seed.deserialize(self.walk.deserializer(*node));
        self.walk.below(Segment::Index(index), read).map(Some)
    }
}

struct Fields<'t, 'w> {
    walk: &'w Walk<'t>,
    /// The fields of the struct being read; none if it is a map with free keys.
    known: Option<&'static [&'static str]>,
    rest: std::slice::Iter<'t, Entry>,
    current: Option<&'t Entry>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        for entry in self.rest.by_ref() {
            if let Some(known) = self.known {
                if !known.contains(&&*entry.key) {
                    self.walk.report_unknown_field(entry, known);
                    continue;
                }
                // As in Kubernetes, a field without value is a field that is not there.
                if matches!(self.walk.tree[entry.value].value, Value::Null) {
                    continue;
                }
            }
            self.current = Some(entry);
            let key: StrDeserializer<'_, ReadError> = (&*entry.key).into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self.current.take().expect("serde asks for a value after each key");
        let read = || seed.deserialize(self.walk.deserializer(entry.value));
        self.walk.below(Segment::Field(&entry.key), read)
    }
}
