//! What is done about news: watched, built, served, written.
//!
//! In: messages of the watches, what the CRDs are, whether we lead. Out: calls of the [`DataPlane`],
//! jobs for the writer. Not here: waiting for news (`run`), and how any of that is done.
//!
//! Status is written after the data plane serves what it tells (`wait`).

mod keep;
mod wait;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::{Kind, ObjectKey},
    build::Builder,
    snapshot::{BindState, Bundle, Change, Observed, Placement},
};
use kube::Client;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout_at},
};

use wait::Waiting;

use crate::{
    address::{self, Claim, shown},
    balanced::Balancers,
    cache,
    crd::Found,
    discover::Served,
    leadership::Leadership,
    notice::Notice,
    reference::references,
    run::{DataPlane, Settings},
    store::{Store, Taken},
    watch::{Message, Target, Watches},
    writer::Writer,
};

/// Changes are taken together that follow each other this closely, ...
const QUIET: Duration = Duration::from_millis(3);

/// ... but none waits longer than this.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Changes wait this long for the Secrets and ConfigMaps that they name.
const HELD: Duration = Duration::from_secs(1);

/// How long the API server has to answer before what the cache has is served.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Controller<'p, P> {
    client: Client,
    settings: Settings,
    pub(crate) plane: &'p mut P,
    messages: mpsc::Sender<Message>,
    again: Arc<Notify>,
    watches: Watches,
    store: Store,
    served: Option<Served>,
    /// Which CRDs there are, as far as it can be known; none as long as nobody has looked.
    bundle: Option<Option<Bundle>>,
    builder: Builder,
    /// What was taken and is not built yet.
    taken: Taken,
    /// Until when changes wait for what they name.
    held_until: Option<Instant>,
    /// Whether what is served is what the API server said.
    begun: bool,
    /// As of the last time everything was served; none before the first time.
    observed: Option<Observed>,
    own: BTreeMap<ObjectKey, Placement>,
    /// The Services of Gateways, if they have any.
    pub(crate) balancers: Option<Balancers>,
    /// When what changed is shown.
    show_at: Option<Instant>,
    /// When what changed is kept on disk, or read from there as long as nothing is served.
    cache_at: Option<Instant>,
    saves: cache::Turns,
    pub(crate) writer: Writer,
    /// Statuses that wait for the data plane.
    waiting: Waiting,
    leadership: Leadership,
    /// As the loop knows it; `leadership` may know better.
    leads: bool,
}

