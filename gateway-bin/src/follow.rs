//! `gateway run --config-from`: a controller's configuration in, requests served.
//!
//! In: the arguments. Out: a running data plane that serves what the controller hands out, and tells
//! it what became of that, until the program is asked to end. Not here: the stream (`gateway-kube`).
//!
//! What was received last is served for as long as there is nothing newer.

use std::collections::BTreeMap;

use gateway_core::{
    api::{Kind, ObjectKey},
    build::Builder,
    scope::ControllerScope,
    snapshot::{BindState, Change, Observed, Placement},
};
use gateway_kube::{
    DataPlane as _,
    config_stream::{BindReport, Event, Following, Received, Reply, follow, revisions},
};
use http::Uri;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    args::RunArgs,
    error::Error,
    kubernetes::Plane,
    program::{RETRY, Signals, config, drain, has_failed, judged_by, say, start},
};

/// Serves what the controller hands out until the program is asked to end.
///
/// # Errors
/// If the data plane cannot start. A controller that cannot be reached is no error.
pub(crate) async fn serve(args: &RunArgs, from: &Uri) -> Result<(), Error> {
    let scope = judged_by(args, ControllerScope::all());
    let (gateway, admin) = start(args, &config(args)).await?;
    let mut signals = Signals::new().map_err(Error::Runtime)?;
    let following = Following {
        from: from.clone(),
        token_file: args.follow.token_file.clone().unwrap_or_default(),
        ca_file: args.follow.ca_file.clone().unwrap_or_default(),
    };
    let (sender, mut received) = revisions();
    let (replies, replied) = watch::channel(Reply::default());
    tokio::spawn(follow(following, sender, replied, |event: Event| say(&event.to_string())));
    let mut pod = Pod {
        plane: Plane { gateway, admin, signposts: None, observed: None },
        builder: Builder::new(scope),
        observed: None,
        served: 0,
        replies,
    };
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(revision) = received.recv() => pod.take(revision).await,
            _ = retry.tick() => pod.retry().await,
            () = signals.asked() => break,
        }
    }
    drain(pod.plane.gateway).await;
    Ok(())
}

/// A data plane that serves revisions.
struct Pod {
    plane: Plane,
    builder: Builder,
    /// As of the last time everything was served; none before the first time.
    observed: Option<Observed>,
    /// The number of the revision that is served.
    served: u64,
    replies: watch::Sender<Reply>,
}

impl Pod {
    async fn take(&mut self, received: Received) {
        let is_slice = |change: &Change| match change {
            Change::Upsert(resource) => resource.kind() == Kind::EndpointSlice,
            Change::Remove(key) => key.kind == Kind::EndpointSlice,
            Change::Observed(_) => false,
        };
        let moved = received.changes.iter().any(is_slice);
        let applied = self.builder.apply(received.changes);
        if applied.rebuilt || self.observed.is_none() {
            self.serve().await;
        } else {
            // Backends before the routes to them.
            if moved {
                self.plane.locate(&self.builder);
            }
            if applied.retabled {
                self.plane.route(&self.builder);
            }
        }
        self.plane.show(&self.builder);
        self.served = received.number;
        self.reply();
    }

    async fn retry(&mut self) {
        if self.observed.as_ref().is_some_and(has_failed) {
            self.serve().await;
            self.plane.show(&self.builder);
            self.reply();
        }
    }

    async fn serve(&mut self) {
        let own = BTreeMap::<ObjectKey, Placement>::new();
        let observed = self.plane.serve(&self.builder, &own).await;
        if self.observed.as_ref() != Some(&observed) {
            self.observed = Some(observed.clone());
            if self.builder.apply([Change::Observed(observed)]).rebuilt {
                self.plane.serve(&self.builder, &own).await;
            }
        }
    }

    fn reply(&self) {
        let binds = self.observed.iter().flat_map(|observed| &observed.binds);
        let report = |(key, state): (&gateway_core::snapshot::BindKey, &BindState)| BindReport {
            port: key.port,
            transport: key.transport,
            error: match state {
                BindState::Bound => None,
                BindState::Failed(error) => Some(error.clone()),
            },
        };
        let reply = Reply { served: self.served, binds: binds.map(report).collect() };
        self.replies.send_replace(reply);
    }
}
