//! The Services of all Gateways while the program runs.
//!
//! In: builds. Out: the Services are kept, sockets have their ports, statuses have addresses. Not
//! here: any of the decisions (`plan`, `allot`).

use std::{collections::BTreeMap, sync::Arc};

use gateway_core::{
    api::{Gateway, ObjectKey},
    build::Builder,
    resolve::topology::BindAddress,
    snapshot::{BindState, Observed, Placement},
};
use kube::Client;

use super::{
    Balanced, KINDS,
    allot::{Allotment, held},
    plan::{exhausted, plan, service_name, stored},
};
use crate::{
    dedicated::{
        Port, Provision,
        keeper::Kept,
        keeping::Keeping,
        ours,
        plan::{Wanted, as_asked},
    },
    leadership::Leadership,
    notice::Notices,
};

/// Keeps a Service for each Gateway.
#[derive(Debug)]
pub(crate) struct Balancers {
    balanced: Balanced,
    controller_name: String,
    keeping: Keeping,
    /// What was allotted last. Watches may not have told of it yet.
    allotment: Allotment,
}

impl Balancers {
    /// Starts to keep Services. Nothing is written before this replica leads.
    pub(crate) fn start(
        client: Client,
        controller_name: &str,
        balanced: Balanced,
        notices: Notices,
    ) -> Self {
        let kept = Kept { kinds: KINDS, namespace: Some(balanced.namespace.clone()) };
        let keeping = Keeping::start(client, controller_name, kept, notices);
        let controller_name = controller_name.to_owned();
        Self { balanced, controller_name, keeping, allotment: Allotment::new() }
    }

    /// Has the Services as they are to be now, and says where the sockets of Gateways are: on the
    /// ports that Services have, not on those that they will have.
    pub(crate) fn assign<'k>(
        &mut self,
        builder: &Builder,
        unreadable: impl IntoIterator<Item = &'k ObjectKey>,
    ) -> BTreeMap<ObjectKey, Placement> {
        let (snapshot, name) = (builder.snapshot(), &*self.controller_name);
        let stored = stored(snapshot, &self.balanced, name);
        // What is stored counts more than what was allotted.
        let known = stored.iter().chain(&self.allotment);
        let known = held(known.map(|(service, ports)| (&**service, ports.clone())));
        let (plan, allotment) = plan(builder, &self.balanced, name, &known, unreadable);
        self.allotment = allotment;
        self.keeping.want(plan);
        let ours = ours(snapshot, builder.scope()).into_iter();
        let placement = |(key, gateway): (&ObjectKey, &Arc<Gateway>)| {
            let ports = stored.get(&*service_name(gateway)).into_iter().flatten();
            let ports = ports.map(|(port, number)| ((port.number, port.transport), *number));
            (key.clone(), Placement::Ports(ports.collect()))
        };
        ours.map(placement).collect()
    }

    /// Adds what is known of the Services; nothing is if the API server is `away`.
    pub(crate) async fn complete(
        &mut self,
        builder: &Builder,
        observed: &mut Observed,
        away: bool,
    ) {
        let provisions = self.keeping.known(away).await.unwrap_or_default();
        for (key, wanted) in &*self.keeping.wanted() {
            let unknown = Provision {
                unready: Some("the Service of the Gateway is not known yet".to_owned()),
                ..Provision::default()
            };
            let provision = provisions.get(key).unwrap_or(&unknown);
            tell(key, wanted, provision, observed);
        }
        for bind in &builder.topology().binds {
            let BindAddress::Own(gateway) = &bind.key.address else { continue };
            let port = Port { number: bind.key.port, transport: bind.key.transport };
            let wanted = self.keeping.wanted();
            let name = wanted.get(gateway).map_or("", |wanted| &*wanted.name);
            let is_left = self.allotment.get(name).is_some_and(|of| !of.contains_key(&port));
            if is_left {
                let why = BindState::Failed(exhausted(&self.balanced));
                observed.binds.insert(bind.key.clone(), why);
            }
        }
    }

    /// Learns whether this replica is the one that writes.
    pub(crate) fn lead(&self, leadership: &Leadership) {
        self.keeping.lead(leadership);
    }
}

/// Ready when [`Balancers::complete`] would tell something else than it did. Never before the API
/// server has said what there is.
pub(crate) async fn changed(balancers: &mut Option<Balancers>) {
    match balancers {
        Some(balancers) => balancers.keeping.changed().await,
        None => std::future::pending().await,
    }
}

fn tell(key: &ObjectKey, wanted: &Wanted, provision: &Provision, observed: &mut Observed) {
    let unready = wanted.fault.as_ref().or(provision.unready.as_ref());
    if let Some(reason) = unready {
        observed.unready.insert(key.clone(), reason.clone());
    }
    let addresses = as_asked(&wanted.gateway, &provision.addresses);
    observed.gateway_addresses.insert(key.clone(), addresses);
    for missing in &provision.missing {
        let address = match missing.parse() {
            Ok(ip) => BindAddress::Ip(ip),
            Err(_) => BindAddress::Hostname(missing.as_str().into()),
        };
        let why = "the Service of the Gateway does not have it".to_owned();
        observed.unusable.insert((key.clone(), address), why);
    }
}
