//! Which listeners can be told apart on a port.
//!
//! In: the drafts of one Gateway and its ListenerSets, in order of precedence. Out: conflicts and
//! overlaps, marked in the drafts. Not here: other Gateways on the same socket (`bind`).

use crate::{
    api::{ObjectKey, Reason},
    diagnostic::Code,
    matcher::HostPattern,
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
    for at in 0..groups.len() {
        let (before, rest) = groups.split_at_mut(at);
        let group = &mut rest[0];
        mark_within(group.drafts);
        for draft in group.drafts.iter_mut().filter(|draft| draft.is_accepted()) {
            let lost = before.iter().find_map(|winner| {
                let others = winner.drafts.iter().filter(|other| other.is_accepted());
                clash_among(draft, others, &format!(" of {}", winner.owner))
            });
            draft.lost = lost.is_some();
            draft.conflict = lost;
        }
        for draft in &*group.drafts {
            if let Some(fault) = &draft.conflict {
                notes.fault(group.owner, draft.field.clone(), fault);
            }
        }
    }
}

fn mark_within(drafts: &mut [Draft]) {
    let conflicts: Vec<Option<Fault>> = drafts
        .iter()
        .enumerate()
        .map(|(at, draft)| {
            let others = drafts.iter().enumerate().filter(|(other, _)| *other != at);
            let valid = others.map(|(_, other)| other).filter(|other| other.invalid.is_none());
            draft.invalid.is_none().then(|| clash_among(draft, valid, "")).flatten()
        })
        .collect();
    for (draft, conflict) in drafts.iter_mut().zip(conflicts) {
        draft.conflict = conflict;
    }
}

/// The worst clash of `draft` with one of `others`; a protocol conflict is worse.
fn clash_among<'d>(
    draft: &Draft,
    others: impl Iterator<Item = &'d Draft>,
    whose: &str,
) -> Option<Fault> {
    let faults: Vec<Fault> = others
        .filter_map(|other| {
            let reason = clash(draft, other)?;
            let message = match reason {
                Reason::HostnameConflict => format!(
                    "port {} and hostname {} are those of listener {}{whose} as well",
                    draft.port, draft.hostname, other.name
                ),
                _ => format!(
                    "port {} is shared with listener {}{whose}, whose protocol cannot be told apart",
                    draft.port, other.name
                ),
            };
            Some(Fault::new(reason, message))
        })
        .collect();
    Fault::gather(&faults, &[Reason::ProtocolConflict, Reason::HostnameConflict])
}

/// Why two valid listeners cannot both be served on one address, if so.
pub(super) fn clash(a: &Draft, b: &Draft) -> Option<Reason> {
    let (first, second) = (a.protocol?, b.protocol?);
    if a.port != b.port || first.transport() != second.transport() {
        return None;
    }
    let by_hostname = (first.is_tls() && second.is_tls())
        || (first == Protocol::Http && second == Protocol::Http);
    match (by_hostname, a.hostname == b.hostname) {
        (true, true) => Some(Reason::HostnameConflict),
        (true, false) => None,
        (false, _) => Some(Reason::ProtocolConflict),
    }
}

/// Marks TLS listeners of one port that a client may take for each other: it may send requests for
/// one on a connection to the other.
// SPEC: OverlappingTLSConfig, on all listeners that are concerned.
pub(super) fn mark_overlaps(groups: &mut [Group<'_>], notes: &mut Notes) {
    let all: Vec<Draft> = groups
        .iter()
        .flat_map(|group| group.drafts.iter())
        .filter(|d| is_tls(d))
        .cloned()
        .collect();
    for group in groups {
        for draft in group.drafts.iter_mut().filter(|draft| is_tls(draft)) {
            let Some(fault) = all.iter().find_map(|other| overlap(draft, other)) else { continue };
            notes.warn(group.owner, draft.field.clone(), Code::TlsOverlap, &*fault.message);
            draft.overlapping = Some(fault);
        }
    }
}

fn is_tls(draft: &Draft) -> bool {
    draft.is_accepted() && draft.protocol.is_some_and(Protocol::is_tls)
}

fn overlap(draft: &Draft, other: &Draft) -> Option<Fault> {
    // Accepted listeners of one port and hostname are one and the same.
    if draft.port != other.port || draft.hostname == other.hostname {
        return None;
    }
    let (reason, what) = if draft.hostname.intersect(&other.hostname).is_some() {
        (Reason::OverlappingHostnames, "hostnames")
    } else {
        let names = |name: &HostPattern| {
            other.certificate_names.iter().any(|theirs| theirs.intersect(name).is_some())
        };
        draft.certificate_names.iter().find(|name| names(name))?;
        (Reason::OverlappingCertificates, "names of the certificates")
    };
    let message = format!(
        "the {what} of listeners {} ({}) and {} ({}) on port {} overlap; requests for one on a \
         connection to the other are answered with 421",
        draft.name, draft.hostname, other.name, other.hostname, draft.port
    );
    Some(Fault::new(reason, message))
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
    }
}
