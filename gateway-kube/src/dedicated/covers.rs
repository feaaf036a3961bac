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
    fn check(seen: Value, wanted: Value, expect: bool) {
        assert_eq!(covers(&seen, &wanted), expect, "{seen} {wanted}");
    }

    #[test]
    fn other_fields_do_not_matter() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "type": "LoadBalancer"}});
        let seen = json!({
            "spec": {"ports": [{"port": 80, "nodePort": 30_000}], "type": "LoadBalancer", "clusterIP": "x"},
            "status": {},
        });
        check(seen, wanted.clone(), true);
        check(
            json!({"spec": {"ports": [{"port": 81}], "type": "LoadBalancer"}}),
            wanted.clone(),
            false,
        );
        check(json!({"spec": {"ports": [], "type": "LoadBalancer"}}), wanted.clone(), false);
        check(json!({"spec": {"type": "LoadBalancer"}}), wanted.clone(), false);
        check(
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "type": "LoadBalancer"}}),
            wanted,
            false,
        );
    }
}
