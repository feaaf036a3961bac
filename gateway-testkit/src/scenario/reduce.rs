//! Makes a scenario small while something still happens in it.

use serde_json::Value;

use super::Scenario;
use crate::corpus::case;

/// Fields that an object can do without.
const OPTIONAL: &[&str] = &[
    "allowedListeners",
    "allowedRoutes",
    "creationTimestamp",
    "filters",
    "headers",
    "hostname",
    "hostnames",
    "kinds",
    "matches",
    "method",
    "path",
    "queryParams",
    "sectionName",
    "weight",
];

/// Lists that the schema wants not empty.
const NEVER_EMPTY: &[&str] = &["allowOrigins", "certificateRefs", "from", "listeners", "to"];

impl Scenario {
    /// Leaves out whatever is not needed for `happens`: requests, objects, then parts of objects.
    #[must_use]
    pub fn reduce(&self, happens: impl Fn(&Self) -> bool) -> Self {
        let mut small = self.clone();
        let with_one = |request| Self { requests: vec![request], ..self.clone() };
        let mut alone = self.requests.iter().cloned().map(with_one);
        if let Some(one) = alone.find(|one| happens(one)) {
            small = one;
        }
        loop {
            let before = small.resources.clone();
            small = small.without_objects(&happens).without_parts(&happens);
            if small.resources == before {
                return small;
            }
        }
    }

    fn without_objects(mut self, happens: &impl Fn(&Self) -> bool) -> Self {
        for place in (0..self.resources.len()).rev() {
            let mut without = self.clone();
            without.resources.remove(place);
            if happens(&without) {
                self = without;
            }
        }
        self
    }

    fn without_parts(mut self, happens: &impl Fn(&Self) -> bool) -> Self {
        for place in 0..self.resources.len() {
            let mut step = 0;
            while let Ok(mut value) = serde_json::to_value(&self.resources[place])
                && remove_part("", &mut value, &mut step.clone())
            {
                let mut without = self.clone();
                match case::resource(value) {
                    Ok(smaller) if smaller != without.resources[place] => {
                        without.resources[place] = smaller;
                        if happens(&without) {
                            self = without;
                        } else {
                            step += 1;
                        }
                    }
                    _ => step += 1,
                }
            }
        }
        self
    }
}

/// Removes the removable part number `step` of the field `key`, counted depth first; false if there
/// are not so many.
fn remove_part(key: &str, value: &mut Value, step: &mut usize) -> bool {
    match value {
        Value::Array(list) => {
            let removable =
                if NEVER_EMPTY.contains(&key) && list.len() == 1 { 0 } else { list.len() };
            if *step < removable {
                list.remove(*step);
                return true;
            }
            *step -= removable;
            list.iter_mut().any(|part| remove_part("", part, step))
        }
        Value::Object(fields) => {
            let optional = fields.keys().filter(|key| OPTIONAL.contains(&&***key));
            let optional: Vec<_> = optional.cloned().collect();
            if let Some(key) = optional.get(*step) {
                fields.remove(key);
                return true;
            }
            *step -= optional.len();
            fields.iter_mut().any(|(key, part)| remove_part(key, part, step))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Scenario, bytes_of_seed};

    #[test]
    fn what_is_needed_stays() {
        let scenario = Scenario::from_bytes(&bytes_of_seed(3, 2000), 4);
        let has_route = |scenario: &Scenario| {
            scenario.resources.iter().any(|resource| resource.key().to_string().contains("Route"))
        };
        let small = scenario.reduce(has_route);
        assert!(has_route(&small));
        assert_eq!((small.resources.len(), small.requests.len()), (1, 1));
        assert!(!small.to_yaml().contains("matches"), "{}", small.to_yaml());
    }
}
