//! Whether an object is still as we want it.
//!
//! In: what we say of an object, and the object as it is. Out: whether all that we say holds. Not
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::covers;

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
