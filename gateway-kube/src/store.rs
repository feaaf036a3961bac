//! What the watches have seen so far.
//!
//! In: [`Message`]s. Out: [`Change`]s for the snapshot, and the [`Version`]s that statuses are
//! written against. Not here: the resources themselves; the snapshot has them.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::{
    api::{EXPERIMENTAL_GROUP, Kind, ObjectKey},
    snapshot::Change,
};

use tokio::time::Instant;

use crate::{
    notice::{Notice, Notices},
    object::{Read, Version, has_status},
    watch::{Failure, Followed, Message, News, Target, WatchId},
};

/// Keeps track of all watches.
pub(crate) struct Store {
    watches: BTreeMap<WatchId, Seen>,
    versions: BTreeMap<ObjectKey, Version>,
    /// Objects that cannot be read, and why.
    unreadable: BTreeMap<ObjectKey, String>,
    notices: Notices,
    /// Whether the API server did not answer the last time.
    lost: bool,
}

/// What one watch has seen.
#[derive(Debug)]
struct Seen {
    target: Target,
    keys: BTreeSet<ObjectKey>,
    /// Those of the list that is under way.
    listing: Option<BTreeSet<ObjectKey>>,
    began: Instant,
    /// Whether a list was complete.
    listed: bool,
    /// Whether we may not look, or the kind is gone.
    refused: bool,
}

/// What messages came to.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// For the snapshot.
    pub(crate) changes: Vec<Change>,
    /// Objects whose stored status is new or differs.
    pub(crate) stored: Vec<ObjectKey>,
    /// Whether a kind turned out not to be served any more.
    pub(crate) unserved: bool,
}

impl Store {
    pub(crate) fn new(notices: Notices) -> Self {
        Self {
            watches: BTreeMap::new(),
            versions: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            notices,
            lost: false,
        }
    }

    /// Whether everything that is watched was seen once.
    pub(crate) fn is_complete(&self) -> bool {
        // Without right to read a certificate only what needs it is not served, and experimental
        // kinds may be left out of the rights; without right to list one of the others nothing can
        // be said about anything.
        let spared = |target: &Target| {
            matches!(target, Target::One(_)) || target.kind().group() == EXPERIMENTAL_GROUP
        };
        let seen = |seen: &Seen| seen.listed || (seen.refused && spared(&seen.target));
        self.watches.values().all(seen)
    }

    /// When the youngest watch began that has seen nothing yet; none if all have.
    pub(crate) fn began(&self) -> Option<Instant> {
        let starting = self.watches.values().filter(|seen| !seen.listed && !seen.refused);
        starting.map(|seen| seen.began).max()
    }

    /// The stored form of an object.
    pub(crate) fn version(&self, key: &ObjectKey) -> Option<&Version> {
        self.versions.get(key)
    }

    /// Why an object cannot be read; none if it can.
    pub(crate) fn unreadable(&self, key: &ObjectKey) -> Option<&str> {
        self.unreadable.get(key).map(String::as_str)
    }

    /// The objects of a kind that are there and cannot be read.
    pub(crate) fn all_unreadable(&self, kind: Kind) -> impl Iterator<Item = &ObjectKey> {
        self.unreadable.keys().filter(move |key| key.kind == kind)
    }

    /// Learns the stored form from an answer, before a watch tells it. If the watch was faster, what
    /// it told stays.
    pub(crate) fn learn(&mut self, key: &ObjectKey, version: Option<Version>) {
        match version {
            Some(version) => {
                if let Some(known) = self.versions.get_mut(key)
                    && !version.is_before(known)
                {
                    *known = version;
                }
            }
            None => {
                self.versions.remove(key);
            }
        }
    }

    /// Learns of watches that were stopped and started.
    pub(crate) fn follow(&mut self, followed: Followed, taken: &mut Taken) {
        let mut orphans = BTreeMap::new();
        for watch in followed.stopped {
            if let Some(seen) = self.watches.remove(&watch) {
                orphans.insert(seen.target, seen.keys);
            }
        }
        for (watch, target) in followed.started {
            // Where a watch goes on in another version, what was seen stays until it has a list.
            let keys = orphans.remove(&target).unwrap_or_default();
            let began = Instant::now();
            let seen = Seen { target, keys, listing: None, began, listed: false, refused: false };
            self.watches.insert(watch, seen);
        }
        orphans.into_values().for_each(|keys| self.forget(keys, taken));
    }

