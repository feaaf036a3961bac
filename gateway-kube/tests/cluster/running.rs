//! A running adapter.

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use gateway_core::scope::ControllerScope;
use gateway_kube::{
    AddressPool, Election, Notice, Settings, balanced::Balanced, dedicated::ServiceCheck,
};
use tokio::{sync::oneshot, task::LocalSet};

use crate::{US, fake::Fake, plane::Plane};

/// How a replica runs.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) plane: Plane,
    pub(crate) pool: AddressPool,
    pub(crate) balanced: Option<Balanced>,
    pub(crate) identity: Option<&'static str>,
    pub(crate) cache: Option<PathBuf>,
}

/// One replica.
pub(crate) struct Replica {
    pub(crate) plane: Plane,
    pub(crate) notices: Arc<Mutex<Vec<Notice>>>,
    end: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl Replica {
    /// Starts without election, pool and cache.
    pub(crate) fn start(fake: &Fake) -> Self {
        Self::start_with(fake, Options::default())
    }

    pub(crate) fn start_with(fake: &Fake, options: Options) -> Self {
        let Options { plane, pool, balanced, identity, cache } = options;
        let (end, ending) = oneshot::channel::<()>();
        let (ended_sender, ended) = oneshot::channel();
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let told = Arc::clone(&notices);
        let settings = Settings {
            controller_name: US.to_owned(),
            scope: ControllerScope::of_class(US)
                .shared_sockets(pool.is_empty())
                .fronted(balanced.is_some())
                .parameters_check(Arc::new(ServiceCheck))
                .supported_features(&["HTTPRouteRetry", "HTTPRoute", "Gateway"]),
            pool,
            balanced,
            cache,
            election: identity.map(|identity| Election::of(US, "default", identity)),
            notices: Arc::new(move |notice| {
                told.lock().expect("no test panics while it holds them").push(notice);
            }),
        };
        let (connection, mut own) = (fake.connection(), plane.clone());
        tokio::task::spawn_local(async move {
            let ending = async {
                // Also if the test lets the replica go.
                let _ = ending.await;
            };
            gateway_kube::run(connection, settings, &mut own, ending).await;
            let _ = ended_sender.send(());
        });
        Self { plane, notices, end: Some(end), ended }
    }

    pub(crate) fn told(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        let notices = self.notices.lock().expect("no test panics while it holds them");
        notices.iter().filter(|notice| wanted(notice)).count()
    }

    /// Ends it as a signal does.
    pub(crate) async fn end(mut self) {
        drop(self.end.take());
        self.ended.await.expect("the adapter ends by itself");
    }
}

/// Runs a test with the adapter's tasks on the same thread, in virtual time.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be had");
    LocalSet::new().block_on(&runtime, test);
}
