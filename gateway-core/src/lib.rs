//! The Kubernetes Gateway API as a library.
