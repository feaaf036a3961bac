//! What the API server would refuse, without an API server.
//!
//! In: an object as it was read. Out: a [`Diagnostic`] for every rule of the CRD schemas of v1.6.1 that it breaks, CEL
//! rules included.
//! Deliberately not here: anything about several objects (`resolve`), and rules about changing an object, as only one
//! version of it is at hand.
//!
//! An error means that the API server refuses the object. A warning means that it takes it, but that a part of it has
//! no effect or not the one that was meant. The checks take time linear in the size of the object, whatever it holds.

mod backend;
mod backend_tls_policy;
mod check;
mod core_v1;
mod cors;
mod external_auth;
mod filter;
mod gateway;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod metadata;
mod parent;
mod reference;
mod reference_grant;
mod session;
mod text;
mod x_kinds;

use crate::api::Resource;
use crate::diagnostic::Diagnostic;
use check::{At, Check};

/// Which CRDs an object is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Channel {
    /// Only what is stable.
    Standard,
    /// Everything.
    #[default]
    Experimental,
}

/// Which schema an object is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schema<'a> {
    /// Channel of the CRDs.
    pub channel: Channel,
    /// The `apiVersion` the object was written in; none means the preferred version of its kind.
    pub api_version: Option<&'a str>,
}

/// Checks an object.
///
/// ```
/// use gateway_core::api::{HttpRoute, HttpRouteRule, Resource};
/// use gateway_core::validate::{Schema, validate};
///
/// let route = HttpRoute::new("shop", "cart").rule(HttpRouteRule::new().path_exact("cart"));
/// let diagnostics = validate(&Resource::from(route), Schema::default());
/// assert_eq!(
///     diagnostics[0].to_string(),
///     "error[GW0111]: the path \"cart\" does not start with \"/\" \
///      (HTTPRoute shop/cart spec.rules[0].matches[0].path.value)",
/// );
/// ```
#[must_use]
pub fn validate(resource: &Resource, schema: Schema<'_>) -> Vec<Diagnostic> {
    let mut check = Check::new(resource.key(), schema);
    let root = At::root();
    let spec = root.field("spec");
    metadata::metadata(&mut check, resource);
    match resource {
        Resource::GatewayClass(class) => gateway::class(&mut check, &class.spec, &spec),
        Resource::Gateway(gateway) => gateway::gateway(&mut check, &gateway.spec, &spec),
        Resource::ListenerSet(set) => gateway::listener_set(&mut check, &set.spec, &spec),
        Resource::HttpRoute(route) => http_route::http_route(&mut check, &route.spec, &spec),
        Resource::GrpcRoute(route) => grpc_route::grpc_route(&mut check, &route.spec, &spec),
        Resource::TlsRoute(route) => l4_route::tls_route(&mut check, &route.spec, &spec),
        Resource::TcpRoute(route) => l4_route::l4_route(&mut check, &route.spec, &spec),
        Resource::UdpRoute(route) => l4_route::l4_route(&mut check, &route.spec, &spec),
        Resource::ReferenceGrant(grant) => {
            reference_grant::reference_grant(&mut check, &grant.spec, &spec)
        }
        Resource::BackendTlsPolicy(policy) => {
            backend_tls_policy::policy(&mut check, &policy.spec, &spec)
        }
        Resource::XBackendTrafficPolicy(policy) => {
            x_kinds::traffic_policy(&mut check, &policy.spec, &spec)
        }
        Resource::XBackend(backend) => x_kinds::backend(&mut check, &backend.spec, &spec),
        Resource::XMesh(mesh) => x_kinds::mesh(&mut check, &mesh.spec, &spec),
        Resource::Namespace(_) => {}
        Resource::Service(service) => core_v1::service(&mut check, &service.spec, &spec),
        Resource::EndpointSlice(slice) => core_v1::endpoint_slice(&mut check, slice, &root),
        Resource::Secret(secret) => {
            core_v1::base64_map(&mut check, &secret.data, &root.field("data"))
        }
        Resource::ConfigMap(map) => {
            core_v1::base64_map(&mut check, &map.binary_data, &root.field("binaryData"))
        }
    }
    check.into_diagnostics()
}
