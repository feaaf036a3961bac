//! The loop: what is watched, built, served and written.
//!
//! In: a connection, [`Settings`] and a [`DataPlane`]. Out: the data plane serves what the cluster
//! says, and the cluster says what became of it. Not here: how anything of that is done.
//!
//! Status is written after the data plane serves what it tells, never before.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::{Kind, ObjectKey},
    build::Builder,
    scope::ControllerScope,
    snapshot::{BindState, Change, Observed},
};
use kube::Client;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};

use crate::{
    address::{self, shown},
    connect::Connection,
    crd::{self, Found},
    discover::Served,
    lease::{self, Election},
    notice::{Notice, Notices},
    pool::AddressPool,
    reference::references,
    store::{Store, Taken},
    watch::{Message, Target, Watches},
    writer::{Job, Writer},
};

/// Changes are taken together that follow each other this closely, ...
const QUIET: Duration = Duration::from_millis(3);

/// ... but none waits longer than this.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Changes wait this long for the Secrets and ConfigMaps that they name.
const HELD: Duration = Duration::from_secs(1);

/// How often sockets that could not be opened are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long writes that are under way at the end may take.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Messages that watches may be ahead.
const MESSAGES: usize = 1024;

/// What serves requests.
pub trait DataPlane {
    /// Serves everything that `builder` has. Gateways that name no address have those of `own`.
    /// Tells what became of the sockets.
    fn serve(
        &mut self,
        builder: &Builder,
        own: &BTreeMap<ObjectKey, IpAddr>,
    ) -> impl Future<Output = Observed>;

    /// Serves the routes that `builder` has. Listeners are as before.
    fn route(&mut self, builder: &Builder);

    /// Sends requests to the endpoints that `builder` has. Routes are as before.
    fn locate(&mut self, builder: &Builder);
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
    /// The lease that replicas share; none if there is but one replica.
    pub election: Option<Election>,
    /// Who is told what happens.
    pub notices: Notices,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("controller_name", &self.controller_name)
            .field("scope", &self.scope)
            .field("pool", &self.pool)
            .field("election", &self.election)
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
    let mut controller = Controller::new(client, settings, plane, message_sender, again);
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = std::pin::pin!(ending);
    loop {
        let due = controller.writer.due().unwrap_or_else(|| Instant::now() + RETRY);
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
            Ok(()) = campaign.leading.changed() => {
                let leads = *campaign.leading.borrow_and_update();
                controller.lead(leads).await;
            }
            written = controller.writer.next() => controller.written(written),
            () = sleep_until(controller.held_until.unwrap_or(due).min(due)) => controller.settle().await,
            _ = retry.tick() => controller.retry().await,
        }
        controller.write();
    }
    tasks.iter().for_each(JoinHandle::abort);
    controller.last_writes().await;
    campaign.end().await;
}

/// Our part in the election.
struct Campaign {
    leading: watch::Receiver<bool>,
    ending: watch::Sender<bool>,
    /// Kept without election, since nobody else would say that we lead.
    _alone: Option<watch::Sender<bool>>,
    task: Option<JoinHandle<()>>,
}

impl Campaign {
    fn start(client: &Client, settings: &Settings) -> Self {
        let (leads, mut leading) = watch::channel(settings.election.is_none());
        leading.mark_changed();
        let (ending, ended) = watch::channel(false);
        let Some(election) = settings.election.clone() else {
            return Self { leading, ending, _alone: Some(leads), task: None };
        };
        let notices = Arc::clone(&settings.notices);
        let campaign = lease::campaign(client.clone(), election, notices, leads, ended);
        Self { leading, ending, _alone: None, task: Some(tokio::spawn(campaign)) }
    }

    async fn end(self) {
        self.ending.send_replace(true);
        if let Some(task) = self.task {
            // It has its own time limits.
            let _ = task.await;
        }
    }
}

struct Controller<'p, P> {
    client: Client,
    settings: Settings,
    plane: &'p mut P,
    messages: mpsc::Sender<Message>,
    again: Arc<Notify>,
    watches: Watches,
    store: Store,
    served: Option<Served>,
    /// Whether the version of the CRDs is known, as far as it can be.
    bundle: Option<Option<String>>,
    builder: Builder,
    /// What was taken and is not built yet.
    taken: Taken,
    /// Until when changes wait for what they name.
    held_until: Option<Instant>,
    /// As of the last time everything was served; none before the first time.
    observed: Option<Observed>,
    own: BTreeMap<ObjectKey, IpAddr>,
    writer: Writer,
    leads: bool,
}

