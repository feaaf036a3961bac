//! What is to be done so that the cluster has what Gateways want.
//!
//! In: a [`Plan`], and our objects as the cluster has them. Out: [`Step`]s; none if all is well. Not
//! here: taking them.

use std::collections::BTreeMap;

use gateway_core::api::{GATEWAY_GROUP, Kind, ObjectKey};
use serde_json::Value;

use super::{
    covers::covers,
    name::{GATEWAY_NAME, GATEWAY_NAMESPACE, label_value},
    object::{Object, ObjectId},
    plan::Plan,
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Make the object so.
    Apply(Object),
    /// Remove the object with this uid.
    Remove(ObjectId, String),
}

impl Step {
    pub(crate) fn id(&self) -> &ObjectId {
        match self {
            Self::Apply(object) => &object.id,
            Self::Remove(id, _) => id,
        }
    }
}

/// How an object is tied to its Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ties {
    /// It is owned by it.
    Owners,
    /// It is in another namespace, where it can only name it, by labels.
    Labels,
}

/// The steps from `seen` to `plan`. `seen` has all objects that carry our label, and no others.
/// Those of other ties than `ties` are left alone.
pub(crate) fn steps(plan: &Plan, seen: &BTreeMap<ObjectId, Value>, ties: Ties) -> Vec<Step> {
    let wanted = plan.values().filter_map(|wanted| wanted.objects.as_ref()).flatten();
    let by_id: BTreeMap<&ObjectId, &Object> =
        wanted.clone().map(|object| (&object.id, object)).collect();
    let applies = wanted.filter(|object| {
        seen.get(&object.id).is_none_or(|seen| !is_ending(seen) && !covers(seen, &object.body))
    });
    let mut steps: Vec<Step> = applies.cloned().map(Step::Apply).collect();
    for (id, seen) in seen {
        if by_id.contains_key(id) || is_ending(seen) || is_kept(id, seen, plan, ties) {
            continue;
        }
        if let Some(uid) = seen["metadata"]["uid"].as_str() {
            steps.push(Step::Remove(id.clone(), uid.to_owned()));
        }
    }
    steps
}

fn is_ending(seen: &Value) -> bool {
    !seen["metadata"]["deletionTimestamp"].is_null()
}

/// Whether an object that nobody wants stays: its Gateway is not to be touched just now, or it is no
/// Gateway's.
fn is_kept(id: &ObjectId, seen: &Value, plan: &Plan, ties: Ties) -> bool {
    if ties == Ties::Owners {
        let Some(gateway) = owner(id, seen) else { return true };
        return plan.get(&gateway).is_some_and(|wanted| wanted.objects.is_none());
    }
    let label = |key: &str| seen["metadata"]["labels"][key].as_str();
    let (Some(namespace), Some(name)) = (label(GATEWAY_NAMESPACE), label(GATEWAY_NAME)) else {
        return true;
    };
    let untouched = plan.iter().filter(|(_, wanted)| wanted.objects.is_none());
    let mut named = untouched.map(|(key, _)| (label_value(&key.namespace), label_value(&key.name)));
    is_owned(seen) || named.any(|of| of == (namespace.to_owned(), name.to_owned()))
}

