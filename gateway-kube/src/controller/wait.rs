//! Statuses wait for the data plane that is to serve what they tell.
//!
//! In: objects whose status may differ. Out: jobs for the writer, at once or as soon as the Gateways
//! that the status is about serve what was handed over; after a second in any case. Nothing else
//! waits: neither other statuses nor what is to be served next.

use std::{collections::BTreeSet, time::Duration};

use gateway_core::{
    api::{Kind, ObjectKey},
    resolve::topology::{ListenerId, Topology},
};
use tokio::time::Instant;

use super::Controller;
use crate::{run::DataPlane, writer::Job};

/// How long a status waits for a data plane.
const PATIENCE: Duration = Duration::from_secs(1);

impl<P: DataPlane> Controller<'_, P> {
    /// Has statuses compared and written, if this replica writes.
    pub(super) fn push(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut keys = keys.into_iter().peekable();
        if !self.writes() || keys.peek().is_none() {
            return;
        }
        let awaited = self.plane.awaited();
        let until = Instant::now() + PATIENCE;
        for key in keys {
            if concerns(&key, &awaited, self.builder.topology()) {
                // Also if it differs again meanwhile, so that every status comes at some time.
                self.waiting.entry(key).or_insert(until);
            } else {
                self.waiting.remove(&key);
                self.writer.push(Job::Status(key));
            }
        }
    }

    /// Lets those go that need not wait any more.
    pub(crate) fn release(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (awaited, now) = (self.plane.awaited(), Instant::now());
        let (topology, writer) = (self.builder.topology(), &mut self.writer);
        self.waiting.retain(|key, until| {
            let waits = now < *until && concerns(key, &awaited, topology);
            if !waits {
                writer.push(Job::Status(key.clone()));
            }
            waits
        });
    }
}

/// Whether the status of an object tells what one of the Gateways serves.
fn concerns(key: &ObjectKey, gateways: &BTreeSet<ObjectKey>, topology: &Topology) -> bool {
    if gateways.is_empty() {
        return false;
    }
    let listener = |id: ListenerId| topology.listeners.get(usize::try_from(id.0).ok()?);
    match key.kind {
        Kind::GatewayClass => false,
        Kind::Gateway => gateways.contains(key),
        Kind::ListenerSet => topology
            .listeners
            .iter()
            .any(|listener| listener.owner == *key && gateways.contains(&listener.gateway)),
        // A route that is attached nowhere is served nowhere.
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
            topology.routes.get(key).is_some_and(|route| {
                let mut attached = route.attachments.iter().filter_map(|at| listener(at.listener));
                attached.any(|listener| gateways.contains(&listener.gateway))
            })
        }
        // Policies are about backends, to which routes of any Gateway may lead.
        _ => true,
    }
}
