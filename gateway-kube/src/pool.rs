//! Addresses for Gateways that ask for none in particular.
//!
//! In: ranges of addresses, and the Gateways of ours. Out: for each Gateway its own address, the
//! same as before and as its status shows wherever that is possible. Not here: sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use gateway_core::api::ObjectKey;

/// Addresses from the first to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// The first and the last of them.
    #[must_use]
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        (self.first, self.last)
    }

    fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let (first, last) = (number(self.first), number(self.last));
        (first..=last).map(move |number| match self.first {
            IpAddr::V4(_) => u32::try_from(number).map_or(self.last, |n| Ipv4Addr::from(n).into()),
            IpAddr::V6(_) => Ipv6Addr::from(number).into(),
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    /// Reads `10.0.0.0/24`, `10.0.0.5-10.0.0.9` or a single address.
    ///
    /// The first and the last address of an IPv4 network are left out: they name the network itself
    /// and all of its hosts.
    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            text.trim().parse::<IpAddr>().map_err(|_| format!("{text:?} is no IP address"))
        };
        if let Some((network, length)) = text.split_once('/') {
            return network_range(address(network)?, length);
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => (address(text)?, address(text)?),
        };
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(format!("{first} to {last} is no range of addresses"));
        }
        Ok(Self { first, last })
    }
}

fn network_range(network: IpAddr, length: &str) -> Result<AddressRange, String> {
    let bits: u32 = if network.is_ipv4() { 32 } else { 128 };
    let length = length.parse::<u32>().ok().filter(|length| *length <= bits);
    let length = length.ok_or_else(|| format!("the length of a network is 0 to {bits}"))?;
    let hosts = bits - length;
    let mask = 1_u128.checked_shl(hosts).map_or(u128::MAX, |size| size - 1);
    let (mut first, mut last) = (number(network) & !mask, number(network) | mask);
    if number(network) != first {
        return Err(format!("{network}/{length} has bits beyond its length set"));
    }
    if network.is_ipv4() && hosts > 1 {
        (first, last) = (first + 1, last - 1);
    }
    Ok(match network {
        IpAddr::V4(_) => {
            let address =
                |number| u32::try_from(number).map_or(network, |n| Ipv4Addr::from(n).into());
            AddressRange { first: address(first), last: address(last) }
        }
        IpAddr::V6(_) => {
            AddressRange { first: Ipv6Addr::from(first).into(), last: Ipv6Addr::from(last).into() }
        }
    })
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Gives each Gateway an address of its own.
///
/// ```
/// use gateway_kube::AddressPool;
/// let pool = AddressPool::new(["192.0.2.0/29".parse()?]);
/// assert!(pool.contains([192, 0, 2, 1].into()));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressPool {
    ranges: Vec<AddressRange>,
    assigned: BTreeMap<ObjectKey, IpAddr>,
}

/// What a Gateway has to do with the pool.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) gateway: ObjectKey,
    /// Whether it needs an address of the pool.
    pub(crate) wants: bool,
    /// Addresses that its spec names.
    pub(crate) named: Vec<IpAddr>,
    /// Addresses that its status shows.
    pub(crate) shown: Vec<IpAddr>,
}

impl AddressPool {
    /// A pool of these ranges.
    pub fn new(ranges: impl IntoIterator<Item = AddressRange>) -> Self {
        Self { ranges: ranges.into_iter().collect(), assigned: BTreeMap::new() }
    }

    /// Whether there is no address at all; Gateways then share those of the program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the address is in one of the ranges.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Takes up what an earlier run had assigned.
    pub(crate) fn recall(&mut self, assigned: BTreeMap<ObjectKey, IpAddr>) {
        self.assigned = assigned;
        let Self { ranges, assigned } = self;
        assigned.retain(|_, address| ranges.iter().any(|range| range.contains(*address)));
    }

