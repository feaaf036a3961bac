//! Follows which kinds are installed, and of which version.
//!
//! In: the metadata of CustomResourceDefinitions, and the discovery documents. Out: [`Found`], again
//! whenever it differs. Not here: what is watched because of it.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use gateway_core::{api::Kind, snapshot::Bundle};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::ListParams,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};

use crate::{
    discover::{Served, discover},
    watch::{Pauses, events, failure, of_client},
};

/// The CRD whose annotations tell the version and the channel of all.
const CLASSES: &str = "gatewayclasses.gateway.networking.k8s.io";

/// The annotations.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

/// The groups whose CRDs matter.
const GROUPS: &[&str] = &[".gateway.networking.k8s.io", ".gateway.networking.x-k8s.io"];

/// How often one looks without being told.
const ROUND: Duration = Duration::from_secs(30);

/// How long the CRDs may fail to be listed before one begins without them.
const UNLISTED: Duration = Duration::from_secs(15);

/// When one looks after a CRD changed: the API server needs a moment to serve it.
const AFTER_CHANGE: &[Duration] = &[
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_secs(2),
];

/// What was found out.
#[derive(Debug)]
pub(crate) enum Found {
    /// The kinds that are served.
    Served(Served),
    /// Kinds that are still not served after a while.
    Missing(Vec<Kind>),
    /// Discovery failed, after it did not; it is repeated.
    Undiscovered(String),
    /// Which CRDs there are; none if we may not look.
    Bundle(Option<Bundle>),
}

/// Looks which kinds are served until nobody listens; at once when `again` says so.
pub(crate) async fn explore(client: Client, again: Arc<Notify>, found: mpsc::Sender<Found>) {
    let crds = Api::all(client.clone());
    let mut explorer = Explorer { found, crds, last: None, missing: Vec::new(), failed: false };
    let mut pauses = Pauses::new();
    let mut schedule = AFTER_CHANGE.iter();
    loop {
        let pause = match explorer.look(&client).await {
            Ok(served) => {
                pauses = Pauses::new();
                let pause = schedule.next();
                if explorer.tell(served, pause.is_none()).await.is_none() {
                    return;
                }
                pause.copied().unwrap_or(ROUND)
            }
            Err(error) => {
                let first = !std::mem::replace(&mut explorer.failed, true);
                let text = of_client(&error).text;
                if first && explorer.send(Found::Undiscovered(text)).await.is_none() {
                    return;
                }
                pauses.next().unwrap_or(ROUND)
            }
        };
        if timeout(pause, again.notified()).await.is_ok() {
            schedule = AFTER_CHANGE.iter();
        }
    }
}

/// Tells what differs from what was told before.
struct Explorer {
    found: mpsc::Sender<Found>,
    crds: Api<PartialObjectMeta<CustomResourceDefinition>>,
    last: Option<Served>,
    missing: Vec<Kind>,
    failed: bool,
}

impl Explorer {
    /// The kinds that are served. Those that were and are not any more are believed to be gone only
    /// if their CRDs are: an API server that has just started does not know its CRDs yet.
    async fn look(&self, client: &Client) -> Result<Served, kube::Error> {
        let mut served = discover(client).await?;
        for (kind, how) in self.last.iter().flat_map(Served::listed) {
            if served.get(kind).is_some() {
                continue;
            }
            // A list of one, since lists are what we have the right to.
            let name = format!("metadata.name={}.{}", how.plural, how.group);
            let crds = self.crds.list_metadata(&ListParams::default().fields(&name)).await;
            let is_there = match crds {
                Ok(crds) => !crds.items.is_empty(),
                // Who may not look keeps what there is.
                Err(kube::Error::Api(status)) if status.code == 403 => true,
                Err(error) => return Err(error),
            };
            if is_there {
                served.keep(kind, how);
            }
        }
        Ok(served)
    }

    /// None if nobody listens.
    async fn tell(&mut self, served: Served, calm: bool) -> Option<()> {
        self.failed = false;
        let missing = served.missing();
        if self.last.as_ref() != Some(&served) {
            self.last = Some(served.clone());
            self.send(Found::Served(served)).await?;
        }
        // Of CRDs that are just being installed nobody needs to hear.
        if calm && self.missing != missing {
            self.missing.clone_from(&missing);
            if !missing.is_empty() {
                self.send(Found::Missing(missing)).await?;
            }
        }
        Some(())
    }

    async fn send(&self, found: Found) -> Option<()> {
        self.found.send(found).await.ok()
    }
}

/// Follows the CRDs until nobody listens.
pub(crate) async fn follow_bundle(client: Client, again: Arc<Notify>, found: mpsc::Sender<Found>) {
    let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client);
    let mut events = std::pin::pin!(events(api, watcher::Config::default()));
    let mut bundle: Option<Bundle> = None;
    let mut told = None;
    let mut listed = false;
    let mut refusals = Refusals { since: None };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(crd) | Event::InitApply(crd)) if is_ours(&crd) => {
                if crd.metadata.name.as_deref() == Some(CLASSES) {
                    bundle = Some(stated(&crd));
                }
                again.notify_one();
            }
            Ok(Event::Delete(crd)) if is_ours(&crd) => again.notify_one(),
            Ok(Event::InitDone) => listed = true,
            Ok(_) => continue,
            Err(error) => listed = listed || refusals.are_final(failure(&error).code),
        }
        if listed && told.as_ref() != Some(&bundle) {
            told = Some(bundle.clone());
            if found.send(Found::Bundle(bundle.clone())).await.is_err() {
                return;
            }
        }
    }
    // A watcher never ends by itself; should it, they are what was seen last.
    sleep(ROUND).await;
}

/// Answers instead of the first list.
struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// Whether the CRDs stay unknown, after one more of them. An API server that just starts is
    /// waited for, also if others than itself answer that it does.
    fn are_final(&mut self, code: Option<u16>) -> bool {
        match code {
            Some(401 | 403) => true,
            Some(_) => self.since.get_or_insert_with(Instant::now).elapsed() >= UNLISTED,
            None => {
                self.since = None;
                false
            }
        }
    }
}

fn is_ours(crd: &PartialObjectMeta<CustomResourceDefinition>) -> bool {
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    GROUPS.iter().any(|group| name.ends_with(group))
}

fn stated(crd: &PartialObjectMeta<CustomResourceDefinition>) -> Bundle {
    let annotations = crd.metadata.annotations.as_ref();
    let value = |name| annotations.and_then(|all| all.get(name)).cloned().unwrap_or_default();
    Bundle { version: value(BUNDLE_VERSION), channel: value(CHANNEL) }
}
