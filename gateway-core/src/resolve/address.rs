//! Addresses of a Gateway: where it listens, what its status says.
//!
//! In: `spec.addresses` and what was observed. Out: [`Addresses`]. Not here: sockets (`bind`).

use std::net::IpAddr;

use crate::{
    api::{AddressType, Gateway, GatewaySpecAddress, GatewayStatusAddress, ObjectKey, Reason},
    snapshot::{BindAddress, BindState},
};

use super::{Given, status::Fault};

/// Where a Gateway listens.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    /// One entry for each address; at least one unless all are faulty.
    pub(super) binds: Vec<BindAddress>,
    /// An address of a type that is not supported.
    pub(super) unsupported: Option<Fault>,
    /// An address that is no address, or that cannot be used here.
    pub(super) unusable: Option<Fault>,
    /// Addresses as the spec names them.
    named: Vec<(BindAddress, GatewayStatusAddress)>,
}

impl Addresses {
    pub(super) fn new(gateway: &Gateway, key: &ObjectKey, given: Given<'_>) -> Self {
        let (shared, fronted) = (given.scope.shared_sockets, given.scope.fronted);
        let assigned = || match shared && !fronted {
            true => BindAddress::Default,
            false => BindAddress::Own(key.clone()),
        };
        let mut addresses = Self::default();
        for (index, address) in gateway.spec.addresses.iter().enumerate() {
            match read(address) {
                Ok(Some(bind)) => {
                    addresses.named.push((bind.clone(), written(address)));
                    addresses.binds.push(if fronted { assigned() } else { bind });
                }
                // SPEC: a type without value asks for any address of that type.
                Ok(None) => addresses.binds.push(assigned()),
                Err(mut fault) => {
                    fault.message = format!("spec.addresses[{index}] {}", fault.message);
                    let place = match fault.reason {
                        Reason::UnsupportedAddress => &mut addresses.unsupported,
                        _ => &mut addresses.unusable,
                    };
                    place.get_or_insert(fault);
                }
            }
        }
        if gateway.spec.addresses.is_empty() {
            addresses.binds.push(assigned());
        }
        addresses.binds.sort();
        addresses.binds.dedup();
        addresses
    }

    /// Looks for a named address that does not lead here, or none of whose sockets could be opened.
    pub(super) fn observe(&mut self, key: &ObjectKey, given: Given<'_>) {
        let unusable = self.named.iter().find_map(|(bind, address)| {
            let error = failure(key, bind, given)?;
            let message = format!("address {} cannot be used: {error}", address.value);
            Some(Fault::new(Reason::AddressNotUsable, message))
        });
        self.unusable = self.unusable.take().or(unusable);
    }

    /// The addresses for the status: those of the spec that can be used, then those observed.
    pub(super) fn status(&self, key: &ObjectKey, given: Given<'_>) -> Vec<GatewayStatusAddress> {
        let usable = self.named.iter().filter(|(bind, _)| failure(key, bind, given).is_none());
        let mut addresses: Vec<_> = usable.map(|(_, address)| address.clone()).collect();
        let observed = given.snapshot.observed.gateway_addresses.get(key).into_iter().flatten();
        for address in observed {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}

/// Why an address does not lead to the Gateway, or the error of a socket at an address at which no
/// socket is open.
fn failure<'g>(key: &ObjectKey, address: &BindAddress, given: Given<'g>) -> Option<&'g str> {
    let observed = &given.snapshot.observed;
    // Few addresses are unusable, and keys are costly to copy.
    if !observed.unusable.is_empty()
        && let Some(error) = observed.unusable.get(&(key.clone(), address.clone()))
    {
        return Some(error);
    }
    let here = observed.binds.iter().filter(|(key, _)| key.address == *address);
    let mut error = None;
    for (_, state) in here {
        match state {
            BindState::Bound => return None,
            BindState::Failed(message) => error = Some(message.as_str()),
        }
    }
    error
}

fn read(address: &GatewaySpecAddress) -> Result<Option<BindAddress>, Fault> {
    let value = address.value.as_deref().filter(|value| !value.is_empty());
    match (address.kind(), value) {
        (AddressType::IpAddress | AddressType::Hostname, None) => Ok(None),
        (AddressType::IpAddress, Some(value)) => match value.parse::<IpAddr>() {
            Ok(ip) => Ok(Some(BindAddress::Ip(ip))),
            Err(_) => {
                let message = format!("is {value:?}, expected an IPv4 or IPv6 address");
                Err(Fault::new(Reason::AddressNotUsable, message))
            }
        },
        (AddressType::Hostname, Some(value)) => Ok(Some(BindAddress::Hostname(value.into()))),
        (other, _) => {
            let message = format!("has the type {other}, expected IPAddress or Hostname");
            Err(Fault::new(Reason::UnsupportedAddress, message))
        }
    }
}

// SPEC: the type is always written in the status.
fn written(address: &GatewaySpecAddress) -> GatewayStatusAddress {
    GatewayStatusAddress {
        kind: Some(address.kind().clone()),
        value: address.value.clone().unwrap_or_default(),
    }
}
