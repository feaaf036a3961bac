//! Addresses of nodes, by which Services of type NodePort are reached.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::time::timeout;

use super::Keeper;
use crate::{dedicated::object::ObjectKind, notice::Notice, watch::of_client};

/// How long it may take to read them.
const NODES_READ: Duration = Duration::from_secs(10);

impl Keeper {
    /// Begins to read the addresses of nodes, if a Service of ours is reached by them.
    pub(super) fn read_nodes(&mut self) {
        let node_port = |object: &Value| object["spec"]["type"] == "NodePort";
        if !self.node_reads.is_empty()
            || !self.seen.iter().any(|(id, seen)| id.kind == ObjectKind::Service && node_port(seen))
        {
            return;
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.node_reads.spawn(async move {
            match timeout(NODES_READ, nodes.list(&ListParams::default().match_any())).await {
                Ok(Ok(list)) => Ok(list.items.iter().filter_map(node_address).collect()),
                Ok(Err(error)) => Err(of_client(&error).text),
                Err(_) => Err("the API server does not answer in time".to_owned()),
            }
        });
    }

    pub(super) fn nodes_read(&mut self, read: Result<BTreeSet<String>, String>) {
        match read {
            Ok(nodes) => self.nodes = nodes,
            // They are read again soon.
            Err(error) => {
                let objects = "Node objects".to_owned();
                (self.ends.notices)(Notice::Unseen { objects, error });
            }
        }
    }
}

fn node_address(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.iter().flatten();
    if !ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    {
        return None;
    }
    let of_type = |kind: &str| {
        let mut addresses = status.addresses.iter().flatten();
        addresses.find(|address| address.type_ == kind).map(|address| address.address.clone())
    };
    of_type("ExternalIP").or_else(|| of_type("InternalIP"))
}
