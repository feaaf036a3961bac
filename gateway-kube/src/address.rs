//! Which Gateways need an address of the pool.
//!
//! In: a snapshot, and the statuses that are stored. Out: [`Claim`]s for the pool. Not here: who gets
//! which (`pool`).

use std::net::IpAddr;

use gateway_core::{
    api::{AddressType, Gateway, GatewayStatusAddress, ObjectKey},
    scope::ControllerScope,
    snapshot::{Observed, Snapshot},
};

use crate::{object::Version, reference::is_ours};

pub(crate) use crate::pool::Claim;

/// The claims of all Gateways of ours, the oldest first.
pub(crate) fn claims(
    snapshot: &Snapshot,
    scope: &ControllerScope,
    shown: impl Fn(&ObjectKey) -> Vec<IpAddr>,
) -> Vec<Claim> {
    let ours = snapshot.gateways().iter().filter(|(_, gateway)| is_ours(gateway, snapshot, scope));
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by(|(_, a), (_, b)| a.metadata.seniority_cmp(&b.metadata));
    let claim = |(key, gateway): (&ObjectKey, &std::sync::Arc<Gateway>)| Claim {
        gateway: key.clone(),
        wants: wants(gateway),
        named: named(gateway),
        shown: shown(key),
    };
    ours.into_iter().map(claim).collect()
}

/// Whether any address will do.
fn wants(gateway: &Gateway) -> bool {
    // SPEC: a type without value asks for any address of that type.
    gateway.spec.addresses.is_empty()
        || gateway.spec.addresses.iter().any(|address| {
            address.value.as_deref().is_none_or(str::is_empty)
                && matches!(address.kind(), AddressType::IpAddress | AddressType::Hostname)
        })
}

fn named(gateway: &Gateway) -> Vec<IpAddr> {
    let values = gateway.spec.addresses.iter().filter_map(|address| address.value.as_deref());
    values.filter_map(|value| value.parse().ok()).collect()
}

/// The Gateways that have no address, and did not have none before.
pub(crate) fn newly_without<'o>(
    observed: &'o Observed,
    before: Option<&'o Observed>,
) -> impl Iterator<Item = &'o ObjectKey> {
    let known = move |key| before.and_then(|before| before.gateway_addresses.get(key));
    let without = observed.gateway_addresses.iter().filter(|(_, addresses)| addresses.is_empty());
    without.filter(move |(key, none)| known(*key) != Some(*none)).map(|(key, _)| key)
}

/// The addresses that a stored status shows.
pub(crate) fn shown(version: &Version) -> Vec<IpAddr> {
    let status = version.status();
    let addresses = status["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    let values = addresses.iter().filter_map(|address| address["value"].as_str());
    values.filter_map(|value| value.parse().ok()).collect()
}

/// An address as a status has it.
pub(crate) fn written(address: IpAddr) -> GatewayStatusAddress {
    GatewayStatusAddress { kind: Some(AddressType::IpAddress), value: address.to_string() }
}
