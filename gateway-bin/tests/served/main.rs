//! What manifests say is served: from YAML to bytes on loopback, and the status that goes with it.

mod addresses;
mod backend_tls;
mod broken_objects;
mod changed_terms;
mod client_certificates;
mod hostile;
mod https;
mod listener_sets;
mod peers;
mod proxy_protocol;
mod tcp;
mod tls_options;
mod tls_routes;
mod udp;
mod world;
