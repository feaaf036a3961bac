//! How the API server is reached.
//!
//! In: a kubeconfig, or nothing for what the environment offers. Out: a client. Not here: asking
//! the API server anything.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower_layer::layer_fn;
use tower_service::Service;

use crate::{error::Error, silence::Audible};

/// Where the cluster is and who we are.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig file; none: `KUBECONFIG`, `~/.kube/config` or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; none: its current one.
    pub context: Option<String>,
}

/// A way to the API server.
#[derive(Clone)]
pub struct Connection {
    pub(crate) client: Client,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("namespace", &self.namespace()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Reaches the API server by a service that sends requests and authorizes them.
    pub fn over<S, B>(service: S, namespace: &str) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let builder = ClientBuilder::new(service, namespace);
        Self { client: builder.with_layer(&layer_fn(Audible)).build() }
    }

    /// The namespace that the service account or the context names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }
}

/// Makes a client. Nothing is sent yet.
///
/// # Errors
/// If there is no usable configuration.
pub async fn connect(access: &Access) -> Result<Connection, Error> {
    let config = configuration(access).await?;
    let builder = ClientBuilder::try_from(config).map_err(Error::Client)?;
    Ok(Connection { client: builder.with_layer(&layer_fn(Audible)).build() })
}

async fn configuration(access: &Access) -> Result<Config, Error> {
    let options =
        KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    match (&access.kubeconfig, &access.context) {
        (Some(path), _) => {
            let broken = |source| Error::Kubeconfig { path: path.clone(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(broken)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(broken)
        }
        (None, Some(context)) => {
            let unusable = |source| Error::Context { context: context.clone(), source };
            Config::from_kubeconfig(&options).await.map_err(unusable)
        }
        (None, None) => Config::infer().await.map_err(Error::NoCluster),
    }
}
