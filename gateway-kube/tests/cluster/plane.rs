//! A data plane that serves nothing and remembers what it should have served.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use gateway_core::{
    api::ObjectKey,
    build::Builder,
    endpoints::endpoints,
    snapshot::{BindAddress, BindKey, BindState, Observed, Placement},
};
use gateway_kube::{Changed, DataPlane, Leadership};
use tokio::sync::watch;

/// What the data plane was told last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    /// How often everything was served.
    pub(crate) serves: usize,
    /// How often only routes were.
    pub(crate) routes: usize,
    /// How often only endpoints were.
    pub(crate) locates: usize,
    /// Routes by namespace and name.
    pub(crate) names: BTreeSet<String>,
    /// Endpoints of all backends.
    pub(crate) endpoints: BTreeSet<String>,
    /// Secrets that are known.
    pub(crate) secrets: BTreeSet<String>,
    /// ConfigMaps that are known.
    pub(crate) maps: BTreeSet<String>,
    /// Addresses of Gateways that name none.
    pub(crate) own: BTreeMap<ObjectKey, Placement>,
    /// Whether this replica writes.
    pub(crate) leadership: Option<Leadership>,
}

impl Served {
    pub(crate) fn leads(&self) -> bool {
        self.leadership.as_ref().is_some_and(Leadership::holds)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Plane {
    pub(crate) served: Arc<Mutex<Served>>,
    /// Addresses at which no socket can be opened.
    pub(crate) unusable: BTreeSet<IpAddr>,
    /// Gateways that are about to serve what they were handed.
    pub(crate) awaited: Arc<watch::Sender<BTreeSet<ObjectKey>>>,
    /// What of that was heard.
    pub(crate) heard: Option<watch::Receiver<BTreeSet<ObjectKey>>>,
}

impl Plane {
    pub(crate) fn served(&self) -> Served {
        self.served.lock().expect("no test panics while it holds it").clone()
    }

    fn note(&self, builder: &Builder, count: impl Fn(&mut Served)) {
        let mut served = self.served.lock().expect("no test panics while it holds it");
        count(&mut served);
        served.names = builder.table().routes().map(|route| route.key.name.to_string()).collect();
        let endpoints = endpoints(builder.snapshot());
        let addresses = endpoints.iter().flat_map(|(_, addresses)| addresses);
        served.endpoints = addresses.map(ToString::to_string).collect();
        let secrets = builder.snapshot().secrets().keys();
        served.secrets = secrets.map(|key| key.name.to_string()).collect();
        let maps = builder.snapshot().config_maps().keys();
        served.maps = maps.map(|key| key.name.to_string()).collect();
    }

    fn state(&self, key: &BindKey, own: &BTreeMap<ObjectKey, Placement>) -> BindState {
        let failed = match &key.address {
            BindAddress::Own(gateway) => !own.contains_key(gateway),
            BindAddress::Ip(ip) => self.unusable.contains(ip),
            _ => false,
        };
        if failed { BindState::Failed("no such address".to_owned()) } else { BindState::Bound }
    }
}

impl DataPlane for Plane {
    async fn serve(&mut self, builder: &Builder, own: &BTreeMap<ObjectKey, Placement>) -> Observed {
        self.note(builder, |served| {
            served.serves += 1;
            served.own = own.clone();
        });
        let binds = builder.topology().binds.iter();
        Observed {
            binds: binds.map(|bind| (bind.key.clone(), self.state(&bind.key, own))).collect(),
            ..Observed::default()
        }
    }

    fn route(&mut self, builder: &Builder) {
        self.note(builder, |served| served.routes += 1);
    }

    fn locate(&mut self, builder: &Builder) {
        self.note(builder, |served| served.locates += 1);
    }

    fn show(&mut self, builder: &Builder) {
        self.note(builder, |_| {});
    }

    fn awaited(&self) -> BTreeSet<ObjectKey> {
        self.awaited.borrow().clone()
    }

    async fn changed(&mut self) -> Changed {
        let awaited = self.heard.get_or_insert_with(|| self.awaited.subscribe());
        awaited.changed().await.expect("the sender is ours");
        Changed::Served
    }

    fn lead(&mut self, leadership: &Leadership) {
        let mut served = self.served.lock().expect("no test panics while it holds it");
        served.leadership = Some(leadership.clone());
    }
}