fn is_owned(seen: &Value) -> bool {
    seen["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty())
}

fn owner(id: &ObjectId, seen: &Value) -> Option<ObjectKey> {
    let owners = seen["metadata"]["ownerReferences"].as_array()?;
    let gateway = owners.iter().find(|owner| {
        let group = owner["apiVersion"].as_str().and_then(|version| version.split_once('/'));
        owner["kind"] == Kind::Gateway.as_str()
            && group.is_some_and(|(group, _)| group == GATEWAY_GROUP)
    })?;
    Some(ObjectKey::new(Kind::Gateway, &id.namespace, gateway["name"].as_str()?))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use gateway_core::{
        api::{Gateway, Kind, ObjectKey},
        resolve::topology::Transport,
    };
    use serde_json::{Value, json};

    use super::{Plan, Step, Ties, steps};
    use crate::dedicated::{Blueprint, Object, ObjectId, Parameters, Port, objects, plan::Wanted};

    fn wanted(name: &str, replicas: u32) -> (ObjectKey, Wanted) {
        let mut gateway = Gateway::new("infra", name).class("c");
        gateway.metadata.uid = Some(format!("uid-{name}"));
        let blueprint = Blueprint {
            controller_name: "example.net/c".to_owned(),
            image: "i".to_owned(),
            config_url: "https://c:1".to_owned(),
            authority: String::new(),
            arguments: Vec::new(),
        };
        let ports = BTreeSet::from([Port { number: 80, transport: Transport::Tcp }]);
        let parameters = Parameters { replicas, ..Parameters::default() };
        let objects = objects(&gateway, &ports, &parameters, &blueprint);
        let key = ObjectKey::new(Kind::Gateway, "infra", name);
        let (name, gateway) = (format!("{name}-c"), Arc::new(gateway));
        (key, Wanted { objects: Some(objects), pods: 1, ..Wanted::beside(&gateway, name) })
    }

    /// The objects as the API server has them, with defaults and a uid.
    fn stored(objects: &[Object]) -> BTreeMap<ObjectId, Value> {
        let store = |object: &Object| {
            let mut body = object.body.clone();
            body["metadata"]["uid"] = format!("uid of {}", object.id).into();
            body["metadata"]["resourceVersion"] = "7".into();
            body["status"] = json!({});
            (object.id.clone(), body)
        };
        objects.iter().map(store).collect()
    }

    #[track_caller]
    fn check(plan: &Plan, seen: &BTreeMap<ObjectId, Value>, expect: &[&str]) {
        let said = |step: &Step| match step {
            Step::Apply(object) => format!("apply {}", object.id),
            Step::Remove(id, _) => format!("remove {id}"),
        };
        assert_eq!(steps(plan, seen, Ties::Owners).iter().map(said).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn what_is_missing_or_differs_is_applied_and_what_is_left_over_removed() {
        let plan: Plan = [wanted("a", 1)].into();
        let all = [
            "apply ServiceAccount infra/a-c",
            "apply ConfigMap infra/a-c",
            "apply Deployment infra/a-c",
            "apply Service infra/a-c",
        ];
        check(&plan, &BTreeMap::new(), &all);
        let objects = plan.values().next().and_then(|one| one.objects.clone()).expect("some");
        let mut seen = stored(&objects);
        check(&plan, &seen, &[]);
        // Somebody scales it.
        let deployment = seen.keys().find(|id| id.kind.as_str() == "Deployment").cloned();
        let deployment = deployment.expect("there is one");
        seen.get_mut(&deployment).expect("it is there")["spec"]["replicas"] = 9.into();
        check(&plan, &seen, &["apply Deployment infra/a-c"]);
        // It is being deleted: applied anew when it is gone.
        seen.get_mut(&deployment).expect("it is there")["metadata"]["deletionTimestamp"] =
            "x".into();
        check(&plan, &seen, &[]);
        seen.remove(&deployment);
        check(&plan, &seen, &["apply Deployment infra/a-c"]);
        // The Gateway is gone.
        let left = ["ServiceAccount", "ConfigMap", "Service"]
            .map(|kind| format!("remove {kind} infra/a-c"));
        check(&Plan::new(), &seen, &left.each_ref().map(String::as_str));
    }

    #[test]
    fn a_gateway_that_is_refused_keeps_what_it_has() {
        let (key, mut one) = wanted("a", 1);
        let seen = stored(one.objects.as_deref().expect("some"));
        one.objects = None;
        check(&[(key, one)].into(), &seen, &[]);
    }

    #[test]
    fn objects_that_nobody_owns_are_left_alone() {
        let (_, one) = wanted("a", 1);
        let mut seen = stored(one.objects.as_deref().expect("some"));
        for object in seen.values_mut() {
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Pod", "name": "x"}]);
        }
        check(&Plan::new(), &seen, &[]);
    }
}