    /// The addresses of all claims, given in the order of precedence.
    ///
    /// What `trust_status` says: another replica writes the status, so it knows better.
    pub(crate) fn assign(
        &mut self,
        claims: &[Claim],
        trust_status: bool,
    ) -> &BTreeMap<ObjectKey, IpAddr> {
        let before = std::mem::take(&mut self.assigned);
        // An address that a spec names is not given to anyone else, unless someone has it already.
        let named: BTreeSet<IpAddr> =
            claims.iter().flat_map(|claim| claim.named.iter().copied()).collect();
        let mut taken = BTreeSet::new();
        let wanting = || claims.iter().filter(|claim| claim.wants);
        let held = |claim: &Claim| before.get(&claim.gateway).copied();
        let shown = |claim: &Claim| {
            let mut shown = claim.shown.iter().copied();
            shown.find(|address| self.contains(*address) && !named.contains(address))
        };
        let mut assigned = BTreeMap::new();
        for trusted in [trust_status, !trust_status] {
            for claim in wanting() {
                let address = if trusted { shown(claim) } else { held(claim) };
                if let Some(address) = address
                    && !assigned.contains_key(&claim.gateway)
                    && taken.insert(address)
                {
                    assigned.insert(claim.gateway.clone(), address);
                }
            }
        }
        taken.extend(named);
        let mut free = self.ranges.iter().flat_map(|range| range.addresses());
        for claim in wanting() {
            if !assigned.contains_key(&claim.gateway) {
                let Some(address) = free.find(|address| !taken.contains(address)) else { break };
                assigned.insert(claim.gateway.clone(), address);
            }
        }
        self.assigned = assigned;
        &self.assigned
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use gateway_core::api::{Kind, ObjectKey};

    use super::{AddressPool, AddressRange, Claim};

    #[track_caller]
    fn range(text: &str, expect: &[&str]) {
        let range: AddressRange = text.parse().expect("it is a range");
        let addresses: Vec<String> = range.addresses().map(|at| at.to_string()).collect();
        assert_eq!(addresses, expect, "{text}");
    }

    #[test]
    fn ranges_of_all_notations() {
        range("10.0.0.4/30", &["10.0.0.5", "10.0.0.6"]);
        range("10.0.0.4/31", &["10.0.0.4", "10.0.0.5"]);
        range("10.0.0.4/32", &["10.0.0.4"]);
        range("10.0.0.4", &["10.0.0.4"]);
        range("10.0.0.255-10.0.1.0", &["10.0.0.255", "10.0.1.0"]);
        range("fd00::/127", &["fd00::", "fd00::1"]);
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/24",
            "x",
            "10.0.0.2-10.0.0.1",
            "10.0.0.1-fd00::1",
            "::/-1",
        ] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
        assert!(
            "0.0.0.0/0".parse::<AddressRange>().is_ok() && "::/0".parse::<AddressRange>().is_ok()
        );
    }

    fn claim(name: &str, shown: &[&str]) -> Claim {
        let ip = |text: &&str| text.parse::<IpAddr>().expect("it is an address");
        Claim {
            gateway: ObjectKey::new(Kind::Gateway, "infra", name),
            wants: true,
            named: Vec::new(),
            shown: shown.iter().map(ip).collect(),
        }
    }

    fn named(name: &str, address: &str) -> Claim {
        Claim {
            wants: false,
            named: vec![address.parse().expect("an address")],
            ..claim(name, &[])
        }
    }

    #[track_caller]
    fn check(pool: &mut AddressPool, claims: &[Claim], trust: bool, expect: &[(&str, &str)]) {
        let assigned: Vec<(String, String)> = pool
            .assign(claims, trust)
            .iter()
            .map(|(key, address)| (key.name.to_string(), address.to_string()))
            .collect();
        let expect: Vec<(String, String)> =
            expect.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect();
        assert_eq!(assigned, expect);
    }

    #[test]
    fn each_gateway_keeps_its_own_address() {
        let mut pool = AddressPool::new(["10.0.0.1-10.0.0.3".parse().expect("a range")]);
        let (a, b, c) = (claim("a", &[]), claim("b", &[]), claim("c", &[]));
        check(&mut pool, std::slice::from_ref(&b), false, &[("b", "10.0.0.1")]);
        let all = [a.clone(), b.clone(), c.clone()];
        check(&mut pool, &all, false, &[("a", "10.0.0.2"), ("b", "10.0.0.1"), ("c", "10.0.0.3")]);
        // None is left, one is released, the next one gets it.
        let more = [a.clone(), b, c.clone(), claim("d", &[])];
        check(&mut pool, &more, false, &[("a", "10.0.0.2"), ("b", "10.0.0.1"), ("c", "10.0.0.3")]);
        let fewer = [a, c, claim("d", &[])];
        check(&mut pool, &fewer, false, &[("a", "10.0.0.2"), ("c", "10.0.0.3"), ("d", "10.0.0.1")]);
    }

    #[test]
    fn a_restart_takes_the_addresses_of_the_statuses() {
        let range: AddressRange = "10.0.0.1-10.0.0.3".parse().expect("a range");
        let mut pool = AddressPool::new([range]);
        let claims = [
            claim("new", &[]),
            claim("old", &["10.0.0.1"]),
            claim("twin", &["10.0.0.1"]),
            claim("moved", &["192.0.2.1"]),
        ];
        check(
            &mut pool,
            &claims,
            false,
            &[("new", "10.0.0.2"), ("old", "10.0.0.1"), ("twin", "10.0.0.3")],
        );
        // Without the say on the status one follows it.
        let claims = [claim("new", &["10.0.0.3"]), claim("old", &["10.0.0.1"])];
        check(&mut pool, &claims, true, &[("new", "10.0.0.3"), ("old", "10.0.0.1")]);
    }

    #[test]
    fn addresses_that_specs_name_are_not_given_to_others() {
        let mut pool = AddressPool::new(["10.0.0.1-10.0.0.2".parse().expect("a range")]);
        let claims = [claim("a", &["10.0.0.1"]), named("static", "10.0.0.1")];
        check(&mut pool, &claims, false, &[("a", "10.0.0.2")]);
    }
}
