//! Workloads of the match engine and the engines that they are given to.
//!
//! In: the name and size of a workload. Out: a topology, the same rules for peers, and requests
//! with the rule that each must find. Not here: measuring, which `benches` and `src/bin` do.

pub mod alloc;
pub mod engine;
mod peers;
pub mod workload;