impl<'p, P: DataPlane> Controller<'p, P> {
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        plane: &'p mut P,
        messages: mpsc::Sender<Message>,
        again: Arc<Notify>,
        leadership: Leadership,
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
            begun: false,
            observed: None,
            own: BTreeMap::new(),
            balancers: settings.balanced.clone().map(|balanced| {
                let notices = Arc::clone(notices);
                Balancers::start(client.clone(), &settings.controller_name, balanced, notices)
            }),
            show_at: None,
            saves: cache::Turns::default(),
            cache_at: settings.cache.as_ref().map(|_| Instant::now() + PATIENCE),
            writer: Writer::new(
                client.clone(),
                settings.controller_name.clone(),
                Arc::clone(notices),
                leadership.clone(),
            ),
            waiting: Waiting::default(),
            leadership,
            leads: false,
            client,
            settings,
            plane,
            messages,
            again,
        }
    }

    /// When something is to be done that nobody else calls for.
    pub(crate) fn due(&self) -> Option<Instant> {
        // Writes that wait while nobody may write are due when somebody may again.
        let write = self.writer.due().filter(|_| self.writes());
        [write, self.held_until, self.show_at, self.cache_at, self.waiting.due()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn show(&mut self) {
        if self.show_at.is_some_and(|show_at| show_at <= Instant::now()) {
            self.show_at = None;
            self.plane.show(&self.builder);
        }
    }

    // === In ===

    /// Takes a message and those that follow closely.
    pub(crate) async fn gather(&mut self, first: Message, messages: &mut mpsc::Receiver<Message>) {
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

    pub(crate) fn found(&mut self, found: Found) {
        let notices = &self.settings.notices;
        match found {
            Found::Served(served) => self.served = Some(served),
            Found::Missing(kinds) => notices(Notice::Missing(kinds)),
            Found::Undiscovered(error) => notices(Notice::Undiscovered(error)),
            Found::Bundle(bundle) => self.bundle = Some(bundle),
        }
    }

    pub(crate) async fn lead(&mut self, leads: bool) {
        self.leads = leads;
        self.writer.clear();
        self.waiting.clear();
        self.tell_leadership();
        if leads {
            self.push_all();
        } else {
            self.reassign().await;
        }
    }

    // === Build ===

    /// Builds and serves what was taken, unless something that it names is still to be read.
    pub(crate) async fn settle(&mut self) {
        let changes = &self.taken.changes;
        if self.begun && !changes.is_empty() && changes.iter().all(is_slice) {
            // They name nothing.
            return self.locate().await;
        }
        self.follow();
        if !self.begun {
            if self.can_begin() {
                self.held_until = None;
                self.begin().await;
            }
            return;
        }
        // What is named is read within a moment; built without, it would fail for that moment.
        let now = Instant::now();
        if self.store.began().is_some_and(|began| began + HELD > now) {
            // However many watches begin meanwhile.
            let until = *self.held_until.get_or_insert(now + HELD);
            if now < until {
                return self.locate().await;
            }
        }
        self.held_until = None;
        let taken = std::mem::take(&mut self.taken);
        self.build(taken).await;
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

    /// Serves for the first time what the API server says.
    async fn begin(&mut self) {
        self.begun = true;
        // Nothing of what the cache had remains.
        self.builder = Builder::new(self.settings.scope.clone());
        self.observed = None;
        self.changed();
        self.builder.apply(std::mem::take(&mut self.taken.changes));
        self.taken.stored.clear();
        self.follow();
        self.serve().await;
        self.plane.show(&self.builder);
        // Only now: objects that Gateways want are kept by the plan of what the API server said.
        self.tell_leadership();
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

    /// Builds endpoints alone, which wait for nothing.
    async fn locate(&mut self) {
        let changes = std::mem::take(&mut self.taken.changes);
        let (slices, rest) = changes.into_iter().partition(is_slice);
        self.taken.changes = rest;
        self.build(Taken { changes: slices, ..Taken::default() }).await;
    }

    async fn build(&mut self, taken: Taken) {
        let Taken { changes, stored, .. } = taken;
        let kinds: BTreeSet<Kind> = changes.iter().filter_map(kind).collect();
        let applied = self.builder.apply(changes);
        let bundle = self.observed.as_ref().map(|observed| &observed.bundle);
        let rebundled = bundle != self.bundle.as_ref();
        if applied.retabled || !applied.changed.is_empty() {
            self.changed();
        }
        if applied.rebuilt || rebundled {
            self.serve().await;
        } else {
            // Backends before the routes to them.
            if kinds.contains(&Kind::EndpointSlice) {
                self.plane.locate(&self.builder);
                self.changed();
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
    pub(crate) async fn serve(&mut self) {
        let claims = self.claims();
        self.own = match &mut self.balancers {
            Some(balancers) => {
                let unreadable = self.store.all_unreadable();
                let gateways = unreadable.filter(|key| key.kind == Kind::Gateway);
                balancers.assign(&self.builder, gateways)
            }
            None => placed(self.settings.pool.assign(&claims, !self.leads)),
        };
        let mut observed = self.plane.serve(&self.builder, &self.own).await;
        self.complete(&claims, &mut observed);
        if let Some(balancers) = &mut self.balancers {
            balancers.complete(&self.builder, &mut observed, !self.begun).await;
        }
        if self.observed.as_ref() != Some(&observed) {
            if !self.settings.pool.is_empty() {
                self.say_exhausted(&observed);
            }
            self.changed();
            self.observed = Some(observed.clone());
            let applied = self.builder.apply([Change::Observed(observed)]);
            if applied.rebuilt {
                self.plane.serve(&self.builder, &self.own).await;
            }
            self.push(applied.changed);
        }
    }

    /// Adds what the data plane does not know.
    fn complete(&self, claims: &[Claim], observed: &mut Observed) {
        observed.bundle = self.bundle.clone().flatten();
        if self.settings.pool.is_empty() {
            return;
        }
        for claim in claims.iter().filter(|claim| claim.wants) {
            let own = match self.own.get(&claim.gateway) {
                Some(Placement::Address(own)) => vec![address::written(*own)],
                _ => Vec::new(),
            };
            observed.gateway_addresses.insert(claim.gateway.clone(), own);
        }
    }

    fn say_exhausted(&self, observed: &Observed) {
        for key in address::newly_without(observed, self.observed.as_ref()) {
            (self.settings.notices)(Notice::PoolExhausted(key.clone()));
        }
    }

    /// Follows the addresses that another replica wrote.
    async fn reassign(&mut self) {
        if !self.begun || self.settings.pool.is_empty() {
            return;
        }
        let claims = self.claims();
        if placed(self.settings.pool.assign(&claims, true)) != self.own {
            self.serve().await;
        }
    }

    fn claims(&self) -> Vec<Claim> {
        address::claims(self.builder.snapshot(), self.builder.scope(), |key| {
            self.store.version(key).map(shown).unwrap_or_default()
        })
    }

    /// Tries sockets again that could not be opened.
    pub(crate) async fn retry(&mut self) {
        let failed = |state: &BindState| matches!(state, BindState::Failed(_));
        if self.observed.as_ref().is_some_and(|observed| observed.binds.values().any(failed)) {
            self.serve().await;
        }
    }
}

fn is_slice(change: &Change) -> bool {
    kind(change) == Some(Kind::EndpointSlice)
}

fn placed(addresses: &BTreeMap<ObjectKey, IpAddr>) -> BTreeMap<ObjectKey, Placement> {
    addresses.iter().map(|(key, address)| (key.clone(), Placement::Address(*address))).collect()
}

fn kind(change: &Change) -> Option<Kind> {
    match change {
        Change::Upsert(resource) => Some(resource.kind()),
        Change::Remove(key) => Some(key.kind),
        Change::Observed(_) => None,
    }
}
