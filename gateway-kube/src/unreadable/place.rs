//! Where in an object the value is that cannot be read.
//!
//! In: an object that cannot be read, and a way to try others. Out: the path of the first value that
//! is to blame, such as `spec.rules[0].matches`. Not here: what is wrong with it.
//!
//! Every field may be missing, so an object is readable up to the field that is to blame. That one is
//! searched by halves: a large list costs a few attempts, not one for each item.

use serde_json::{Map, Value};

/// The path of the value for which `fails` is true whatever stands beside it. Empty: all of it.
pub(super) fn place(object: &Value, fails: &dyn Fn(Value) -> bool) -> String {
    let mut path = String::new();
    descend(object, fails, &mut path);
    path
}

fn descend(value: &Value, fails: &dyn Fn(Value) -> bool, path: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: Vec<(&String, &Value)> = fields.iter().collect();
            let first = |count: usize| -> Map<String, Value> {
                let fields = fields.iter().take(count);
                fields.map(|(name, value)| ((*name).clone(), (*value).clone())).collect()
            };
            let Some(at) = guilty(fields.len(), |count| fails(Value::Object(first(count)))) else {
                return;
            };
            let (name, child) = fields[at];
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            let with = |candidate| {
                let mut fields = first(at);
                fields.insert(name.clone(), candidate);
                fails(Value::Object(fields))
            };
            descend(child, &with, path);
        }
        Value::Array(items) => {
            let first =
                |count: usize| -> Vec<Value> { items.iter().take(count).cloned().collect() };
            let Some(at) = guilty(items.len(), |count| fails(Value::Array(first(count)))) else {
                return;
            };
            path.push_str(&format!("[{at}]"));
            let with = |candidate| {
                let mut items = first(at);
                items.push(candidate);
                fails(Value::Array(items))
            };
            descend(&items[at], &with, path);
        }
        _ => {}
    }
}

/// The first of `len` children with which it fails; none if it fails without any.
fn guilty(len: usize, fails: impl Fn(usize) -> bool) -> Option<usize> {
    if len == 0 || fails(0) {
        return None;
    }
    let (mut readable, mut unreadable) = (0, len);
    while unreadable - readable > 1 {
        let middle = readable + (unreadable - readable) / 2;
        if fails(middle) {
            unreadable = middle;
        } else {
            readable = middle;
        }
    }
    Some(readable)
}

#[cfg(test)]
mod tests {
    use gateway_core::api::{Kind, Resource};
    use serde_json::{Value, json};

    use super::place;

    #[track_caller]
    fn check(kind: Kind, object: &Value, expect: &str) {
        let fails = |candidate| Resource::deserialize(kind, candidate).is_err();
        assert!(fails(object.clone()), "{object} can be read");
        assert_eq!(place(object, &fails), expect, "{object}");
    }

    #[test]
    fn the_value_that_is_to_blame_is_named() {
        let route = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
        let of_route = |spec, expect| check(Kind::HttpRoute, &route(spec), expect);
        of_route(json!({"rules": "all"}), "spec.rules");
        of_route(json!({"hostnames": {"a": []}}), "spec.hostnames");
        of_route(json!(7), "spec");
        of_route(json!({"hostnames": ["a", "b", 7, "c"]}), "spec.hostnames[2]");
        let matches = json!([{"path": {"value": "/"}}, {"path": {"value": true}}]);
        of_route(
            json!({"rules": [{}, {"matches": matches}]}),
            "spec.rules[1].matches[1].path.value",
        );
        let listeners = json!([{"name": "a", "port": "eighty", "protocol": "HTTP"}]);
        let gateway = json!({"spec": {"gatewayClassName": "c", "listeners": listeners}});
        check(Kind::Gateway, &gateway, "spec.listeners[0].port");
        check(Kind::HttpRoute, &json!(7), "");
    }
}
