//! Which listeners can be told apart on a port.
//!
//! In: the drafts of one Gateway and its ListenerSets, in order of precedence. Out: conflicts,
//! marked in the drafts, and [`Ports`] to find those of others. Not here: other Gateways on the same
//! socket (`bind`), hostnames that overlap (`overlap`).

use std::collections::{BTreeMap, HashMap};

use crate::{
    api::{ObjectKey, Reason},
    matcher::HostPattern,
    snapshot::Transport,
};

use super::{
    listener::{Draft, Protocol},
    note::Notes,
    status::Fault,
};

/// The drafts of one object.
#[derive(Debug)]
pub(super) struct Group<'d> {
    pub(super) owner: &'d ObjectKey,
    pub(super) drafts: &'d mut [Draft],
}

/// Marks listeners that claim the same traffic.
// SPEC: within one object none of the conflicting listeners is accepted; across objects the one
// that comes first goes on: the Gateway's own, then ListenerSets by age and name.
pub(super) fn mark_conflicts(groups: &mut [Group<'_>], notes: &mut Notes) {
    let mut ports = Ports::default();
    for group in groups {
        mark_lost(group.drafts, &ports);
        mark_within(group.drafts);
        for draft in group.drafts.iter().filter(|draft| draft.is_accepted()) {
            ports.take(draft, group.owner);
        }
        for draft in &*group.drafts {
            if let Some(fault) = &draft.conflict {
                notes.fault(group.owner, draft.field.clone(), fault);
            }
        }
    }
}

/// Marks those that clash with a listener of an earlier object.
fn mark_lost(drafts: &mut [Draft], ports: &Ports) {
    for draft in drafts.iter_mut().filter(|draft| draft.is_accepted()) {
        let Some((reason, winner)) = ports.taken_by(draft) else { continue };
        draft.lost = true;
        let whose = format!("{} of {}", winner.name, winner.owner);
        draft.conflict = Some(fault(draft, reason, &whose));
    }
}

/// Marks those that clash with one another; one that has lost already is in nobody's way.
fn mark_within(drafts: &mut [Draft]) {
    let conflicts: Vec<Option<Fault>> = drafts
        .iter()
        .enumerate()
        .map(|(at, draft)| {
            let others = drafts.iter().enumerate().filter(|(other, _)| *other != at);
            let rivals = others.map(|(_, other)| other).filter(|other| other.is_accepted());
            draft.is_accepted().then(|| clash_among(draft, rivals)).flatten()
        })
        .collect();
    for (draft, conflict) in drafts.iter_mut().zip(conflicts) {
        draft.conflict = draft.conflict.take().or(conflict);
    }
}

/// The worst clash of `draft` with one of `others`; a protocol conflict is worse.
fn clash_among<'d>(draft: &Draft, others: impl Iterator<Item = &'d Draft>) -> Option<Fault> {
    let faults: Vec<Fault> =
        others.filter_map(|other| Some(fault(draft, clash(draft, other)?, &other.name))).collect();
    Fault::gather(&faults, &[Reason::ProtocolConflict, Reason::HostnameConflict])
}

fn fault(draft: &Draft, reason: Reason, whose: &str) -> Fault {
    let message = match reason {
        Reason::HostnameConflict => format!(
            "port {} and hostname {} are those of listener {whose} as well",
            draft.port, draft.hostname
        ),
        _ => format!(
            "port {} is shared with listener {whose}, whose protocol cannot be told apart",
            draft.port
        ),
    };
    Fault::new(reason, message)
}

/// Why two valid listeners cannot both be served on one address, if so.
fn clash(a: &Draft, b: &Draft) -> Option<Reason> {
    let (first, second) = (a.protocol?, b.protocol?);
    if a.port != b.port || first.transport() != second.transport() {
        return None;
    }
    match (share_by_hostname(first, second), a.hostname == b.hostname) {
        (true, true) => Some(Reason::HostnameConflict),
        (true, false) => None,
        (false, _) => Some(Reason::ProtocolConflict),
    }
}

/// Whether listeners of these protocols can be told apart on one port by their hostnames.
fn share_by_hostname(a: Protocol, b: Protocol) -> bool {
    (a.is_tls() && b.is_tls()) || (a == Protocol::Http && b == Protocol::Http)
}

/// Who sits on the ports of one address. All of one port get along with each other.
#[derive(Debug, Default)]
pub(super) struct Ports {
    by_port: BTreeMap<(u16, Transport), Occupants>,
}

/// Who sits on one port.
#[derive(Debug)]
struct Occupants {
    first: Occupant,
    by_hostname: HashMap<HostPattern, Occupant>,
}

/// A listener that sits on a port.
#[derive(Clone, Debug)]
pub(super) struct Occupant {
    protocol: Protocol,
    pub(super) name: Box<str>,
    pub(super) owner: ObjectKey,
}

