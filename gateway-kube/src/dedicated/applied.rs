//! When an object is applied again.
//!
//! In: what applies came to. Out: whether another one is due, would come to the same, or has to wait.
//! Not here: applying.
//!
//! An API server may never give back what was applied: it writes quantities in its own way, webhooks
//! change objects, others add to lists. So an apply is not repeated until one of the sides differs;
//! and if somebody changes the object back and forth, it is repeated after pauses that double.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    covers::{covers, difference},
    object::{Object, ObjectId},
};
use crate::watch::Pauses;

/// After so long without another one, an apply is not a repetition.
const CALM: Duration = Duration::from_secs(60);

/// The last applies of all objects.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    last: BTreeMap<ObjectId, Apply>,
    seed: RandomState,
}

#[derive(Debug)]
struct Apply {
    /// Of what was wanted.
    wanted: u64,
    /// Of what came of it, if that is not what was wanted.
    short: Option<u64>,
    /// How often the same was applied in a row.
    times: u32,
    /// When it may be applied again.
    due: Instant,
    /// Whether it was told that an apply did not come to what was wanted.
    told: bool,
}

/// What is to be done about an object that differs from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Apply it.
    Now,
    /// Apply it then.
    At(Instant),
    /// Leave it: it is as it was after the last apply.
    InVain,
}

impl Applied {
    /// Takes note of an apply and of the object that was the answer. Tells where that is not what was
    /// wanted, once for each object.
    pub(crate) fn note(&mut self, object: &Object, answer: &Value, now: Instant) -> Option<String> {
        let wanted = self.seed.hash_one(object.body.to_string());
        let short = (!covers(answer, &object.body)).then(|| self.hash(answer));
        let before = self.last.get(&object.id);
        let repeated = before.filter(|last| last.wanted == wanted && now < last.due + CALM);
        let times = repeated.map_or(0, |last| last.times.saturating_add(1));
        let due = now + Pauses::after(times, &self.seed);
        let was_told = before.is_some_and(|last| last.told);
        let difference = if was_told { None } else { difference(answer, &object.body) };
        let told = was_told || difference.is_some();
        self.last.insert(object.id.clone(), Apply { wanted, short, times, due, told });
        difference
    }

    /// Whether to apply an object that differs from `seen`; none if there is no such object.
    pub(crate) fn again(&self, object: &Object, seen: Option<&Value>, now: Instant) -> Again {
        let last = self.last.get(&object.id);
        let wanted = |last: &&Apply| last.wanted == self.seed.hash_one(object.body.to_string());
        let Some(last) = last.filter(wanted) else { return Again::Now };
        let is_same = |seen: &Value| last.short == Some(self.hash(seen));
        if last.short.is_some() && seen.is_some_and(is_same) {
            return Again::InVain;
        }
        if last.due > now { Again::At(last.due) } else { Again::Now }
    }

    /// Forgets the other objects.
    pub(crate) fn retain(&mut self, keep: impl Fn(&ObjectId) -> bool) {
        self.last.retain(|id, _| keep(id));
    }

    /// Of an object without what changes by itself.
    fn hash(&self, object: &Value) -> u64 {
        let mut object = object.clone();
        if let Value::Object(fields) = &mut object {
            fields.remove("status");
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                for field in ["resourceVersion", "managedFields", "generation"] {
                    metadata.remove(field);
                }
            }
        }
        self.seed.hash_one(object.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::{Again, Applied, CALM};
    use crate::dedicated::{Object, ObjectId, ObjectKind};

    fn wanted(cpu: &str) -> Object {
        let (namespace, name) = ("a".into(), "b".into());
        let id = ObjectId { kind: ObjectKind::Deployment, namespace, name };
        Object { id, body: json!({"spec": {"cpu": cpu}}) }
    }

    fn stored(cpu: &str, version: u32) -> Value {
        json!({
            "metadata": {"resourceVersion": version.to_string(), "generation": version},
            "spec": {"cpu": cpu},
            "status": {"version": version},
        })
    }

    #[test]
    fn what_came_to_nothing_is_not_repeated_until_one_side_differs() {
        let (mut applied, now) = (Applied::default(), Instant::now());
        let later = now + CALM;
        let half = wanted("0.5");
        assert_eq!(applied.again(&half, None, now), Again::Now);
        applied.note(&half, &stored("500m", 1), now);
        assert_eq!(applied.again(&half, Some(&stored("500m", 2)), later), Again::InVain);
        assert_eq!(applied.again(&half, Some(&stored("7", 3)), later), Again::Now);
        assert_eq!(applied.again(&half, None, later), Again::Now);
        assert_eq!(applied.again(&wanted("0.6"), Some(&stored("500m", 2)), now), Again::Now);
        applied.retain(|_| false);
        assert_eq!(applied.again(&half, Some(&stored("500m", 2)), now), Again::Now);
    }

    #[test]
    fn an_apply_without_full_effect_is_told_once() {
        let (mut applied, now) = (Applied::default(), Instant::now());
        assert_eq!(applied.note(&wanted("0.5"), &stored("500m", 1), now), None);
        let told = Some("spec.cpu is \"2\" instead of \"1\"".to_owned());
        assert_eq!(applied.note(&wanted("1"), &stored("2", 2), now), told);
        assert_eq!(applied.note(&wanted("1"), &stored("2", 3), now), None);
        assert_eq!(applied.note(&wanted("3"), &stored("2", 4), now), None);
        assert_eq!(applied.note(&wanted("2"), &stored("2", 5), now), None);
    }

    #[test]
    fn who_puts_it_back_each_time_makes_the_pauses_longer() {
        let (mut applied, start) = (Applied::default(), Instant::now());
        let one = wanted("1");
        let mut now = start;
        for _ in 0..20 {
            applied.note(&one, &stored("1", 1), now);
            let Again::At(due) = applied.again(&one, Some(&stored("7", 2)), now) else {
                panic!("it has to wait");
            };
            now = due;
            assert_eq!(applied.again(&one, Some(&stored("7", 2)), now), Again::Now);
        }
        assert!(now - start > Duration::from_secs(50), "{:?}", now - start);
        // Long after, or for something else, it begins anew.
        now += CALM;
        for again in [one, wanted("2")] {
            applied.note(&again, &stored("1", 1), now);
            let due = applied.last[&again.id].due;
            assert!(due - now <= Duration::from_millis(100), "{:?}", due - now);
        }
    }
}
