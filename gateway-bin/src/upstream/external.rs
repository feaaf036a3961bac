//! Backends that are a DNS name: `ExternalName` Services and XBackends.

use std::{io, sync::Arc, sync::Mutex, time::Duration};

use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use super::{UpstreamError, endpoint::lock, pool::Reachable};

/// How long addresses are used before the name is looked up again. The system's resolver tells no
/// time to live; this is short enough for names that follow failures.
const LIFETIME: Duration = Duration::from_secs(10);
/// How long a look-up may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A name and when it was looked up.
#[derive(Debug)]
pub(super) struct External {
    hostname: Box<str>,
    port: u16,
    looked_up: Mutex<Option<Instant>>,
    /// Held during a look-up, so that there is one at a time.
    looking: tokio::sync::Mutex<()>,
}

impl External {
    pub(super) fn new(hostname: &str, port: u16) -> Self {
        let (looked_up, looking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { hostname: hostname.into(), port, looked_up, looking }
    }

    pub(super) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Makes sure that the cluster has addresses. Old ones are used while new ones are looked up.
    pub(super) async fn look_up(&self, backend: &Arc<Reachable>) -> Result<(), UpstreamError> {
        let looked_up = *lock(&self.looked_up);
        match looked_up {
            Some(at) if at.elapsed() < LIFETIME => Ok(()),
            Some(_) => {
                let backend = Arc::clone(backend);
                tokio::spawn(async move {
                    let external = backend.external.as_ref();
                    // A failure keeps the old addresses; the next request tries again.
                    let _ = external.map(|external| external.renew(&backend))?.await.ok();
                    Some(())
                });
                Ok(())
            }
            None => self.renew(backend).await.map_err(UpstreamError::Lookup),
        }
    }

    async fn renew(&self, backend: &Reachable) -> io::Result<()> {
        let _looking = self.looking.lock().await;
        if lock(&self.looked_up).is_some_and(|at| at.elapsed() < LIFETIME) {
            return Ok(());
        }
        let found = timeout(LIMIT, lookup_host((&*self.hostname, self.port))).await;
        let found = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        backend.cluster.set_endpoints(found);
        *lock(&self.looked_up) = Some(Instant::now());
        Ok(())
    }
}
