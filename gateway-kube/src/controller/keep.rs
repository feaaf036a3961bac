//! What is served is kept: for operators to look at, and on disk for a start without API server.
//!
//! In: that something changed. Out: a picture of it a moment later, once for many changes. Not here:
//! the form of the file (`cache`).

use std::{sync::Arc, time::Duration};

use gateway_core::snapshot::{Change, Placement};
use tokio::time::Instant;

use super::Controller;
use crate::{cache, notice::Notice, run::DataPlane};

/// Changes are shown to operators this much later.
const SHOWN: Duration = Duration::from_secs(1);

/// What is served is kept on disk this long after it changed.
const SAVED: Duration = Duration::from_secs(10);

impl<P: DataPlane> Controller<'_, P> {
    /// Has what changed shown and kept in a moment.
    pub(super) fn changed(&mut self) {
        self.show_at.get_or_insert_with(|| Instant::now() + SHOWN);
        if self.begun && self.settings.cache.is_some() {
            self.cache_at.get_or_insert_with(|| Instant::now() + SAVED);
        }
    }

    /// Keeps what is served, or serves what was kept.
    pub(crate) async fn remember(&mut self) {
        if self.cache_at.is_none_or(|cache_at| cache_at > Instant::now()) {
            return;
        }
        self.cache_at = None;
        match self.begun {
            true => self.save(),
            false => self.recall().await,
        }
    }

    pub(crate) fn save(&mut self) {
        let Some(folder) = self.settings.cache.clone().filter(|_| self.begun) else { return };
        let notices = Arc::clone(&self.settings.notices);
        // Ports of Gateways are in their Services.
        let own = self.own.iter().filter_map(|(key, placement)| match placement {
            Placement::Address(address) => Some((key.clone(), *address)),
            Placement::Ports(_) => None,
        });
        let turn = self.saves.next();
        let (snapshot, own) = (self.builder.snapshot().clone(), own.collect());
        // The loop goes on while the disk is slow; the runtime waits for it at the end.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = turn.save(&folder, &snapshot, &own) {
                notices(Notice::Uncached(error.to_string()));
            }
        });
    }

    /// Serves what was kept, until the API server says what is right.
    async fn recall(&mut self) {
        let Some(folder) = &self.settings.cache else { return };
        let cached = match cache::load(folder) {
            Ok(Some(cached)) => cached,
            Ok(None) => return,
            Err(error) => return (self.settings.notices)(Notice::Uncached(error.to_string())),
        };
        self.settings.pool.recall(cached.own);
        self.builder.apply(cached.resources.into_iter().map(Change::Upsert));
        self.serve().await;
        self.plane.show(&self.builder);
        let gateways = self.builder.snapshot().gateways().len();
        let routes = self.builder.table().routes().count();
        (self.settings.notices)(Notice::Cached { gateways, routes });
    }
}