impl<'p, P: DataPlane> Controller<'p, P> {
    fn new(
        client: Client,
        settings: Settings,
        plane: &'p mut P,
        messages: mpsc::Sender<Message>,
        again: Arc<Notify>,
    ) -> Self {
        let notices = &settings.notices;
        Self {
            watches: Watches::new(),
            store: Store::new(Arc::clone(notices)),
            served: None,
            bundle: None,
            builder: Builder::new(settings.scope.clone()),
            taken: Taken::default(),
            held_until: None,
            observed: None,
            own: BTreeMap::new(),
            writer: Writer::new(
                client.clone(),
                settings.controller_name.clone(),
                Arc::clone(notices),
            ),
            leads: false,
            client,
            settings,
            plane,
            messages,
            again,
        }
    }

    // === In ===

    /// Takes a message and those that follow closely.
    async fn gather(&mut self, first: Message, messages: &mut mpsc::Receiver<Message>) {
        let last = Instant::now() + DEBOUNCE;
        let mut next = Some(first);
        while let Some(message) = next {
            self.store.take(message, &mut self.taken);
            let quiet = Instant::now() + QUIET;
            next = timeout_at(quiet.min(last), messages.recv()).await.ok().flatten();
        }
        if std::mem::take(&mut self.taken.unserved) {
            self.again.notify_one();
        }
    }

    fn found(&mut self, found: Found) {
        let notices = &self.settings.notices;
        match found {
            Found::Served(served) => self.served = Some(served),
            Found::Missing(kinds) => notices(Notice::Missing(kinds)),
            Found::Undiscovered(error) => notices(Notice::Undiscovered(error)),
            Found::Bundle(version) => self.bundle = Some(version),
        }
    }

    async fn lead(&mut self, leads: bool) {
        self.leads = leads;
        self.writer.clear();
        if leads {
            self.push_all();
        } else {
            self.reassign().await;
        }
    }

    // === Build ===

    /// Builds and serves what was taken, unless something that it names is still to be read.
    async fn settle(&mut self) {
        self.follow();
        if self.observed.is_none() {
            if self.can_begin() {
                self.held_until = None;
                self.begin().await;
            }
            return;
        }
        if !self.store.is_complete() {
            // What is named is read within a moment; built without, it would fail for that moment.
            let until = *self.held_until.get_or_insert_with(|| Instant::now() + HELD);
            if Instant::now() < until {
                return;
            }
        }
        self.held_until = None;
        self.build().await;
    }

    /// Watches what is served and what is named.
    fn follow(&mut self) {
        let Some(served) = &self.served else { return };
        let mut wanted: BTreeMap<_, _> =
            served.listed().map(|(kind, how)| (Target::All(kind), how.clone())).collect();
        let scope = self.builder.scope();
        for key in references(self.builder.snapshot(), &self.taken.changes, scope) {
            if let Some(how) = served.get(key.kind) {
                wanted.insert(Target::One(key), how.clone());
            }
        }
        let followed = self.watches.follow(&wanted, &self.client, &self.messages);
        self.store.follow(followed, &mut self.taken);
    }

    fn can_begin(&self) -> bool {
        let served = self.served.as_ref();
        self.store.is_complete()
            && self.bundle.is_some()
            && served.is_some_and(Served::has_gateways)
    }

    /// Serves for the first time.
    async fn begin(&mut self) {
        self.builder.apply(std::mem::take(&mut self.taken.changes));
        self.taken.stored.clear();
        self.follow();
        self.serve().await;
        self.push_all();
        let gateways = self.store.count(&[Kind::Gateway]);
        let routes = self.store.count(&[
            Kind::HttpRoute,
            Kind::GrpcRoute,
            Kind::TlsRoute,
            Kind::TcpRoute,
            Kind::UdpRoute,
        ]);
        (self.settings.notices)(Notice::Serving { gateways, routes });
    }

