//! From a snapshot to the topology and the status of every object.

pub mod topology;
