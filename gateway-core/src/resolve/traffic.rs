//! XBackendTrafficPolicies: retry budgets and sessions of whole Services (experimental).
//!
//! In: policies. Out: [`TrafficPolicy`] by Service. Not here: their ancestors (`ancestor`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    api::{
        self, CORE_GROUP, ConditionType, Kind, ObjectKey, Reason, RetryConstraint,
        XBackendTrafficPolicy,
    },
    backend::{RetryBudget, SessionPersistence},
};

use super::{
    Given,
    ancestor::Target,
    note::Notes,
    session::session_persistence,
    status::{Conditions, Fault},
};

/// All XBackendTrafficPolicies.
#[derive(Clone, Debug, Default)]
pub(super) struct TrafficPolicies {
    policies: BTreeMap<ObjectKey, Judged>,
    /// The policy that holds for each Service.
    holding: BTreeMap<ObjectKey, ObjectKey>,
}

/// What a policy asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct TrafficPolicy {
    pub(super) retry_budget: Option<RetryBudget>,
    pub(super) session_persistence: Option<Arc<SessionPersistence>>,
}

#[derive(Clone, Debug)]
struct Judged {
    generation: Option<i64>,
    targets: Vec<Target>,
    policy: Option<TrafficPolicy>,
    refused: Option<Fault>,
}

impl TrafficPolicies {
    pub(super) fn new(given: Given<'_>, notes: &mut Notes) -> Self {
        let mut policies = Self::default();
        let mut oldest_first: Vec<_> = given.snapshot.backend_traffic_policies().iter().collect();
        oldest_first.sort_by(|(_, a), (_, b)| a.metadata.seniority_cmp(&b.metadata));
        for (key, policy) in oldest_first {
            let judged = policies.judge(key, policy, given);
            if let Some(fault) = &judged.refused {
                notes.fault(key, "spec", fault);
            }
            policies.policies.insert(key.clone(), judged);
        }
        policies
    }

    pub(super) fn of(&self, namespace: &str, name: &str) -> Option<&TrafficPolicy> {
        if self.holding.is_empty() {
            return None;
        }
        let holder = self.holding.get(&ObjectKey::new(Kind::Service, namespace, name))?;
        self.policies.get(holder)?.policy.as_ref()
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ObjectKey> {
        self.policies.values().flat_map(|policy| policy.targets.iter().map(|t| &t.service))
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = (&ObjectKey, &Vec<Target>)> {
        self.policies.iter().map(|(key, policy)| (key, &policy.targets))
    }

    pub(super) fn targets_of(&self, policy: &ObjectKey) -> &[Target] {
        self.policies.get(policy).map_or(&[], |policy| &policy.targets)
    }

    pub(super) fn conditions(&self, policy: &ObjectKey) -> Conditions {
        let judged = self.policies.get(policy);
        Conditions::new(judged.and_then(|judged| judged.generation)).verdict(
            ConditionType::Accepted,
            judged.and_then(|judged| judged.refused.as_ref()),
            Reason::Accepted,
            "the policy holds for its targets",
        )
    }

    fn judge(
        &mut self,
        key: &ObjectKey,
        policy: &XBackendTrafficPolicy,
        given: Given<'_>,
    ) -> Judged {
        let mut missing = None;
        let mut targets = Vec::new();
        let mut rival = None;
        let mut won = false;
        for reference in &policy.spec.target_refs {
            let service = ObjectKey::new(Kind::Service, &key.namespace, &reference.name);
            let is_service = (reference.group(), &*reference.kind) == (CORE_GROUP, "Service");
            if !is_service || !given.snapshot.services().contains_key(&service) {
                let message = format!(
                    "{}/{} {} does not exist or is no core Service",
                    reference.group(),
                    reference.kind,
                    reference.name
                );
                missing = Some(Fault::new(Reason::TargetNotFound, message));
                continue;
            }
            targets.push(Target::new(&service, None, given));
            match self.holding.get(&service) {
                Some(holder) if holder != key => rival = Some(holder.clone()),
                _ => {
                    self.holding.insert(service, key.clone());
                    won = true;
                }
            }
        }
        let read = read(policy);
        let conflict = rival.filter(|_| !won).map(|holder| {
            Fault::new(Reason::Conflicted, format!("{holder} is older and has the same target"))
        });
        let refused = missing
            .filter(|_| targets.is_empty())
            .or(conflict)
            .or_else(|| read.as_ref().err().cloned());
        Judged { generation: policy.metadata.generation, targets, policy: read.ok(), refused }
    }
}

fn read(policy: &XBackendTrafficPolicy) -> Result<TrafficPolicy, Fault> {
    let invalid = |message: String| Fault::new(Reason::Invalid, message);
    let session = policy.spec.session_persistence.as_ref().map(session_persistence);
    let session_persistence = session.transpose().map_err(invalid)?.map(Arc::new);
    let budget = policy.spec.retry_constraint.as_ref().map(retry_budget);
    Ok(TrafficPolicy { retry_budget: budget.transpose().map_err(invalid)?, session_persistence })
}

fn retry_budget(constraint: &RetryConstraint) -> Result<RetryBudget, String> {
    let budget = constraint.budget.clone().unwrap_or_default();
    let rate = constraint.min_retry_rate.clone().unwrap_or_default();
    let percent = u8::try_from(budget.percent()).ok().filter(|percent| *percent <= 100);
    let percent = percent.ok_or_else(|| {
        format!("retryConstraint.budget.percent is {}, expected 0 to 100", budget.percent())
    })?;
    let count = rate.count.unwrap_or(10);
    let count =
        u32::try_from(count).ok().filter(|count| (1..=1_000_000).contains(count)).ok_or_else(
            || format!("retryConstraint.minRetryRate.count is {count}, expected 1 to 1000000"),
        )?;
    Ok(RetryBudget {
        percent,
        interval: duration(budget.interval.as_ref(), 10, "budget.interval")?,
        min_retries: (count, duration(rate.interval.as_ref(), 1, "minRetryRate.interval")?),
    })
}

fn duration(
    written: Option<&api::Duration>,
    default_seconds: u64,
    field: &str,
) -> Result<Duration, String> {
    let Some(written) = written else { return Ok(Duration::from_secs(default_seconds)) };
    let read = written
        .to_std()
        .map_err(|error| format!("retryConstraint.{field} is {:?}: {error}", written.as_str()))?;
    if read.is_zero() || read > Duration::from_secs(3600) {
        return Err(format!(
            "retryConstraint.{field} is {written}, expected more than 0s, at most 1h"
        ));
    }
    Ok(read)
}