    async fn build(&mut self) {
        let Taken { changes, stored, .. } = std::mem::take(&mut self.taken);
        let kinds: BTreeSet<Kind> = changes.iter().filter_map(kind).collect();
        let applied = self.builder.apply(changes);
        let bundle = self.observed.as_ref().map(|observed| &observed.bundle_version);
        let rebundled = bundle != self.bundle.as_ref();
        if applied.rebuilt || rebundled {
            self.serve().await;
        } else {
            // Backends before the routes to them.
            if kinds.contains(&Kind::EndpointSlice) {
                self.plane.locate(&self.builder);
            }
            if applied.retabled {
                self.plane.route(&self.builder);
            }
        }
        if !self.leads && stored.iter().any(|key| key.kind == Kind::Gateway) {
            self.reassign().await;
        }
        if kinds.contains(&Kind::Gateway) || kinds.contains(&Kind::GatewayClass) {
            self.push_finalizers();
            // What is named no more is watched no more.
            self.follow();
        }
        self.push(applied.changed.into_iter().chain(stored));
    }

    /// Serves everything, and builds anew with what came of it.
    async fn serve(&mut self) {
        let claims = address::claims(self.builder.snapshot(), self.builder.scope(), |key| {
            self.store.version(key).map(shown).unwrap_or_default()
        });
        self.own = self.settings.pool.assign(&claims, !self.leads).clone();
        let mut observed = self.plane.serve(&self.builder, &self.own).await;
        self.complete(&claims, &mut observed);
        if self.observed.as_ref() != Some(&observed) {
            self.say_exhausted(&observed);
            self.observed = Some(observed.clone());
            let applied = self.builder.apply([Change::Observed(observed)]);
            if applied.rebuilt {
                self.plane.serve(&self.builder, &self.own).await;
            }
            self.push(applied.changed);
        }
    }

    /// Adds what the data plane does not know.
    fn complete(&self, claims: &[address::Claim], observed: &mut Observed) {
        observed.bundle_version = self.bundle.clone().flatten();
        if self.settings.pool.is_empty() {
            return;
        }
        for claim in claims.iter().filter(|claim| claim.wants) {
            let own = self.own.get(&claim.gateway).map(|own| address::written(*own));
            observed.gateway_addresses.insert(claim.gateway.clone(), own.into_iter().collect());
        }
    }

    fn say_exhausted(&self, observed: &Observed) {
        let before = self.observed.as_ref().map(|observed| &observed.gateway_addresses);
        for (key, addresses) in &observed.gateway_addresses {
            let known = before.and_then(|before| before.get(key));
            if addresses.is_empty() && known != Some(addresses) {
                (self.settings.notices)(Notice::PoolExhausted(key.clone()));
            }
        }
    }

    /// Follows the addresses that another replica wrote.
    async fn reassign(&mut self) {
        if self.observed.is_none() || self.settings.pool.is_empty() {
            return;
        }
        let claims = address::claims(self.builder.snapshot(), self.builder.scope(), |key| {
            self.store.version(key).map(shown).unwrap_or_default()
        });
        if *self.settings.pool.assign(&claims, true) != self.own {
            self.serve().await;
        }
    }

    /// Tries sockets again that could not be opened.
    async fn retry(&mut self) {
        let failed = |state: &BindState| matches!(state, BindState::Failed(_));
        if self.observed.as_ref().is_some_and(|observed| observed.binds.values().any(failed)) {
            self.serve().await;
        }
    }

    // === Out ===

    fn push(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        if self.leads {
            keys.into_iter().for_each(|key| self.writer.push(Job::Status(key)));
        }
    }

    /// Has every status compared with what is stored.
    fn push_all(&mut self) {
        if self.observed.is_some() {
            let keys: Vec<ObjectKey> =
                self.builder.status().iter().map(|(key, _)| key.clone()).collect();
            self.push(keys);
            self.push_finalizers();
        }
    }

    fn push_finalizers(&mut self) {
        if self.leads {
            let classes = self.builder.snapshot().gateway_classes().iter();
            let ours = classes
                .filter(|(_, class)| self.settings.scope.owns_class(&class.spec.controller_name));
            ours.for_each(|(key, _)| self.writer.push(Job::Finalizers(key.clone())));
        }
    }

    fn write(&mut self) {
        if let Some(served) = self.served.as_ref().filter(|_| self.leads) {
            self.writer.start(&self.builder, &self.store, served);
        }
    }

    fn written(&mut self, written: crate::writer::Written) {
        self.writer.finish(written, &mut self.store);
    }

    /// Lets writes that are under way come to their end.
    async fn last_writes(&mut self) {
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

fn kind(change: &Change) -> Option<Kind> {
    match change {
        Change::Upsert(resource) => Some(resource.kind()),
        Change::Remove(key) => Some(key.kind),
        Change::Observed(_) => None,
    }
}
