//! `gateway run --kubernetes --shape dedicated`: a cluster in, pods for each Gateway and status out.
//!
//! In: the arguments. Out: a controller whose Gateways run elsewhere, until the program is asked to
//! end. Not here: what they need and how they get it (`gateway-kube`).

mod arguments;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use gateway_core::{
    api::ObjectKey,
    build::{Builder, build},
    endpoints::endpoints,
    feature,
    scope::ControllerScope,
    snapshot::{Observed, Placement, Snapshot},
};
use gateway_kube::{
    Access, Changed, Connection, DataPlane, Leadership, Notice, Notices, Settings,
    config_stream::{
        Authority, AuthorityError, Publisher, Resolver, TokenReviews, keep_authority, renew,
        serve as serve_configurations,
    },
    connect,
    dedicated::{Blueprint, Check, Fleet},
    rbac::AUTHORITY_SECRET,
};
use http::uri;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use arguments::arguments;

use crate::{
    Update,
    admin::Admin,
    args::RunArgs,
    error::Error,
    kubernetes::settings,
    program::{Signals, built, config, describe, drain, start},
    run::{Config, Gateway},
};

/// What a GatewayClass says that it supports.
static FEATURES: LazyLock<Vec<&'static str>> = LazyLock::new(feature::served_in_cluster);

/// The Service through which pods reach the controller, unless they are told another way.
const SERVICE: &str = "gateway";

/// The pause before the API server is asked again for the authority.
const AGAIN: Duration = Duration::from_secs(2);

/// Runs the controller until the program is asked to end.
///
/// # Errors
/// If the cluster is not configured or configurations cannot be handed out.
pub(crate) async fn serve(args: &RunArgs) -> Result<(), Error> {
    let of_cluster = &args.kubernetes;
    let access =
        Access { kubeconfig: of_cluster.kubeconfig.clone(), context: of_cluster.context.clone() };
    let connection = connect(&access).await.map_err(Error::Kubernetes)?;
    // It serves no Gateway; it answers probes.
    let (gateway, admin) = start(args, &Config { workers: 1, ..config(args) }).await?;
    let mut signals = Signals::new().map_err(Error::Runtime)?;
    let settings = settings(args, &connection);
    let scope =
        settings.scope.clone().shared_sockets(false).fronted(false).supported_features(&FEATURES);
    let scope = scope.parameters_check(Arc::new(Check));
    let settings = Settings { scope, balanced: None, ..settings };
    let publisher = Publisher::default();
    let notices = Arc::clone(&settings.notices);
    let handing = tokio::select! {
        handing = hand_out(args, &connection, &publisher, &notices) => handing?,
        () = signals.asked() => return Ok(()),
    };
    let blueprint = blueprint(args, handing.address.as_str(), &handing.authority);
    let fleet = Fleet::start(&connection, blueprint, publisher, Arc::clone(&notices));
    let mut plane = Plane { fleet, gateway, admin };
    gateway_kube::run(connection, settings, &mut plane, signals.asked()).await;
    handing.tasks.iter().for_each(JoinHandle::abort);
    drain(plane.gateway).await;
    Ok(())
}

/// The running server of configurations.
struct Handing {
    address: uri::Authority,
    /// The certificate of the authority.
    authority: String,
    tasks: [JoinHandle<()>; 2],
}

async fn hand_out(
    args: &RunArgs,
    connection: &Connection,
    publisher: &Publisher,
    notices: &Notices,
) -> Result<Handing, Error> {
    let address = SocketAddr::new(args.bind, args.kubernetes.config_port);
    let namespace = args.kubernetes.namespace.as_deref();
    let namespace = namespace.unwrap_or_else(|| connection.namespace());
    let reached = match &args.kubernetes.config_address {
        Some(reached) => reached.clone(),
        None => {
            let text = format!("{SERVICE}.{namespace}.svc:{}", address.port());
            let unusable = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
            let failed = |error| Error::Configurations { address, source: unusable(error) };
            text.parse::<uri::Authority>().map_err(failed)?
        }
    };
    let authority = authority(connection, namespace, notices).await?;
    let host = reached.host().trim_matches(['[', ']']).to_owned();
    let resolver = Resolver::new(authority.issue(&host).map_err(Error::Authority)?);
    let text = authority.certificate().to_owned();
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Configurations { address, source })?;
    let (shown, told) = (resolver.clone(), Arc::clone(notices));
    let renewing = tokio::spawn(async move { renew(&authority, &host, &shown, &told).await });
    let tokens = TokenReviews::new(connection);
    let served =
        serve_configurations(listener, resolver, publisher.clone(), tokens, Arc::clone(notices));
    let told = Arc::clone(notices);
    let serving = tokio::spawn(async move {
        if let Err(error) = served.await {
            told(Notice::Unserved(error.to_string()));
        }
    });
    Ok(Handing { address: reached, authority: text, tasks: [renewing, serving] })
}

/// Asks until there is an answer: the API server may be on its way up.
async fn authority(
    connection: &Connection,
    namespace: &str,
    notices: &Notices,
) -> Result<Authority, Error> {
    let mut told = None;
    loop {
        match keep_authority(connection, namespace, AUTHORITY_SECRET).await {
            Err(error @ AuthorityError::Secret(..)) => {
                let text = describe(&error);
                if told.as_ref() != Some(&text) {
                    notices(Notice::Unserved(text.clone()));
                    told = Some(text);
                }
                sleep(AGAIN).await;
            }
            kept => return kept.map_err(Error::Authority),
        }
    }
}

fn blueprint(args: &RunArgs, address: &str, authority: &str) -> Blueprint {
    Blueprint {
        controller_name: args.kubernetes.controller_name.clone(),
        image: args.kubernetes.image.clone(),
        config_url: format!("https://{address}"),
        authority: authority.to_owned(),
        arguments: arguments(args),
    }
}

/// The fleet, and what answers probes.
struct Plane {
    fleet: Fleet,
    gateway: Gateway,
    admin: Arc<Admin>,
}

impl DataPlane for Plane {
    async fn serve(&mut self, builder: &Builder, own: &BTreeMap<ObjectKey, Placement>) -> Observed {
        let observed = self.fleet.serve(builder, own).await;
        // From now on we are ready.
        let nothing = Snapshot::default();
        let empty = build(&nothing, &ControllerScope::all());
        self.gateway.apply(&Update { build: empty, endpoints: endpoints(&nothing) }).await;
        observed
    }

    fn route(&mut self, builder: &Builder) {
        self.fleet.route(builder);
    }

    fn show(&mut self, builder: &Builder) {
        self.admin.show(built(builder));
    }

    fn locate(&mut self, builder: &Builder) {
        self.fleet.locate(builder);
    }

    fn awaited(&self) -> BTreeSet<ObjectKey> {
        self.fleet.awaited()
    }

    fn changed(&mut self) -> impl Future<Output = Changed> {
        self.fleet.changed()
    }

    fn lead(&mut self, leadership: &Leadership) {
        self.fleet.lead(leadership);
    }
}
