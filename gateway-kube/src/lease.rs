//! Who writes status: the replica that holds a Lease.
//!
//! In: the name of the Lease and who we are. Out: whether we hold it, at any time. Not here: what
//! only the leader does.
//!
//! A lease is over once it has not changed for its duration by our own monotonic clock, so clocks
//! of replicas need not agree. A holder that cannot renew gives up well before others may take over:
//! it counts from before it asked for the renewal, others count from after they have seen it.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    leadership::Until,
    notice::{Notice, Notices},
    watch::of_client,
};

/// How long a lease lasts without renewal. With one more [`TURN`] this is the longest time without
/// leader.
const DURATION: Duration = Duration::from_secs(10);

/// How long a holder leads without renewal. Writes that are under way then end before [`DURATION`].
const PATIENCE: Duration = Duration::from_secs(7);

/// How often the lease is looked at or renewed.
const TURN: Duration = Duration::from_secs(2);

/// How soon it is looked at again if that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(3);

/// The Lease that replicas share.
#[derive(Clone, Debug)]
pub struct Election {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are; no two replicas have the same.
    pub identity: String,
}

impl Election {
    /// The Lease of all replicas with this controller name.
    #[must_use]
    pub fn of(controller_name: &str, namespace: &str, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: controller_name.to_lowercase().replace(['/', '_', '~'], "-"),
            identity: identity.into(),
        }
    }
}

/// Takes part in the election until `ending` is true, then releases the lease.
pub(crate) async fn campaign(
    client: Client,
    election: Election,
    notices: Notices,
    leading: watch::Sender<Until>,
    mut ending: watch::Receiver<bool>,
) {
    let api = Api::namespaced(client, &election.namespace);
    let mut candidate =
        Candidate { api, election, notices, leading, seen: None, renewed: None, told: false };
    loop {
        let pause = candidate.turn().await;
        tokio::select! {
            // An error means that nobody can say any more that it is time to end.
            _ = ending.wait_for(|ending| *ending) => break,
            () = sleep(pause) => {}
        }
    }
    candidate.release().await;
}

struct Candidate {
    api: Api<Lease>,
    election: Election,
    notices: Notices,
    leading: watch::Sender<Until>,
    /// The lease as others left it, and since when we see it so.
    seen: Option<(Mark, Instant)>,
    /// When our last successful renewal began; none if that is too long ago or the lease is not ours.
    renewed: Option<Instant>,
    /// Whether the operator knows that the lease cannot be used.
    told: bool,
}

/// What changes with every renewal.
type Mark = (Option<String>, Option<MicroTime>, Option<String>);

/// What is to be done with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is ours.
    Renew,
    /// Nobody holds it any more.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// What a look at a lease came to.
enum Looked {
    Ours,
    Theirs,
    /// Somebody else wrote it in between.
    Overtaken,
}

fn judge(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    match spec.holder_identity.as_deref() {
        Some(holder) if holder == identity => Step::Renew,
        None | Some("") => Step::Take,
        _ if unchanged >= duration.map_or(DURATION, Duration::from_secs) => Step::Take,
        _ => Step::Wait,
    }
}

impl Candidate {
    /// Looks at the lease, and takes or renews it if it may. Gives the pause until the next turn.
    async fn turn(&mut self) -> Duration {
        let began = Instant::now();
        let left = self
            .renewed
            .map_or(REQUEST, |renewed| (renewed + PATIENCE).saturating_duration_since(began));
        let answer = timeout(REQUEST.min(left), self.attempt()).await;
        let pause = if matches!(answer, Ok(Ok(_))) { TURN } else { AGAIN };
        match answer {
            Ok(Ok(held)) => {
                self.told = false;
                self.renewed = held.then_some(began);
            }
            Ok(Err(error)) => self.tell(of_client(&error).text),
            Err(_) => self.tell("the API server does not answer in time".to_owned()),
        }
        let until = match self.renewed.map(|renewed| renewed + PATIENCE) {
            Some(end) if end > Instant::now() => Until::At(end),
            _ => {
                self.renewed = None;
                Until::Never
            }
        };
        let before = self.leading.send_replace(until);
        let leads = until != Until::Never;
        if (before != Until::Never) != leads {
            (self.notices)(Notice::Leading(leads));
        }
        match until {
            Until::At(end) => pause.min(end.saturating_duration_since(Instant::now())),
            Until::Always | Until::Never => pause,
        }
    }

