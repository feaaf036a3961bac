//! TLS listeners that clients may take for each other.
//!
//! In: the drafts of one Gateway and its ListenerSets. Out: overlaps, marked in the drafts. Not
//! here: listeners that claim the very same (`distinct`).

use std::collections::BTreeMap;

use crate::{api::Reason, diagnostic::Code, matcher::HostPattern};

use super::{
    distinct::Group,
    listener::{Draft, Protocol},
    note::Notes,
    status::Fault,
};

/// Marks TLS listeners of one port whose hostnames, or the names of whose certificates, overlap: a
/// client may send requests for one on a connection to the other.
// SPEC: OverlappingTLSConfig, on all listeners that are concerned.
pub(super) fn mark_overlaps(groups: &mut [Group<'_>], notes: &mut Notes) {
    let all: Vec<Draft> = groups
        .iter()
        .flat_map(|group| group.drafts.iter())
        .filter(|draft| is_tls(draft))
        .cloned()
        .collect();
    let (mut hostnames, mut certificates) = (Names::default(), Names::default());
    for (at, draft) in all.iter().enumerate() {
        hostnames.add(draft.port, &draft.hostname, at);
        for name in &draft.certificate_names {
            certificates.add(draft.port, name, at);
        }
    }
    for group in groups {
        for draft in group.drafts.iter_mut().filter(|draft| is_tls(draft)) {
            let Some(fault) = overlap(draft, &all, &hostnames, &certificates) else { continue };
            notes.warn(group.owner, draft.field.clone(), Code::TlsOverlap, &*fault.message);
            draft.overlapping = Some(fault);
        }
    }
}

fn is_tls(draft: &Draft) -> bool {
    draft.is_accepted() && draft.protocol.is_some_and(Protocol::is_tls)
}

fn overlap(draft: &Draft, all: &[Draft], hostnames: &Names, certificates: &Names) -> Option<Fault> {
    // Accepted listeners of one port and hostname are one and the same.
    let is_other = |at: usize| all[at].hostname != draft.hostname;
    let by_hostname = hostnames.find(draft.port, &draft.hostname, is_other);
    let by_certificate = || {
        let names = draft.certificate_names.iter();
        names.into_iter().find_map(|name| certificates.find(draft.port, name, is_other))
    };
    let (reason, what, other) = match by_hostname {
        Some(at) => (Reason::OverlappingHostnames, "hostnames", &all[at]),
        None => {
            let other = &all[by_certificate()?];
            (Reason::OverlappingCertificates, "names of the certificates", other)
        }
    };
    let message = format!(
        "the {what} of listeners {} ({}) and {} ({}) on port {} overlap; requests for one on a \
         connection to the other are answered with 421",
        draft.name, draft.hostname, other.name, other.hostname, draft.port
    );
    Some(Fault::new(reason, message))
}

/// Host patterns by port, written backwards so that what a wildcard covers stands together.
///
/// `a.example` is `elpmaxe.a`, `*.example` is `elpmaxe.`, and any host is the empty text: one
/// pattern covers another if it is any, or ends in `.`, and is the beginning of the other.
#[derive(Debug, Default)]
struct Names {
    places: BTreeMap<(u16, String), Vec<usize>>,
}

impl Names {
    fn add(&mut self, port: u16, name: &HostPattern, at: usize) {
        self.places.entry((port, backwards(name))).or_default().push(at);
    }

    /// A place among those whose name overlaps with `name`.
    fn find(&self, port: u16, name: &HostPattern, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let first = |places: &Vec<usize>| places.iter().copied().find(|at| wanted(*at));
        let text = backwards(name);
        let wildcards = text.match_indices('.').map(|(dot, _)| &text[..=dot]);
        let wider = std::iter::once("").chain(wildcards).chain([&*text]);
        let wider = wider.filter_map(|wider| self.places.get(&(port, wider.to_owned())));
        if let Some(found) = wider.into_iter().find_map(first) {
            return Some(found);
        }
        if matches!(name, HostPattern::Exact(_)) {
            return None;
        }
        let covered = self.places.range((port, text.clone())..);
        covered
            .take_while(|((of, key), _)| *of == port && key.starts_with(&text))
            .find_map(|(_, places)| first(places))
    }
}

fn backwards(name: &HostPattern) -> String {
    match name {
        HostPattern::Any => String::new(),
        HostPattern::Exact(text) | HostPattern::Wildcard(text) => text.chars().rev().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::matcher::HostPattern;

    /// The index agrees with [`HostPattern::intersect`] on every pair.
    #[test]
    fn what_overlaps_is_found() {
        let texts = ["", "*.x", "*.b.x", "x", "b.x", "a.b.x", "ab.x", "*.ab.x", "*.y", "bx"];
        for stored in texts.map(HostPattern::new) {
            let mut names = Names::default();
            names.add(443, &stored, 7);
            for asked in texts.map(HostPattern::new) {
                let expect = stored.intersect(&asked).map(|_| 7);
                assert_eq!(names.find(443, &asked, |_| true), expect, "{stored} {asked}");
                assert_eq!(names.find(444, &asked, |_| true), None);
                assert_eq!(names.find(443, &asked, |_| false), None);
            }
        }
    }
}
