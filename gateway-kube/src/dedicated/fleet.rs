//! The data planes of all Gateways together, as the controller sees them.
//!
//! In: builds. Out: each Gateway has its objects, its pods have its configuration, and the controller
//! hears what became of both. Not here: any of the work (`plan`, `keeper`, `config_stream`).

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use gateway_core::{
    api::ObjectKey,
    build::Builder,
    snapshot::{Observed, Snapshot},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    KINDS,
    keeper::{self, Ends, Provisions},
    objects::Blueprint,
    plan::{Plan, observed, plan},
};
use crate::{
    config_stream::{Account, Publisher, Report, needs},
    connect::Connection,
    leadership::Leadership,
    notice::Notices,
    run::DataPlane,
};

/// How long a status waits for the pods that are to serve what it tells.
const SERVED: Duration = Duration::from_secs(1);

/// How long the first status waits for the objects that there are already.
const KNOWN: Duration = Duration::from_secs(10);

/// Runs each Gateway on pods of its own.
#[derive(Debug)]
pub struct Fleet {
    blueprint: Blueprint,
    publisher: Publisher,
    plan: watch::Sender<Option<Arc<Plan>>>,
    leads: watch::Sender<Leadership>,
    /// Opens the publisher while this replica leads, whatever else is under way.
    door: Option<JoinHandle<()>>,
    provisions: watch::Receiver<Provisions>,
    told: watch::Receiver<u64>,
    /// As of the last answer.
    failures: BTreeMap<ObjectKey, Vec<Report>>,
    /// What pods have; a Gateway that is refused keeps it.
    published: BTreeMap<ObjectKey, (Account, Arc<Snapshot>)>,
    /// Whether the first status has waited for what is known.
    waited: bool,
    keeper: JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.keeper.abort();
        self.door.iter().for_each(JoinHandle::abort);
    }
}

impl Fleet {
    /// Starts to keep objects. Nothing is written before this replica leads.
    #[must_use]
    pub fn start(
        connection: &Connection,
        blueprint: Blueprint,
        publisher: Publisher,
        notices: Notices,
    ) -> Self {
        let (plan, planned) = watch::channel(None);
        let (leads, leading) = watch::channel(Leadership::never());
        let (provided, provisions) = watch::channel(None);
        let ends = Ends { plan: planned, leads: leading, provisions: provided, notices };
        let name = blueprint.controller_name.clone();
        let keeper = tokio::spawn(keeper::keep(connection.client.clone(), name, KINDS, ends));
        Self {
            told: publisher.told(),
            blueprint,
            publisher,
            plan,
            leads,
            door: None,
            provisions,
            failures: BTreeMap::new(),
            published: BTreeMap::new(),
            waited: false,
            keeper,
        }
    }

    fn publish(&mut self, builder: &Builder) {
        let plan = self.plan.borrow().clone().unwrap_or_default();
        self.published.retain(|key, _| plan.contains_key(key));
        for (key, snapshot) in needs(builder.snapshot(), builder.topology()) {
            if let Some(wanted) = plan.get(&key).filter(|wanted| wanted.fault.is_none()) {
                self.published.insert(key, (wanted.account(), Arc::new(snapshot)));
            }
        }
        let snapshots = self.published.iter();
        let snapshots = snapshots.map(|(key, (account, snapshot))| {
            (account.clone(), (key.clone(), Arc::clone(snapshot)))
        });
        self.publisher.publish(snapshots.collect());
    }

    async fn until_served(&self) {
        let leads = self.leads.borrow().holds();
        if leads && timeout(SERVED, self.publisher.acknowledged()).await.is_err() {
            // They are not waited for again before they have caught up.
            self.publisher.give_up();
        }
    }
}

impl DataPlane for Fleet {
    async fn serve(&mut self, builder: &Builder, _own: &BTreeMap<ObjectKey, IpAddr>) -> Observed {
        let plan = Arc::new(plan(builder, &self.blueprint));
        self.plan.send_if_modified(|known| {
            let differs = known.as_ref() != Some(&plan);
            if differs {
                *known = Some(Arc::clone(&plan));
            }
            differs
        });
        self.publish(builder);
        self.until_served().await;
        // A controller that has just started knows nothing; that is no news about Gateways.
        if !std::mem::replace(&mut self.waited, true) {
            let _ = timeout(KNOWN, self.provisions.wait_for(Option::is_some)).await;
        }
        let provisions = self.provisions.borrow_and_update().clone().unwrap_or_default();
        self.told.mark_unchanged();
        self.failures = self.publisher.failures();
        observed(&plan, builder.topology(), &provisions, &self.failures)
    }

    fn route(&mut self, builder: &Builder) {
        self.publish(builder);
    }

    fn locate(&mut self, builder: &Builder) {
        self.publish(builder);
    }

    fn show(&mut self, _builder: &Builder) {}

    async fn settled(&mut self) {
        self.until_served().await;
    }

    async fn changed(&mut self) {
        loop {
            tokio::select! {
                changed = self.provisions.changed() => match changed {
                    Ok(()) => return,
                    // The keeper is gone, and nothing can change any more.
                    Err(_) => std::future::pending().await,
                },
                Ok(()) = self.told.changed() => {
                    if self.publisher.failures() != self.failures {
                        return;
                    }
                }
            }
        }
    }

    fn lead(&mut self, leadership: &Leadership) {
        self.leads.send_replace(leadership.clone());
        self.door.take().iter().for_each(JoinHandle::abort);
        self.publisher.open(leadership.holds());
        let (publisher, mut leadership) = (self.publisher.clone(), leadership.clone());
        self.door = Some(tokio::spawn(async move {
            loop {
                publisher.open(leadership.changed().await);
            }
        }));
    }
}