    fn tell(&mut self, error: String) {
        if !std::mem::replace(&mut self.told, true) {
            (self.notices)(Notice::Lease(error));
        }
    }

    /// Whether the lease is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        // If somebody else writes it meanwhile, it tells who holds it now.
        for _ in 0..2 {
            match self.look().await? {
                Looked::Ours => return Ok(true),
                Looked::Theirs => return Ok(false),
                Looked::Overtaken => {}
            }
        }
        Ok(false)
    }

    async fn look(&mut self) -> Result<Looked, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.election.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.election.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.claim(&LeaseSpec::default())),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        // After the answer: a renewal that it shows began before.
        let now = Instant::now();
        let spec = lease.spec.take().unwrap_or_default();
        let mark = (
            spec.holder_identity.clone(),
            spec.renew_time.clone(),
            lease.metadata.resource_version.clone(),
        );
        let since = match &self.seen {
            Some((seen, since)) if *seen == mark => *since,
            _ => {
                self.seen = Some((mark, now));
                now
            }
        };
        let step = judge(&spec, &self.election.identity, now.duration_since(since));
        if step == Step::Wait {
            return Ok(Looked::Theirs);
        }
        lease.spec = Some(self.claim(&spec));
        // The resource version of what was read goes along: of two replicas one wins.
        won(self.api.replace(&self.election.name, &PostParams::default(), &lease).await)
    }

    fn claim(&self, before: &LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.holder_identity.as_deref() == Some(&*self.election.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if ours { before.acquire_time.clone() } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(!ours))),
            ..before.clone()
        }
    }

    /// Lets another replica take over at once.
    async fn release(&mut self) {
        // From now on nothing is written, and what is under way is given up.
        if self.leading.send_replace(Until::Never) == Until::Never {
            return;
        }
        let released = async {
            let mut lease = self.api.get(&self.election.name).await?;
            let ours = |spec: &&mut LeaseSpec| {
                spec.holder_identity.as_deref() == Some(&*self.election.identity)
            };
            if let Some(spec) = lease.spec.as_mut().filter(ours) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.api.replace(&self.election.name, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(REQUEST, released).await {
            (self.notices)(Notice::Lease(of_client(&error).text));
        }
    }
}

/// A conflict means that another replica was faster.
fn won(answer: Result<Lease, kube::Error>) -> Result<Looked, kube::Error> {
    match answer {
        Ok(_) => Ok(Looked::Ours),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Looked::Overtaken),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::{Election, Step, judge};

    #[track_caller]
    fn check(holder: Option<&str>, duration: Option<i32>, unchanged: u64, expect: Step) {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: duration,
            ..LeaseSpec::default()
        };
        assert_eq!(judge(&spec, "me", Duration::from_secs(unchanged)), expect, "{spec:?}");
    }

    #[test]
    fn a_lease_is_taken_once_it_is_free_or_unchanged_for_its_duration() {
        check(None, None, 0, Step::Take);
        check(Some(""), Some(10), 0, Step::Take);
        check(Some("me"), Some(10), 0, Step::Renew);
        check(Some("me"), Some(10), 99, Step::Renew);
        check(Some("other"), Some(10), 9, Step::Wait);
        check(Some("other"), Some(10), 10, Step::Take);
        check(Some("other"), Some(30), 29, Step::Wait);
        check(Some("other"), None, 9, Step::Wait);
        check(Some("other"), Some(-1), 10, Step::Take);
    }

    #[test]
    fn the_name_is_one_that_a_lease_can_have() {
        let election = Election::of("Example.net/gateway_controller", "infra", "me");
        assert!(gateway_core::api::is_dns_subdomain(&election.name), "{}", election.name);
    }
}
