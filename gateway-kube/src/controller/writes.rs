//! What is written, and whether it is us who write.
//!
//! In: what was built and served. Out: jobs for the writer, and who leads for those who write beside
//! it. Not here: how it is written (`writer`), and when a status has to wait (`wait`).

use std::time::Duration;

use gateway_core::api::ObjectKey;
use tokio::time::timeout;

use super::Controller;
use crate::{
    leadership::Leadership,
    run::DataPlane,
    writer::{Job, Written},
};

/// How long writes that are under way at the end may take.
const LAST_WRITES: Duration = Duration::from_secs(2);

impl<P: DataPlane> Controller<'_, P> {
    /// Whether this replica is the one that writes. What the cache had may be older than what the
    /// cluster has, so that nothing is written or removed by it.
    pub(super) fn writes(&self) -> bool {
        self.leads && self.begun && self.leadership.holds()
    }

    pub(super) fn tell_leadership(&mut self) {
        let leadership = if self.writes() { &self.leadership } else { &Leadership::never() };
        self.plane.lead(leadership);
        if let Some(balancers) = &self.balancers {
            balancers.lead(leadership);
        }
    }

    /// Has every status compared with what is stored.
    pub(super) fn push_all(&mut self) {
        if self.begun {
            let keys = self.builder.status().iter().map(|(key, _)| key);
            let keys: Vec<ObjectKey> = keys.chain(self.store.all_unreadable()).cloned().collect();
            self.push(keys);
            self.push_finalizers();
        }
    }

    pub(super) fn push_finalizers(&mut self) {
        if self.writes() {
            let classes = self.builder.snapshot().gateway_classes().iter();
            let ours = classes
                .filter(|(_, class)| self.settings.scope.owns_class(&class.spec.controller_name));
            ours.for_each(|(key, _)| self.writer.push(Job::Finalizers(key.clone())));
        }
    }

    pub(crate) fn write(&mut self) {
        if let Some(served) = self.served.as_ref().filter(|_| self.writes()) {
            self.writer.start(&self.builder, &self.store, served);
        }
    }

    pub(crate) fn written(&mut self, written: Written) {
        self.writer.finish(written, &mut self.store);
    }

    /// Lets writes that are under way come to their end.
    pub(crate) async fn last_writes(&mut self) {
        let last = async {
            while self.writer.is_busy() {
                let written = self.writer.next().await;
                self.written(written);
            }
        };
        // What is not written by then, the next leader writes.
        let _ = timeout(LAST_WRITES, last).await;
    }
}
