//! Events for what begins to fail.
//!
//! In: what a status said before and says now. Out: Events, a few at a time, for as long as we lead.
//! Not here: which changes are worth one (`complaint`).

use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use gateway_core::api::ObjectKey;
use kube::{
    Client,
    core::DynamicObject,
    runtime::events::{Recorder, Reporter},
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{LATE, REQUEST};
use crate::{
    complaint::{self, Complaint},
    leadership::{Halt, Leadership},
    watch::of_client,
};

/// Complaints that wait to become Events. What does not fit is dropped: statuses say the same.
const COMPLAINTS: usize = 1024;

/// Objects whose complaints are published at a time.
const PUBLISHED_AT_ONCE: usize = 4;

/// Where complaints go. They neither wait for writes of statuses nor hold them up.
#[derive(Clone)]
pub(super) struct Events {
    queue: mpsc::Sender<Filed>,
    controller: String,
    /// Why one could not be written, until it is told.
    pub(super) failed: Arc<OnceLock<String>>,
}

/// Complaints about an object.
struct Filed {
    key: ObjectKey,
    object: DynamicObject,
    complaints: Vec<Complaint>,
}

impl Events {
    /// Publishes until nobody has this any more.
    pub(super) fn start(client: Client, controller: &str, leadership: Leadership) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance: None };
        let recorder = Recorder::new(client, reporter);
        let (queue, filed) = mpsc::channel(COMPLAINTS);
        let failed = Arc::<OnceLock<String>>::default();
        let why = Arc::clone(&failed);
        let filed = stream::unfold(filed, |mut filed| async { Some((filed.recv().await?, filed)) });
        let published = filed.for_each_concurrent(PUBLISHED_AT_ONCE, move |filed| {
            let (recorder, leadership, why) =
                (recorder.clone(), leadership.clone(), Arc::clone(&why));
            async move {
                if let Err(error) = publish(&recorder, &leadership, filed).await {
                    // Only the first failure is told; others would say the same.
                    let _ = why.set(error);
                }
            }
        });
        tokio::spawn(published);
        Self { queue, controller: controller.to_owned(), failed }
    }

    pub(super) fn file(
        &self,
        key: ObjectKey,
        object: DynamicObject,
        before: &Value,
        after: &Value,
    ) {
        let complaints = complaint::complaints(&self.controller, before, after);
        if !complaints.is_empty() {
            let _ = self.queue.try_send(Filed { key, object, complaints });
        }
    }
}

async fn publish(recorder: &Recorder, leadership: &Leadership, filed: Filed) -> Result<(), String> {
    let Filed { key, object, complaints } = filed;
    let published = complaint::publish(recorder, &key, &object, complaints);
    match leadership.within(REQUEST, published).await {
        Ok(published) => published.map_err(|error| of_client(&error).text),
        Err(Halt::Late) => Err(LATE.to_owned()),
        Err(Halt::Lost) => Ok(()),
    }
}
