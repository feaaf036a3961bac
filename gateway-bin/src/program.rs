//! `gateway run`: files or a cluster in, requests served, until the program is asked to end.
//!
//! In: the arguments. Out: an exit code. The one place that knows the source, the core, the data
//! plane and the admin endpoints. Not here: what any of them does.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    build::{Build, Builder},
    diagnostic::Diagnostic,
    endpoints::endpoints,
    scope::ControllerScope,
    snapshot::{BindState, Change, Observed},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Update,
    admin::{self, Admin},
    args::{self, RunArgs},
    certificates::Certificates,
    error::Error,
    guard::Limits,
    listen::Addresses,
    render,
    run::{Config, Gateway},
    source::{
        FileSource, Revision,
        watch::{Pace, follow},
    },
    stream::{StreamOptions, proxy_protocol::TrustedSources},
    telemetry::AccessLog,
};

/// How often sockets that could not be opened are tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

/// How often at most a revision is served anew because of what came of it.
const ROUNDS: usize = 3;

/// The sessions of all UDP listeners may take so small a part of the files that connections may.
const UDP_SHARE: usize = 2;

/// Runs the gateway. Code 1 if it cannot start.
#[must_use]
pub fn run(args: &RunArgs) -> ExitCode {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(Error::Runtime).and_then(|runtime| {
        #[cfg(feature = "kubernetes")]
        if args.kubernetes.kubernetes {
            return match args.kubernetes.shape {
                args::Shape::Shared => runtime.block_on(crate::kubernetes::serve(args)),
                args::Shape::Dedicated => runtime.block_on(crate::dedicated::serve(args)),
            };
        }
        #[cfg(feature = "kubernetes")]
        if let Some(from) = &args.follow.config_from {
            return runtime.block_on(crate::follow::serve(args, from));
        }
        runtime.block_on(serve(args))
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// The settings that the arguments ask for.
#[must_use]
pub fn config(args: &RunArgs) -> Config {
    let defaults = Config::default();
    let connections = within_file_limit(args.max_connections.get());
    let sessions_in_all =
        within_file_limit(defaults.streams.sessions_in_all * UDP_SHARE) / UDP_SHARE;
    Config {
        addresses: Addresses {
            default: args.bind,
            port_offset: args.port_offset,
            ports: args.ports.iter().map(|mapping| (mapping.from, mapping.to)).collect(),
            ..Addresses::default()
        },
        workers: args.workers.map_or(defaults.workers, usize::from),
        limits: Limits {
            trusted_hops: usize::from(args.trusted_hops),
            client_certificates: args.forward_client_cert,
            connections,
            connections_per_bind: defaults.limits.connections_per_bind.max(connections / 5),
            requests: args.max_requests.get(),
            tunnel_idle: args.stream_idle_timeout,
            ..defaults.limits
        },
        access_log: match &args.access_log {
            args::AccessLog::Off => AccessLog::Off,
            args::AccessLog::Stdout => AccessLog::Stdout,
            args::AccessLog::File(path) => AccessLog::File(path.clone()),
        },
        streams: StreamOptions {
            idle: args.stream_idle_timeout,
            sessions: defaults.streams.sessions.min(sessions_in_all / 2),
            sessions_in_all,
            ..defaults.streams
        },
        proxies: args
            .proxies
            .iter()
            .copied()
            .collect::<TrustedSources>()
            .at_ports(args.proxy_ports.clone()),
        admin: Some(args.admin),
        drain: args.drain_timeout,
        ..defaults
    }
}

async fn serve(args: &RunArgs) -> Result<(), Error> {
    let source = FileSource::open(&args.paths);
    let first = source.revision();
    let scope = judged_by(args, ControllerScope::all());
    let (gateway, admin) = start(args, &config(args)).await?;
    // Before the first request can be taken, so that none is cut off by an early end.
    let mut signals = Signals::new().map_err(Error::Runtime)?;
    let mut program = Program { gateway, admin, builder: Builder::new(scope), observed: None };
    program.take(first).await;
    let mut revisions = follow(source, Pace::default()).map_err(Error::Runtime)?;
    program.until_asked_to_end(&mut revisions, &mut signals).await;
    drain(program.gateway).await;
    Ok(())
}

/// What resources are judged by.
pub(crate) fn judged_by(args: &RunArgs, scope: ControllerScope) -> ControllerScope {
    scope
        .external_names(args.allow_external_name)
        .certificate_check(Arc::new(Certificates::default()))
        .hash_seed(random())
}

/// Starts the data plane and the admin endpoints.
pub(crate) async fn start(args: &RunArgs, config: &Config) -> Result<(Gateway, Arc<Admin>), Error> {
    let gateway = Gateway::start(config)?;
    let admin = Admin::new(gateway.inspector());
    let listener = admin::bind(args.admin).await;
    let listener = listener.map_err(|source| Error::Admin { address: args.admin, source })?;
    tokio::spawn(Arc::clone(&admin).serve(listener));
    if let Some(port) = args.probes {
        let address = SocketAddr::new(args.bind, port);
        let listener = admin::bind(address).await;
        let listener = listener.map_err(|source| Error::Probes { address, source })?;
        tokio::spawn(Arc::clone(&admin).serve_probes(listener));
    }
    Ok((gateway, admin))
}

/// Ends the data plane.
pub(crate) async fn drain(gateway: Gateway) {
    say("ending: no new connections, running requests may finish");
    let broken = gateway.drain().await;
    if broken > 0 {
        say(&format!("the drain time is over, {broken} connections were broken off"));
    }
}

/// What asks the program to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ready when the program is asked to end.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The running parts.
struct Program {
    gateway: Gateway,
    admin: Arc<Admin>,
    builder: Builder,
    observed: Option<Observed>,
}

impl Program {
    /// Serves every revision until a signal comes.
    async fn until_asked_to_end(
        &mut self,
        revisions: &mut UnboundedReceiver<Revision>,
        signals: &mut Signals,
    ) {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                revision = revisions.recv() => match revision {
                    Some(revision) => self.take(revision).await,
                    None => return,
                },
                _ = retry.tick() => {
                    if self.observed.as_ref().is_some_and(has_failed) {
                        self.publish().await;
                    }
                }
                () = signals.asked() => return,
            }
        }
    }

    async fn take(&mut self, revision: Revision) {
        self.builder.apply(revision.changes);
        self.publish().await;
        let found = self.builder.diagnostics().cloned();
        report(&revision.diagnostics.into_iter().chain(found).collect::<Vec<_>>());
    }

    /// Serves what the builder has, and tells the builder what came of it, until that changes
    /// nothing any more. Whatever comes of it, what the builder has last is served.
    async fn publish(&mut self) {
        for round in 0..=ROUNDS {
            let endpoints = endpoints(self.builder.snapshot());
            let observed =
                self.gateway.apply(&Update { build: built(&self.builder), endpoints }).await;
            // The last one only serves; what came of it is told with the next revision.
            if round == ROUNDS || self.observed.as_ref() == Some(&observed) {
                break;
            }
            say_sockets(&self.gateway, self.observed.as_ref(), &observed);
            self.observed = Some(observed.clone());
            if !self.builder.apply([Change::Observed(observed)]).rebuilt {
                break;
            }
        }
        self.admin.show(built(&self.builder));
    }
}

/// Everything that a builder has.
pub(crate) fn built(builder: &Builder) -> Build {
    Build {
        table: builder.table().clone(),
        topology: builder.topology().clone(),
        status: builder.status().clone(),
        diagnostics: builder.diagnostics().cloned().collect(),
    }
}

/// Tells what became of sockets since `before`.
pub(crate) fn say_sockets(gateway: &Gateway, before: Option<&Observed>, observed: &Observed) {
    let known = |key| before.and_then(|before| before.binds.get(key));
    let addresses = gateway.addresses();
    for (key, state) in observed.binds.iter().filter(|(key, state)| known(key) != Some(state)) {
        match state {
            BindState::Bound => {
                for address in addresses.get(key).into_iter().flatten() {
                    say(&format!("port {} is served on {address}", key.port));
                }
            }
            BindState::Failed(message) => {
                say(&format!("port {} cannot be served: {message}", key.port));
            }
        }
    }
}

pub(crate) fn has_failed(observed: &Observed) -> bool {
    observed.binds.values().any(|state| matches!(state, BindState::Failed(_)))
}

fn report(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        // As far as they can still be read.
        let read = |name: &str| std::fs::read_to_string(name).ok().map(Arc::from);
        let texts = render::texts(diagnostics, read);
        say(render::text(diagnostics, &texts, render::colours()).trim_end());
    }
}

/// Tells the operator; the access log may have standard output for itself.
pub(crate) fn say(text: &str) {
    // Nobody is left to be told that this failed.
    let _ = writeln!(io::stderr(), "{text}");
}

pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Raises the number of files that the program may open to what the system allows it.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the limit on connections is lower.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Half of the files are for clients: their requests need connections to backends as well.
fn within_file_limit(connections: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    connections.min(usize::try_from(files / 2).unwrap_or(usize::MAX))
}
