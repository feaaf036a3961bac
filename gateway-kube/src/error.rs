//! What keeps the adapter from starting.

use std::path::PathBuf;

/// The cluster cannot be reached with the given settings.
///
/// An API server that does not answer is no error: it is asked again until it does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kubeconfig file cannot be used.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error(
        "no cluster is configured: give --kubeconfig, set KUBECONFIG, or run in a pod with a \
         service account"
    )]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The context cannot be used.
    #[error("cannot use the context {context:?} of the kubeconfig")]
    Context {
        /// Its name.
        context: String,
        /// Why.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// The credentials or certificates cannot be used.
    #[error("cannot use the credentials of the cluster")]
    Client(#[source] kube::Error),
}