impl Ports {
    /// Who keeps a listener from its port, and why.
    pub(super) fn taken_by(&self, draft: &Draft) -> Option<(Reason, &Occupant)> {
        let protocol = draft.protocol?;
        let Occupants { first, by_hostname } =
            self.by_port.get(&(draft.port, protocol.transport()))?;
        if !share_by_hostname(first.protocol, protocol) {
            return Some((Reason::ProtocolConflict, first));
        }
        Some((Reason::HostnameConflict, by_hostname.get(&draft.hostname)?))
    }

    /// Seats a listener on its port, which must be free for it.
    pub(super) fn take(&mut self, draft: &Draft, owner: &ObjectKey) {
        let Some(protocol) = draft.protocol else { return };
        let newcomer = Occupant { protocol, name: draft.name.clone(), owner: owner.clone() };
        let port = self.by_port.entry((draft.port, protocol.transport()));
        let occupants = port
            .or_insert_with(|| Occupants { first: newcomer.clone(), by_hostname: HashMap::new() });
        occupants.by_hostname.insert(draft.hostname.clone(), newcomer);
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, mark_conflicts};
    use crate::{
        api::{Kind, Listener, ListenerTlsConfig, ObjectKey, TlsModeType},
        resolve::{listener::Draft, note::Notes},
    };

    /// `PROTOCOL hostname port`, protocol `PASS` for TLS passthrough.
    fn listener(text: &str) -> Listener {
        let mut words = text.split(' ');
        let protocol = words.next().unwrap();
        let hostname = words.next().unwrap();
        let port = words.next().unwrap().parse().unwrap();
        let mut listener = match protocol {
            "PASS" => Listener::tls_passthrough(text, port),
            other => Listener::new(text, port, other.into()),
        };
        if matches!(protocol, "HTTPS" | "TLS") {
            let mode = Some(TlsModeType::Terminate);
            listener.tls = Some(ListenerTlsConfig { mode, ..ListenerTlsConfig::default() });
        }
        listener.hostname = (hostname != "-").then(|| hostname.into());
        listener
    }

    /// One list per object; expects the reasons in the same order, empty for none.
    #[track_caller]
    fn check(objects: &[&[&str]], expect: &[&str]) {
        let owner = ObjectKey::new(Kind::Gateway, "default", "gw");
        let mut notes = Notes::default();
        let mut drafts: Vec<Vec<Draft>> = objects
            .iter()
            .map(|texts| {
                let texts = texts.iter().enumerate();
                texts
                    .map(|(at, text)| Draft::new(&listener(text), at, &owner, &mut notes))
                    .collect()
            })
            .collect();
        let mut groups: Vec<Group<'_>> =
            drafts.iter_mut().map(|drafts| Group { owner: &owner, drafts }).collect();
        mark_conflicts(&mut groups, &mut notes);
        let reasons: Vec<String> = drafts
            .iter()
            .flatten()
            .map(|draft| match &draft.conflict {
                Some(fault) => fault.reason.to_string(),
                None => String::new(),
            })
            .collect();
        assert_eq!(reasons, expect, "{objects:?}");
    }

    const HOST: &str = "HostnameConflict";
    const PROTOCOL: &str = "ProtocolConflict";

    #[test]
    fn within_one_object_nobody_wins() {
        check(&[&["HTTP a.example 80", "HTTP b.example 80", "HTTP - 80"]], &["", "", ""]);
        check(&[&["HTTP a.example 80", "HTTP a.example 80"]], &[HOST, HOST]);
        check(&[&["HTTP - 80", "HTTP - 80", "HTTP - 81"]], &[HOST, HOST, ""]);
        check(&[&["HTTP a.example 80", "HTTPS b.example 80"]], &[PROTOCOL, PROTOCOL]);
        check(&[&["HTTPS a.example 443", "PASS b.example 443"]], &["", ""]);
        check(&[&["HTTPS a.example 443", "PASS a.example 443"]], &[HOST, HOST]);
        check(&[&["TLS a.example 443", "PASS b.example 443"]], &["", ""]);
        check(&[&["TCP - 80", "HTTP a.example 80"]], &[PROTOCOL, PROTOCOL]);
        check(&[&["TCP - 80", "TCP - 80"]], &[PROTOCOL, PROTOCOL]);
        check(&[&["TCP - 53", "UDP - 53"]], &["", ""]);
        check(&[&["SCTP - 80", "HTTP - 80"]], &["", ""]);
    }

    #[test]
    fn across_objects_the_first_wins() {
        check(&[&["HTTP a.example 80"], &["HTTP a.example 80"]], &["", HOST]);
        check(&[&["HTTP - 80"], &["TCP - 80"], &["HTTP - 80"]], &["", PROTOCOL, HOST]);
        check(&[&["HTTP - 80", "HTTP - 80"], &["HTTP - 80"]], &[HOST, HOST, ""]);
        check(
            &[&["HTTP - 80"], &["HTTP a.example 80", "TCP - 80", "HTTP a.example 80"]],
            &["", HOST, PROTOCOL, HOST],
        );
        check(
            &[&["HTTP - 80"], &["HTTP a.example 80", "TCP - 80", "HTTP b.example 80"]],
            &["", "", PROTOCOL, ""],
        );
    }
}