    /// Takes a message.
    pub(crate) fn take(&mut self, message: Message, taken: &mut Taken) {
        let Some(seen) = self.watches.get_mut(&message.watch) else {
            // Sent before the watch was stopped.
            return;
        };
        let failed = matches!(message.news, News::Failed(_) | News::Listing);
        match message.news {
            News::Listing => seen.listing = Some(BTreeSet::new()),
            News::Object(read) => self.object(message.watch, read, taken),
            News::Gone(key) => {
                seen.keys.remove(&key);
                self.forget([key], taken);
            }
            News::Listed => {
                seen.listed = true;
                seen.refused = false;
                let listed = seen.listing.take().unwrap_or_default();
                let gone: Vec<_> = seen.keys.difference(&listed).cloned().collect();
                seen.keys = listed;
                self.forget(gone, taken);
            }
            News::Failed(failure) => self.failed(message.watch, &failure, taken),
        }
        if !failed && std::mem::take(&mut self.lost) {
            (self.notices)(Notice::Back);
        }
    }

    fn object(&mut self, watch: WatchId, read: Read, taken: &mut Taken) {
        let Some(seen) = self.watches.get_mut(&watch) else { return };
        let (key, version) = match &read {
            Read::Whole(resource, version) => (resource.key(), version),
            Read::Unreadable(key, version, _) => (key.clone(), version),
        };
        if has_status(key.kind) && self.versions.get(&key) != Some(version) {
            self.versions.insert(key.clone(), version.clone());
            taken.stored.push(key.clone());
        }
        seen.keys.insert(key.clone());
        if let Some(listing) = &mut seen.listing {
            listing.insert(key.clone());
        }
        match read {
            Read::Whole(resource, _) => {
                self.unreadable.remove(&key);
                taken.changes.push(Change::Upsert(*resource));
            }
            // An object that cannot be read is one that we do not have: serving what it said
            // before would hide from its owner that the change did not arrive.
            Read::Unreadable(_, _, error) => {
                taken.changes.push(Change::Remove(key.clone()));
                if self.unreadable.get(&key) != Some(&error) {
                    (self.notices)(Notice::Unreadable { key: key.clone(), error: error.clone() });
                    self.unreadable.insert(key, error);
                }
            }
        }
    }

    fn failed(&mut self, watch: WatchId, failure: &Failure, taken: &mut Taken) {
        let Some(seen) = self.watches.get_mut(&watch) else { return };
        let refused = match failure.code {
            // The place to go on from is too old; the list that follows is no news.
            Some(410) => return,
            // The kind or its namespace is gone.
            Some(404) => {
                taken.unserved = true;
                true
            }
            Some(401 | 403) => true,
            _ => false,
        };
        if !refused {
            if !std::mem::replace(&mut self.lost, true) {
                (self.notices)(Notice::Lost(failure.text.clone()));
            }
            return;
        }
        if std::mem::replace(&mut seen.refused, true) {
            return;
        }
        let object = match &seen.target {
            Target::All(_) => None,
            Target::One(key) => Some((key.namespace.to_string(), key.name.to_string())),
        };
        let kind = seen.target.kind();
        (self.notices)(Notice::Unwatched { kind, object, error: failure.text.clone() });
    }

    fn forget(&mut self, keys: impl IntoIterator<Item = ObjectKey>, taken: &mut Taken) {
        for key in keys {
            self.versions.remove(&key);
            self.unreadable.remove(&key);
            taken.changes.push(Change::Remove(key));
        }
    }

    /// How many objects of a kind are known.
    pub(crate) fn count(&self, kinds: &[Kind]) -> usize {
        let of_kinds = self.watches.values().filter(|seen| kinds.contains(&seen.target.kind()));
        of_kinds.map(|seen| seen.keys.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_core::api::{Kind, ObjectKey};

    use super::Store;
    use crate::object::Version;

    fn version(resource_version: &str) -> Version {
        Version { resource_version: resource_version.to_owned(), ..Version::default() }
    }

    #[track_caller]
    fn check(told: Option<&str>, answer: &str, expect: Option<&str>) {
        let mut store = Store::new(Arc::new(|_| {}));
        let key = ObjectKey::new(Kind::Gateway, "a", "gw");
        store.versions.extend(told.map(|told| (key.clone(), version(told))));
        store.learn(&key, Some(version(answer)));
        let known = store.version(&key).map(|known| &*known.resource_version);
        assert_eq!(known, expect, "{told:?} {answer}");
    }

    #[test]
    fn an_answer_never_puts_back_what_a_watch_told_since() {
        check(Some("9"), "10", Some("10"));
        check(Some("10"), "9", Some("10"));
        check(Some("10"), "10", Some("10"));
        check(Some("10"), "b", Some("b"));
        check(Some("b"), "9", Some("9"));
        check(None, "9", None);
    }
}
