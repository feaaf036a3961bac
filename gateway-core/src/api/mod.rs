//! The kinds of the Gateway API v1.6 as plain data, field for field as upstream, in both channels.
//!
//! In: any serde format. Out: one struct per kind, and [`Resource`] over all of them.
//! Deliberately not here: logic. Whether a value is allowed is the business of `validate`, what it means that of
//! `resolve`.
//!
//! Reading is lenient: missing fields take their default, unknown enum values are kept, names and durations stay text.
//! So one bad value never hides the rest of an object. Optional fields with a default in the API stay `Option`, with a
//! method of the same name that gives the value after defaulting.
//!
//! Applications without YAML build objects in code:
//!
//! ```
//! use gateway_core::api::{Gateway, HttpMethod, HttpRoute, HttpRouteRule, Listener, Resource};
//!
//! let gateway = Gateway::new("shop", "public").class("example").listener(Listener::http("web", 80));
//! let route = HttpRoute::new("shop", "cart").parent("public").hostname("shop.example.com").rule(
//!     HttpRouteRule::new()
//!         .path_prefix("/cart")
//!         .method(HttpMethod::Post)
//!         .header("x-canary", "1")
//!         .backend("cart-v1", 8080)
//!         .weight(9)
//!         .backend("cart-v2", 8080),
//! );
//! let resources = [Resource::from(gateway), Resource::from(route)];
//! assert_eq!(resources[1].key().to_string(), "HTTPRoute shop/cart");
//! ```

mod backend_tls_policy;
mod base64;
mod build;
mod condition;
mod core_v1;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_filter;
mod http_route;
mod l4_route;
mod listener_set;
mod meta;
mod reference_grant;
mod refs;
mod resource;
pub(crate) mod values;
mod x_kinds;

pub use backend_tls_policy::*;
pub use base64::{Base64, Base64Error};
pub use condition::*;
pub use core_v1::*;
pub use gateway::*;
pub use gateway_class::*;
pub use grpc_route::*;
pub use http_filter::*;
pub use http_route::*;
pub use l4_route::*;
pub use listener_set::*;
pub use meta::*;
pub use reference_grant::*;
pub use refs::*;
pub use resource::*;
pub use values::{
    Duration, DurationError, Hostname, HostnameError, PreciseHostname, is_dns_label,
    is_dns_subdomain,
};
pub use x_kinds::*;
