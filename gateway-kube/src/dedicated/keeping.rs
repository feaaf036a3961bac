//! A keeper that runs, as those see it who have it keep something.
//!
//! In: plans, and whether this replica leads. Out: what is known of the objects. Not here: how they
//! are kept (`keeper`).

use std::sync::Arc;

use kube::Client;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    fleet::KNOWN,
    keeper::{Ends, Kept, Provisions, keep},
    plan::Plan,
};
use crate::{leadership::Leadership, notice::Notices};

/// A running keeper. It ends with this.
#[derive(Debug)]
pub(crate) struct Keeping {
    plan: watch::Sender<Option<Arc<Plan>>>,
    leads: watch::Sender<Leadership>,
    provisions: watch::Receiver<Provisions>,
    /// Whether somebody has waited for what is known.
    waited: bool,
    task: JoinHandle<()>,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeping {
    /// Starts to look at objects. Nothing is written before this replica leads.
    pub(crate) fn start(
        client: Client,
        controller_name: &str,
        kept: Kept,
        notices: Notices,
    ) -> Self {
        let (plan, planned) = watch::channel(None);
        let (leads, leading) = watch::channel(Leadership::never());
        let (provided, provisions) = watch::channel(None);
        let ends = Ends { plan: planned, leads: leading, provisions: provided, notices };
        let task = tokio::spawn(keep(client, controller_name.to_owned(), kept, ends));
        Self { plan, leads, provisions, waited: false, task }
    }

    /// Says what is to be there.
    pub(crate) fn want(&self, plan: Plan) {
        self.plan.send_if_modified(|known| {
            let differs = known.as_deref() != Some(&plan);
            if differs {
                *known = Some(Arc::new(plan));
            }
            differs
        });
    }

    /// What was said last.
    pub(crate) fn wanted(&self) -> Arc<Plan> {
        self.plan.borrow().clone().unwrap_or_default()
    }

    /// Says whether this replica is the one that writes.
    pub(crate) fn lead(&self, leadership: &Leadership) {
        self.leads.send_replace(leadership.clone());
    }

    /// What is known of the objects. The first time it waits for it, unless the API server is `away`:
    /// a program that has just started knows nothing, which is no news about Gateways.
    pub(crate) async fn known(&mut self, away: bool) -> Provisions {
        if !away && !std::mem::replace(&mut self.waited, true) {
            let _ = timeout(KNOWN, self.provisions.wait_for(Option::is_some)).await;
        }
        self.provisions.borrow_and_update().clone()
    }

    /// Ready when more is known than [`Self::known`] said. Never before it has waited.
    pub(crate) async fn changed(&mut self) {
        if !self.waited || self.provisions.changed().await.is_err() {
            // The keeper is gone, and nothing can change any more.
            std::future::pending().await
        }
    }
}
