//! Whether an object is still as we want it.
//!
//! In: what we say of an object, and the object as it is. Out: whether all that we say holds, or where
//! it does not. Not
//! here: fields of which we say nothing; defaults and other writers may fill them.

use serde_json::Value;

/// Whether `seen` has everything of `wanted`.
///
/// Lists count as a whole, so that an entry that somebody added is seen; their entries may have more
/// fields.
pub(crate) fn covers(seen: &Value, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| seen.get(key).is_some_and(|seen| covers(seen, wanted))),
        (Value::Array(seen), Value::Array(wanted)) => {
            seen.len() == wanted.len()
                && seen.iter().zip(wanted).all(|(seen, wanted)| covers(seen, wanted))
        }
        (seen, wanted) => seen == wanted,
    }
}

/// Where `seen` lacks something of `wanted`, and what it has there. Quantities that are written in
/// another way are the same.
pub(crate) fn difference(seen: &Value, wanted: &Value) -> Option<String> {
    differ(seen, wanted, "")
}

fn differ(seen: &Value, wanted: &Value, at: &str) -> Option<String> {
    match (seen, wanted) {
        (Value::Object(seen), Value::Object(wanted)) => wanted.iter().find_map(|(key, wanted)| {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            differ(seen.get(key).unwrap_or(&Value::Null), wanted, &at)
        }),
        (Value::Array(seen), Value::Array(wanted)) if seen.len() != wanted.len() => {
            Some(format!("{at} has {} entries instead of {}", seen.len(), wanted.len()))
        }
        (Value::Array(seen), Value::Array(wanted)) => {
            let mut pairs = seen.iter().zip(wanted).enumerate();
            pairs
                .find_map(|(place, (seen, wanted))| differ(seen, wanted, &format!("{at}[{place}]")))
        }
        (seen, wanted) if seen == wanted => None,
        (Value::String(seen), Value::String(wanted)) if is_same_quantity(seen, wanted) => None,
        (Value::Null, _) => Some(format!("{at} is missing")),
        // Objects and lists would make a long line.
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => {
            Some(format!("{at} is something else"))
        }
        (seen, wanted) => Some(format!("{at} is {seen} instead of {wanted}")),
    }
}

fn is_same_quantity(a: &str, b: &str) -> bool {
    match (quantity(a), quantity(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => false,
    }
}

/// The value of a quantity such as `500m` or `64Mi`.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{covers, difference};

    #[test]
    fn a_difference_is_told_by_its_place() {
        let wanted = json!({"spec": {"cpu": "0.5", "n": 1, "list": [{"a": "x"}], "map": {"b": 1}}});
        let told = |seen: Value| difference(&seen, &wanted).unwrap_or_default();
        let seen = |cpu: &str, n: u32, list: Value| json!({"spec": {"cpu": cpu, "n": n, "list": list, "map": {"b": 1, "c": 2}}});
        let list = json!([{"a": "x", "b": "y"}]);
        assert_eq!(told(seen("500m", 1, list.clone())), "");
        assert_eq!(told(seen("1", 1, list.clone())), "spec.cpu is \"1\" instead of \"0.5\"");
        assert_eq!(told(seen("500m", 2, list)), "spec.n is 2 instead of 1");
        let more = json!([{"a": "x"}, {}]);
        assert_eq!(told(seen("500m", 1, more)), "spec.list has 2 entries instead of 1");
        assert_eq!(told(seen("500m", 1, json!([{}]))), "spec.list[0].a is missing");
        assert_eq!(told(seen("500m", 1, json!("x"))), "spec.list is something else");
    }

    #[track_caller]
    fn check(seen: &Value, expect: bool) {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "type": "LoadBalancer"}});
        assert_eq!(covers(seen, &wanted), expect, "{seen}");
    }

    #[test]
    fn other_fields_do_not_matter() {
        let ports = json!([{"port": 80, "nodePort": 30_000}]);
        let spec = json!({"ports": ports, "type": "LoadBalancer", "clusterIP": "x"});
        check(&json!({"spec": spec, "status": {}}), true);
        check(&json!({"spec": {"type": "LoadBalancer"}}), false);
        for ports in [json!([]), json!([{"port": 81}]), json!([{"port": 80}, {"port": 81}])] {
            check(&json!({"spec": {"ports": ports, "type": "LoadBalancer"}}), false);
        }
    }
}
