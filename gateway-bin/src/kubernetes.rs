//! `gateway run --kubernetes`: a cluster in, requests served, status out.
//!
//! In: the arguments. Out: a running data plane that follows the cluster until the program is asked
//! to end. Not here: watching and writing (`gateway-kube`).

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use gateway_core::{
    api::ObjectKey,
    build::Builder,
    endpoints::endpoints,
    feature,
    scope::ControllerScope,
    snapshot::{Observed, Placement},
};
use gateway_kube::{
    Access, AddressPool, Connection, DataPlane, Election, Leadership, Notice, Settings, Signposts,
    balanced::Balanced, connect, dedicated::ServiceCheck,
};

use crate::{
    Update,
    admin::Admin,
    args::{KubernetesArgs, RunArgs, ServiceType},
    error::Error,
    listen::Addresses,
    program::{Signals, built, config, drain, judged_by, random, say, say_sockets, start},
    run::{Config, Gateway},
};

/// What a GatewayClass says that it supports.
static FEATURES: LazyLock<Vec<&'static str>> = LazyLock::new(feature::served_in_cluster);

/// Serves a cluster until the program is asked to end.
///
/// # Errors
/// If the cluster is not configured or the data plane cannot start.
pub(crate) async fn serve(args: &RunArgs) -> Result<(), Error> {
    let of_cluster = &args.kubernetes;
    let access =
        Access { kubeconfig: of_cluster.kubeconfig.clone(), context: of_cluster.context.clone() };
    let connection = connect(&access).await.map_err(Error::Kubernetes)?;
    let (gateway, admin) = start(args, &with_pool(args, config(args))).await?;
    let mut signals = Signals::new().map_err(Error::Runtime)?;
    let settings = settings(args, &connection);
    let notices = Arc::clone(&settings.notices);
    let signposts = has_signposts(&args.kubernetes)
        .then(|| Signposts::start(&connection, &settings.controller_name, notices));
    let mut plane = Plane { gateway, admin, signposts, observed: None };
    gateway_kube::run(connection, settings, &mut plane, signals.asked()).await;
    drain(plane.gateway).await;
    Ok(())
}

/// Gateways may name the addresses of the pool, and no others.
fn with_pool(args: &RunArgs, config: Config) -> Config {
    let pool = args.kubernetes.address_pool.iter();
    let usable = pool.map(|range| range.bounds()).map(|(first, last)| first..=last).collect();
    Config { addresses: Addresses { usable, ..config.addresses }, ..config }
}

pub(crate) fn settings(args: &RunArgs, connection: &Connection) -> Settings {
    let of_cluster = &args.kubernetes;
    let controller_name = of_cluster.controller_name.clone();
    let pool = AddressPool::new(of_cluster.address_pool.iter().copied());
    let namespace = of_cluster.namespace.as_deref().unwrap_or_else(|| connection.namespace());
    let balanced = balanced(of_cluster, namespace);
    let scope = ControllerScope::of_class(&controller_name)
        .shared_sockets(pool.is_empty())
        .fronted(balanced.is_some())
        .supported_features(&FEATURES);
    let scope = match balanced {
        Some(_) => scope.parameters_check(Arc::new(ServiceCheck)),
        None => scope,
    };
    let election = Election::of(&controller_name, namespace, identity());
    Settings {
        controller_name,
        scope: judged_by(args, scope),
        pool,
        balanced,
        election: (!of_cluster.no_leader_election).then_some(election),
        cache: of_cluster.cache.clone(),
        notices: Arc::new(|notice: Notice| say(&notice.to_string())),
    }
}

/// Whether pods can be sent to the addresses of Gateways by another name. Service addresses lead to
/// pods alone, never to each other, and nodes have other ports than Gateways.
fn has_signposts(of_cluster: &KubernetesArgs) -> bool {
    !matches!(of_cluster.service_type, Some(ServiceType::ClusterIp | ServiceType::NodePort))
}

/// How Gateways are reached if each has a Service of its own.
fn balanced(of_cluster: &KubernetesArgs, namespace: &str) -> Option<Balanced> {
    let service_type = of_cluster.service_type?.as_str();
    let selector = of_cluster.pod_labels.iter().cloned().collect();
    let ports = of_cluster.pod_ports;
    Some(Balanced { namespace: namespace.to_owned(), selector, service_type, ports })
}

/// The host, which is the pod's name in a cluster, and some chance: two replicas may share a host.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), random())
}

/// The data plane as the adapter sees it.
pub(crate) struct Plane {
    pub(crate) gateway: Gateway,
    pub(crate) admin: Arc<Admin>,
    /// Names in the cluster, which a pod of one Gateway leaves to its controller.
    pub(crate) signposts: Option<Signposts>,
    pub(crate) observed: Option<Observed>,
}

impl DataPlane for Plane {
    async fn serve(&mut self, builder: &Builder, own: &BTreeMap<ObjectKey, Placement>) -> Observed {
        self.gateway.assign(own);
        let update = Update { build: built(builder), endpoints: endpoints(builder.snapshot()) };
        let observed = self.gateway.apply(&update).await;
        say_sockets(&self.gateway, self.observed.as_ref(), &observed);
        if let Some(signposts) = &self.signposts {
            // Where clients reach Gateways; where sockets are is another matter.
            signposts.point(builder, &builder.snapshot().observed);
        }
        self.observed = Some(observed.clone());
        observed
    }

    fn route(&mut self, builder: &Builder) {
        self.gateway.route(builder.table().clone());
    }

    fn locate(&mut self, builder: &Builder) {
        self.gateway.locate(endpoints(builder.snapshot()));
    }

    fn show(&mut self, builder: &Builder) {
        self.admin.show(built(builder));
    }

    fn lead(&mut self, leadership: &Leadership) {
        if let Some(signposts) = &self.signposts {
            signposts.lead(leadership);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{config, with_pool};
    use crate::args::{Cli, Command};

    #[track_caller]
    fn check(pool: &str, address: &str, usable: bool) {
        let words = format!("gateway run --kubernetes {pool}");
        let cli = Cli::try_parse_from(words.split_whitespace()).expect("the words are right");
        let Command::Run(args) = cli.command else { panic!("it is run") };
        let addresses = with_pool(&args, config(&args)).addresses;
        let address = address.parse().expect("it is an address");
        assert_eq!(addresses.is_usable(address), usable, "{pool} {address}");
    }

    #[test]
    fn gateways_may_name_addresses_of_the_pool_and_no_others() {
        let pool = "--address-pool 192.0.2.0/28 --address-pool 2001:db8::5";
        check(pool, "192.0.2.14", true);
        check(pool, "2001:db8::5", true);
        check(pool, "192.0.2.16", false);
        check(pool, "127.0.0.1", false);
        check(pool, "2001:db8::6", false);
        // Without pool whatever the system has.
        check("", "127.0.0.1", true);
    }
}
