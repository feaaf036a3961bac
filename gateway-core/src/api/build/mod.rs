//! Building objects in code, for applications without YAML.
//!
//! In: names, ports and values. Out: the same structs that are read from YAML.
//! Deliberately not here: fields that few applications set in code; every field is public, so set them directly.
//!
//! Methods add to lists and, where that reads better, apply to the item added last: `weight` to the last backend,
//! `path_prefix` to the last match. Nothing is checked here; a bad value is reported like one from a file.

mod core_v1;
mod gateway;
mod grpc_rule;
mod http_rule;
mod policy;
mod route;
