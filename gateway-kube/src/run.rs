//! The adapter as a whole: it begins, follows the cluster, and ends.
//!
//! In: a connection, [`Settings`] and a [`DataPlane`]. Out: the data plane serves what the cluster
//! says, and the cluster says what became of it. Not here: what is done about which news
//! (`controller`).

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::ObjectKey,
    build::Builder,
    scope::ControllerScope,
    snapshot::{Observed, Placement},
};
use kube::Client;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    balanced::{self, Balanced},
    connect::Connection,
    controller::Controller,
    crd,
    leadership::{Leadership, Until},
    lease::{self, Election},
    notice::Notices,
    pool::AddressPool,
};

/// How often sockets that could not be opened are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Messages that watches may be ahead.
const MESSAGES: usize = 1024;

/// What came of what a data plane was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// [`DataPlane::serve`] would tell something else than it did.
    Observed,
    /// [`DataPlane::awaited`] may have fewer than before.
    Served,
}

/// What serves requests.
pub trait DataPlane {
    /// Serves everything that `builder` has. `own` says where Gateways are that have sockets of
    /// their own. Tells what became of the sockets.
    fn serve(
        &mut self,
        builder: &Builder,
        own: &BTreeMap<ObjectKey, Placement>,
    ) -> impl Future<Output = Observed>;

    /// Serves the routes that `builder` has. Listeners are as before.
    fn route(&mut self, builder: &Builder);

    /// Sends requests to the endpoints that `builder` has. Routes are as before.
    fn locate(&mut self, builder: &Builder);

    /// Shows what `builder` has to whoever wants to know what is served. Comes a moment after
    /// changes, once for many.
    fn show(&mut self, builder: &Builder);

    /// The Gateways that are about to serve what was handed over last, but do not yet. What is told
    /// about them waits a moment.
    fn awaited(&self) -> BTreeSet<ObjectKey> {
        BTreeSet::new()
    }

    /// Ready when something came of what was handed over. Never before [`DataPlane::serve`] was
    /// called.
    fn changed(&mut self) -> impl Future<Output = Changed> {
        std::future::pending()
    }

    /// Learns whether this replica is the one that writes, to be asked right before each write. Not
    /// before what is served is what the API server said.
    fn lead(&mut self, leadership: &Leadership) {
        let _ = leadership;
    }
}

/// How the adapter runs.
#[derive(Clone)]
pub struct Settings {
    /// The name of the controller: classes that name it are ours, status entries carry it.
    pub controller_name: String,
    /// What objects are judged by.
    pub scope: ControllerScope,
    /// Addresses for Gateways.
    pub pool: AddressPool,
    /// Services for Gateways, which then are reached by these; the scope says so as well.
    pub balanced: Option<Balanced>,
    /// The lease that replicas share; none if there is but one replica.
    pub election: Option<Election>,
    /// A folder in which what is served is kept for a start without API server; none: nothing is
    /// kept. It holds private keys.
    pub cache: Option<PathBuf>,
    /// Who is told what happens.
    pub notices: Notices,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("controller_name", &self.controller_name)
            .field("scope", &self.scope)
            .field("pool", &self.pool)
            .field("balanced", &self.balanced)
            .field("election", &self.election)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Runs until `ending` is ready. Then running writes are finished and the lease is released; the
/// data plane goes on with what it has.
pub async fn run(
    connection: Connection,
    settings: Settings,
    plane: &mut impl DataPlane,
    ending: impl Future<Output = ()>,
) {
    let client = connection.client;
    let again = Arc::new(Notify::new());
    let (found_sender, mut found) = mpsc::channel(8);
    let (message_sender, mut messages) = mpsc::channel(MESSAGES);
    let tasks = [
        tokio::spawn(crd::explore(client.clone(), Arc::clone(&again), found_sender.clone())),
        tokio::spawn(crd::follow_bundle(client.clone(), Arc::clone(&again), found_sender)),
    ];
    let mut campaign = Campaign::start(&client, &settings);
    let leadership = campaign.leadership.clone();
    let mut controller =
        Controller::new(client, settings, plane, message_sender, again, leadership);
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = std::pin::pin!(ending);
    loop {
        let due = controller.due().unwrap_or_else(|| Instant::now() + RETRY);
        tokio::select! {
            () = &mut ending => break,
            Some(message) = messages.recv() => {
                controller.gather(message, &mut messages).await;
                controller.settle().await;
            }
            Some(found) = found.recv() => {
                controller.found(found);
                controller.settle().await;
            }
            leads = campaign.leadership.changed() => controller.lead(leads).await,
            changed = controller.plane.changed() => {
                if changed == Changed::Observed {
                    controller.serve().await;
                }
                controller.release();
            }
            () = balanced::changed(&mut controller.balancers) => {
                controller.serve().await;
                controller.release();
            }
            written = controller.writer.next() => controller.written(written),
            () = sleep_until(due) => {
                controller.settle().await;
                controller.release();
                controller.remember().await;
                controller.show();
            }
            _ = retry.tick() => controller.retry().await,
        }
        controller.write();
    }
    tasks.iter().for_each(JoinHandle::abort);
    controller.last_writes().await;
    controller.save();
    campaign.end().await;
}

/// Our part in the election.
struct Campaign {
    leadership: Leadership,
    ending: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Campaign {
    fn start(client: &Client, settings: &Settings) -> Self {
        let (ending, ended) = watch::channel(false);
        let Some(election) = settings.election.clone() else {
            return Self { leadership: Leadership::always(), ending, task: None };
        };
        let (leads, leadership) = watch::channel(Until::Never);
        let notices = Arc::clone(&settings.notices);
        let campaign = lease::campaign(client.clone(), election, notices, leads, ended);
        Self { leadership: leadership.into(), ending, task: Some(tokio::spawn(campaign)) }
    }

    async fn end(self) {
        self.ending.send_replace(true);
        if let Some(task) = self.task {
            // It has its own time limits.
            let _ = task.await;
        }
    }
}
