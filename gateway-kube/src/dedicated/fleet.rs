//! The data planes of all Gateways together, as the controller sees them.
//!
//! In: builds. Out: each Gateway has its objects, its pods have its configuration, and the controller
//! hears what became of both. Not here: any of the work (`plan`, `keeper`, `config_stream`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::ObjectKey,
    build::Builder,
    snapshot::{Observed, Placement},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    KINDS,
    keeper::{self, Ends, Kept, Provisions},
    objects::Blueprint,
    offers::Offers,
    plan::{Plan, observed, plan},
};
use crate::{
    config_stream::{Publisher, Report},
    connect::Connection,
    leadership::Leadership,
    notice::Notices,
    run::{Changed, DataPlane},
};

/// How long the first status waits for the objects that there are already.
pub(super) const KNOWN: Duration = Duration::from_secs(10);

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
    /// What pods are to serve.
    offers: Offers,
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
        let keeper =
            tokio::spawn(keeper::keep(connection.client.clone(), name, Kept::beside(KINDS), ends));
        Self {
            told: publisher.told(),
            blueprint,
            publisher,
            plan,
            leads,
            door: None,
            provisions,
            failures: BTreeMap::new(),
            offers: Offers::default(),
            waited: false,
            keeper,
        }
    }

    fn publish(&mut self, builder: &Builder) {
        let plan = self.plan.borrow().clone().unwrap_or_default();
        self.offers.publish(builder, &plan);
        self.publisher.publish(self.offers.all());
    }
}

impl DataPlane for Fleet {
    async fn serve(
        &mut self,
        builder: &Builder,
        _own: &BTreeMap<ObjectKey, Placement>,
    ) -> Observed {
        let plan = Arc::new(plan(builder, &self.blueprint));
        self.plan.send_if_modified(|known| {
            let differs = known.as_ref() != Some(&plan);
            if differs {
                *known = Some(Arc::clone(&plan));
            }
            differs
        });
        self.publish(builder);
        // A controller that has just started knows nothing; that is no news about Gateways.
        if !std::mem::replace(&mut self.waited, true) {
            let _ = timeout(KNOWN, self.provisions.wait_for(Option::is_some)).await;
        }
        let provisions = self.provisions.borrow_and_update().clone().unwrap_or_default();
        self.failures = self.publisher.failures();
        observed(&plan, builder.topology(), &provisions, &self.failures)
    }

    fn route(&mut self, builder: &Builder) {
        self.publish(builder);
    }

    fn locate(&mut self, builder: &Builder) {
        self.offers.locate(builder);
        self.publisher.publish(self.offers.all());
    }

    fn show(&mut self, _builder: &Builder) {}

    fn awaited(&self) -> BTreeSet<ObjectKey> {
        self.publisher.awaited()
    }

    async fn changed(&mut self) -> Changed {
        tokio::select! {
            changed = self.provisions.changed() => match changed {
                Ok(()) => Changed::Observed,
                // The keeper is gone, and nothing can change any more.
                Err(_) => std::future::pending().await,
            },
            Ok(()) = self.told.changed() => match self.publisher.failures() == self.failures {
                true => Changed::Served,
                false => Changed::Observed,
            },
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
