//! Which port of the pods stands for which port of which Gateway.
//!
//! In: what Services have, and what Gateways want. Out: a number for each port, the same as before
//! wherever there was one. Not here: Services and Gateways themselves.
//!
//! A number that is free is looked for from a place that the names alone decide. So who has not seen
//! the newest Service yet hardly gives its number to another one, and a Service that somebody deletes
//! comes back as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use gateway_core::resolve::topology::Transport;

use crate::dedicated::{Port, fold};

/// The ports of one Gateway, each with the one that stands for it.
pub type Allotted = BTreeMap<Port, u16>;

/// The ports of all Gateways by the names of their Services.
pub type Allotment = BTreeMap<Box<str>, Allotted>;

/// Ports from the first to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Whether the port is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// All of them, beginning in the middle, at a place that `seed` chooses.
    fn from(self, seed: u32) -> impl Iterator<Item = u16> {
        let size = u32::from(self.last - self.first) + 1;
        let middle = self.first + u16::try_from(seed % size).expect("it is less than the size");
        (middle..=self.last).chain(self.first..middle)
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Reads `20000-29999`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of ports such as 20000-29999");
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What Services have. Of two that have the same number, the earlier one in the list keeps it: the
/// sockets are those of one Gateway alone.
pub fn held<'s>(
    services: impl IntoIterator<Item = (&'s str, impl IntoIterator<Item = (Port, u16)>)>,
) -> Allotment {
    let mut taken = BTreeSet::new();
    let mut held = Allotment::new();
    for (service, ports) in services {
        let of_service: &mut Allotted = held.entry(service.into()).or_default();
        for (port, number) in ports {
            if number > 0 && !of_service.contains_key(&port) && taken.insert(use_of(port, number)) {
                of_service.insert(port, number);
            }
        }
    }
    held
}

/// Numbers for all ports that are wanted, by the names of Services and in the order of precedence. A
/// port that has none came too late: the range is used up.
///
/// What is `held` stays, also beyond the range, and is given to nobody else.
#[must_use]
pub fn allot(range: PortRange, wanted: &[(&str, &BTreeSet<Port>)], held: &Allotment) -> Allotment {
    let in_use = held.values().flatten().map(|(port, number)| use_of(*port, *number));
    let mut taken: BTreeSet<(Transport, u16)> = in_use.collect();
    let mut allotment = Allotment::new();
    for (service, ports) in wanted {
        let known = held.get(*service);
        let mut number = |port: &Port| {
            let known = known.and_then(|known| known.get(port)).copied();
            known.or_else(|| {
                let seed = fold(&format!("{service}/{:?}/{}", port.transport, port.number));
                range.from(seed).find(|number| taken.insert(use_of(*port, *number)))
            })
        };
        let numbers = ports.iter().filter_map(|port| Some((*port, number(port)?)));
        allotment.insert((*service).into(), numbers.collect());
    }
    allotment
}

/// What a number is used up for: TCP and UDP do not meet.
fn use_of(port: Port, number: u16) -> (Transport, u16) {
    (port.transport, number)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use gateway_core::resolve::topology::Transport;
    use proptest::prelude::*;

    use super::{Allotment, PortRange, allot, held, use_of};
    use crate::dedicated::Port;

    fn range(text: &str) -> PortRange {
        text.parse().expect("it is a range")
    }

    fn tcp(number: u16) -> Port {
        Port { number, transport: Transport::Tcp }
    }

    #[test]
    fn ranges() {
        assert_eq!(range("20000-29999").to_string(), "20000-29999");
        assert!(range("7-7").contains(7) && !range("7-7").contains(8));
        for wrong in ["", "1", "0-1", "2-1", "1-65536", "a-b"] {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
        }
        let all: BTreeSet<u16> = range("65530-65535").from(u32::MAX).collect();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn who_comes_when_all_is_used_gets_none() {
        let web =
            BTreeSet::from([tcp(80), tcp(443), Port { number: 80, transport: Transport::Udp }]);
        let allotted = allot(range("5-6"), &[("a", &web), ("b", &web)], &Allotment::new());
        assert_eq!(allotted["a"].len(), 3, "TCP and UDP do not meet: {allotted:?}");
        assert_eq!(allotted["b"].len(), 1, "{allotted:?}");
    }

    #[test]
    fn of_two_services_with_one_number_the_first_keeps_it() {
        let stored = [("old", vec![(tcp(80), 5), (tcp(81), 5)]), ("new", vec![(tcp(80), 5)])];
        let held = held(stored);
        assert_eq!((held["old"].len(), held["new"].len()), (1, 0));
        let web = BTreeSet::from([tcp(80)]);
        let allotted = allot(range("5-6"), &[("new", &web), ("old", &web)], &held);
        assert_eq!((allotted["old"][&tcp(80)], allotted["new"][&tcp(80)]), (5, 6));
    }

    fn ports() -> impl Strategy<Value = BTreeSet<Port>> {
        let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
        let port = (1_u16..6, transport).prop_map(|(number, transport)| Port { number, transport });
        prop::collection::btree_set(port, 0..5)
    }

    /// Services by name with the ports that are wanted.
    fn wanted() -> impl Strategy<Value = BTreeMap<String, BTreeSet<Port>>> {
        prop::collection::btree_map("[a-f]", ports(), 0..6)
    }

    fn listed(wanted: &BTreeMap<String, BTreeSet<Port>>) -> Vec<(&str, &BTreeSet<Port>)> {
        wanted.iter().map(|(name, ports)| (&**name, ports)).collect()
    }

    fn uses(allotment: &Allotment) -> Vec<(Transport, u16)> {
        let uses = allotment.values().flatten();
        uses.map(|(port, number)| use_of(*port, *number)).collect()
    }

    proptest! {
        #[test]
        fn numbers_are_given_once_kept_and_given_while_there_are_some(
            stored in prop::collection::vec(("[a-f]", prop::collection::vec((1_u16..6, 8_u16..20), 0..4)), 0..5),
            (first, then) in (wanted(), wanted()),
            size in 0_u16..12,
        ) {
            let range = PortRange { first: 10, last: 10 + size };
            let stored = stored.iter().map(|(name, ports)| {
                (&**name, ports.iter().map(|(port, number)| (tcp(*port), *number)))
            });
            let before = held(stored);
            for wanted in [first, then] {
                let after = allot(range, &listed(&wanted), &before);
                let used = uses(&after);
                prop_assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
                for (name, ports) in &wanted {
                    let (allotted, known) = (&after[&**name], before.get(&**name));
                    let known = |port: &Port| known.and_then(|known| known.get(port)).copied();
                    for port in ports {
                        let number = allotted.get(port).copied();
                        match known(port) {
                            // It has one: it stays.
                            Some(known) => prop_assert_eq!(number, Some(known)),
                            None => match number {
                                // It is new: in the range, and nobody's.
                                Some(number) => {
                                    prop_assert!(range.contains(number));
                                    prop_assert!(!uses(&before).contains(&use_of(*port, number)));
                                }
                                // Only if none is left.
                                None => {
                                    let all: BTreeSet<_> = uses(&before).into_iter().chain(used.clone()).collect();
                                    let of_kind = all.iter().filter(|(transport, number)| {
                                        *transport == port.transport && range.contains(*number)
                                    });
                                    prop_assert_eq!(of_kind.count(), usize::from(size) + 1);
                                }
                            },
                        }
                    }
                    prop_assert!(allotted.keys().all(|port| ports.contains(port)));
                }
                // Once they are stored, they stay.
                let stored = after.iter().map(|(name, ports)| (&**name, ports.iter().map(|(a, b)| (*a, *b))));
                let again = allot(range, &listed(&wanted), &held(stored));
                for (name, allotted) in &after {
                    prop_assert!(allotted.iter().all(|(port, number)| again[name].get(port) == Some(number)));
                }
            }
        }
    }
}
