//! What goes over the stream.
//!
//! In: changes of a snapshot, reports. Out: messages of bounded size, and changes again. Not here:
//! when they are sent.
//!
//! A revision is a run of chunks from one that `begins` to one that `ends`. An object that does not
//! fit into a chunk goes on in the next one.

use gateway_core::{
    api::{Kind, ObjectKey, Resource},
    snapshot::Change,
};

/// Bytes of the entries of a chunk.
const CHUNK: usize = 256 << 10;

/// Bytes of an entry beside its names and its object, at most.
const ENTRY: usize = 64;

/// Bytes of an encoded message: a chunk, and more than its other fields need.
pub(super) const LARGEST_MESSAGE: usize = CHUNK + (64 << 10);

/// Bytes of one object. The API server takes 3 MiB at most.
const LARGEST_OBJECT: usize = 8 << 20;

/// Entries of a chunk, so that many removals are bounded as well.
const MOST_ENTRIES: usize = 256;

/// From the controller to a data plane.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Chunk {
    /// Counts the revisions of a stream.
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(bool, tag = "2")]
    pub(super) begins: bool,
    /// Whether what the revision does not have is gone; else it is the difference to the one before.
    #[prost(bool, tag = "3")]
    pub(super) whole: bool,
    #[prost(bool, tag = "4")]
    pub(super) ends: bool,
    #[prost(message, repeated, tag = "5")]
    pub(super) entries: Vec<Entry>,
}

/// One object, or a part of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bool, tag = "4")]
    pub(super) removed: bool,
    /// The object as JSON.
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) object: bytes::Bytes,
    /// Whether the next entry goes on with the same object.
    #[prost(bool, tag = "6")]
    pub(super) continues: bool,
}

/// From a data plane to the controller: what became of a revision.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReportMessage {
    /// The revision that is served; 0 for none of this stream yet.
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) binds: Vec<BindMessage>,
    /// Whether one of an earlier stream is served. Who does not know this field says no.
    #[prost(bool, tag = "3")]
    pub(super) earlier: bool,
}

/// Of one socket.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BindMessage {
    #[prost(uint32, tag = "1")]
    pub(super) port: u32,
    #[prost(bool, tag = "2")]
    pub(super) udp: bool,
    /// Why it is not open; empty if it is.
    #[prost(string, tag = "3")]
    pub(super) error: String,
}

/// A change that cannot be sent or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("{0} has {1} bytes, more than {LARGEST_OBJECT}")]
    TooLarge(String, usize),
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    #[error("a chunk of revision {0} came in the middle of revision {1}")]
    OutOfOrder(u64, u64),
}

// === Sending ===

/// Cuts a revision into chunks. Objects that cannot be sent are told, and left out.
pub(super) fn chunks(
    revision: u64,
    whole: bool,
    changes: Vec<Change>,
) -> (Vec<Chunk>, Vec<MessageError>) {
    let mut cutter = Cutter::new(revision, whole);
    let mut errors = Vec::new();
    for change in changes {
        match change {
            Change::Upsert(resource) => {
                let key = resource.key();
                match serde_json::to_vec(&resource) {
                    Ok(json) if json.len() <= LARGEST_OBJECT => cutter.object(&key, json.into()),
                    Ok(json) => errors.push(MessageError::TooLarge(key.to_string(), json.len())),
                    Err(error) => {
                        errors.push(MessageError::Unreadable(key.to_string(), error.to_string()));
                    }
                }
            }
            Change::Remove(key) => cutter.push(Entry { removed: true, ..entry(&key) }),
            Change::Observed(_) => {}
        }
    }
    (cutter.finish(), errors)
}

fn entry(key: &ObjectKey) -> Entry {
    Entry {
        kind: key.kind.as_str().to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        ..Entry::default()
    }
}

/// Bytes that an entry takes of a chunk.
fn size(entry: &Entry) -> usize {
    ENTRY + entry.kind.len() + entry.namespace.len() + entry.name.len() + entry.object.len()
}

struct Cutter {
    /// Those that are complete.
    chunks: Vec<Chunk>,
    current: Chunk,
    /// Bytes that the current one can still take.
    room: usize,
}

impl Cutter {
    fn new(revision: u64, whole: bool) -> Self {
        let current = Chunk { revision, whole, begins: true, ..Chunk::default() };
        Self { chunks: Vec::new(), current, room: CHUNK }
    }

    fn object(&mut self, key: &ObjectKey, mut json: bytes::Bytes) {
        let names = size(&entry(key));
        // Objects are cut only if no chunk has room for them.
        if names + json.len() > self.room && names + json.len() <= CHUNK {
            self.next();
        }
        loop {
            // Before the part is measured, since it is to fit where it goes.
            if self.is_full(names + 1) {
                self.next();
            }
            // Whatever the names take, it goes on.
            let room = self.room.saturating_sub(names).max(1);
            let part = json.split_to(json.len().min(room));
            let continues = !json.is_empty();
            self.push(Entry { object: part, continues, ..entry(key) });
            if !continues {
                return;
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        let size = size(&entry);
        if self.is_full(size) {
            self.next();
        }
        self.room = self.room.saturating_sub(size);
        self.current.entries.push(entry);
    }

    /// Whether an entry of this size needs a new chunk.
    fn is_full(&self, size: usize) -> bool {
        let entries = self.current.entries.len();
        entries >= MOST_ENTRIES || (entries > 0 && self.room < size)
    }

    fn next(&mut self) {
        let (revision, whole) = (self.current.revision, self.current.whole);
        let next = Chunk { revision, whole, ..Chunk::default() };
        self.chunks.push(std::mem::replace(&mut self.current, next));
        self.room = CHUNK;
    }

    fn finish(mut self) -> Vec<Chunk> {
        self.current.ends = true;
        self.chunks.push(self.current);
        self.chunks
    }
}

// === Receiving ===

/// Puts chunks together again.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    revision: u64,
    whole: bool,
    changes: Vec<Change>,
    part: Vec<u8>,
    unreadable: Vec<MessageError>,
}

/// A revision as it was sent.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) revision: u64,
    pub(super) whole: bool,
    pub(super) changes: Vec<Change>,
    /// Objects that this version cannot read; the others count.
    pub(super) unreadable: Vec<MessageError>,
}

impl Assembler {
    /// Takes a chunk; gives the revision once it is complete.
    ///
    /// # Errors
    /// If chunks are missing or an object is too large, so that the stream must begin anew.
    pub(super) fn take(&mut self, chunk: &Chunk) -> Result<Option<Assembled>, MessageError> {
        if chunk.begins {
            *self = Self { revision: chunk.revision, whole: chunk.whole, ..Self::default() };
        } else if chunk.revision != self.revision {
            return Err(MessageError::OutOfOrder(chunk.revision, self.revision));
        }
        for entry in &chunk.entries {
            self.entry(entry)?;
        }
        if !chunk.ends {
            return Ok(None);
        }
        let taken = std::mem::take(self);
        Ok(Some(Assembled {
            revision: taken.revision,
            whole: taken.whole,
            changes: taken.changes,
            unreadable: taken.unreadable,
        }))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), MessageError> {
        let size = self.part.len() + entry.object.len();
        if size > LARGEST_OBJECT {
            return Err(MessageError::TooLarge(said(entry), size));
        }
        self.part.extend_from_slice(&entry.object);
        if entry.continues {
            return Ok(());
        }
        let json = std::mem::take(&mut self.part);
        // A kind that a newer controller knows is of no use here.
        let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.as_str() == entry.kind) else {
            return Ok(());
        };
        if entry.removed {
            self.changes.push(Change::Remove(ObjectKey::new(kind, &entry.namespace, &entry.name)));
            return Ok(());
        }
        match Resource::deserialize(kind, &mut serde_json::Deserializer::from_slice(&json)) {
            Ok(resource) => self.changes.push(Change::Upsert(resource)),
            Err(error) => {
                self.unreadable.push(MessageError::Unreadable(said(entry), error.to_string()));
            }
        }
        Ok(())
    }
}

fn said(entry: &Entry) -> String {
    format!("{} {}/{}", entry.kind, entry.namespace, entry.name)
}

#[cfg(test)]
mod tests {
    use gateway_core::{
        api::{ConfigMap, Gateway, Kind, ObjectKey, Resource},
        snapshot::{Change, Snapshot},
    };
    use proptest::prelude::*;
    use prost::Message;

    use super::{
        Assembler, CHUNK, Chunk, Entry, LARGEST_MESSAGE, LARGEST_OBJECT, MOST_ENTRIES,
        MessageError, chunks,
    };

    fn map(name: &str, size: usize) -> Resource {
        let mut map = ConfigMap::default();
        map.metadata.namespace = "a".to_owned();
        map.metadata.name = name.to_owned();
        map.data.insert("k".to_owned(), "x".repeat(size));
        map.into()
    }

    fn pass(changes: Vec<Change>) -> Vec<Change> {
        let (chunks, errors) = chunks(7, true, changes);
        assert!(errors.is_empty(), "{errors:?}");
        let mut assembler = Assembler::default();
        let count = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            let encoded = chunk.encode_to_vec();
            assert!(encoded.len() <= LARGEST_MESSAGE, "{}", encoded.len());
            let chunk = Chunk::decode(&*encoded).expect("what is encoded can be decoded");
            match assembler.take(&chunk).expect("chunks are in order") {
                Some(revision) => {
                    assert_eq!((at + 1, revision.revision, revision.whole), (count, 7, true));
                    assert!(revision.unreadable.is_empty());
                    return revision.changes;
                }
                None => assert!(at + 1 < count),
            }
        }
        panic!("the revision has no end");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn revisions_arrive_as_they_were_sent(
            sizes in proptest::collection::vec(0..700_000_usize, 0..6),
            removals in 0..600_usize,
        ) {
            let maps = sizes.iter().enumerate();
            let maps = maps.map(|(at, size)| Change::Upsert(map(&format!("m{at}"), *size)));
            let key = |at: usize| ObjectKey::new(Kind::ConfigMap, "a", &format!("r{at}"));
            let removals = (0..removals).map(|at| Change::Remove(key(at)));
            let changes: Vec<Change> = maps.chain(removals).collect();
            let got = pass(changes.clone());
            prop_assert_eq!(format!("{got:?}"), format!("{changes:?}"));
        }
    }

    #[test]
    fn what_follows_many_removals_fits_into_messages() {
        let key = |at: usize| ObjectKey::new(Kind::ConfigMap, "a", &format!("r{at}"));
        let removals = (0..MOST_ENTRIES).map(|at| Change::Remove(key(at)));
        let maps = [150_000, 250_000].map(|size| Change::Upsert(map("m", size)));
        let changes: Vec<Change> = removals.chain(maps).collect();
        assert_eq!(format!("{:?}", pass(changes.clone())), format!("{changes:?}"));
    }

    #[test]
    fn long_names_count() {
        let name = |at: usize| format!("{at:0>253}.{}", "n".repeat(2000));
        let changes: Vec<Change> = (0..300).map(|at| Change::Upsert(map(&name(at), 1))).collect();
        assert_eq!(pass(changes).len(), 300);
    }

    #[test]
    fn an_empty_revision_is_one() {
        assert!(pass(Vec::new()).is_empty());
    }

    #[test]
    fn what_is_too_large_is_told_and_the_rest_is_sent() {
        let changes = vec![
            Change::Upsert(map("big", LARGEST_OBJECT)),
            Change::Upsert(Gateway::new("a", "gw").into()),
        ];
        let (sent, errors) = chunks(1, false, changes);
        assert!(matches!(&*errors, [MessageError::TooLarge(what, _)] if what == "ConfigMap a/big"));
        assert_eq!(sent.iter().map(|chunk| chunk.entries.len()).sum::<usize>(), 1);
    }

    #[test]
    fn hostile_chunks_end_the_stream_and_nothing_worse() {
        let part = Entry { object: vec![b' '; CHUNK].into(), continues: true, ..Entry::default() };
        let mut assembler = Assembler::default();
        let begins =
            Chunk { revision: 1, begins: true, entries: vec![part.clone()], ..Chunk::default() };
        assert!(assembler.take(&begins).is_ok());
        let goes_on = Chunk { revision: 1, entries: vec![part], ..Chunk::default() };
        let ended = (0..100).find_map(|_| assembler.take(&goes_on).err());
        assert!(matches!(ended, Some(MessageError::TooLarge(..))), "{ended:?}");
        let stray = Chunk { revision: 9, ..Chunk::default() };
        assert_eq!(assembler.take(&stray).err(), Some(MessageError::OutOfOrder(9, 1)));
        let odd = |kind: &str, object: &'static [u8]| Chunk {
            revision: 2,
            begins: true,
            ends: true,
            entries: vec![Entry {
                kind: kind.to_owned(),
                object: object.into(),
                ..Entry::default()
            }],
            ..Chunk::default()
        };
        let taken =
            |chunk: Chunk| Assembler::default().take(&chunk).ok().flatten().expect("complete");
        assert_eq!(taken(odd("HTTPRoute", b"{\"spec\": 7}")).unreadable.len(), 1);
        assert_eq!(taken(odd("Sprocket", b"{}")).unreadable.len(), 0);
    }

    #[test]
    fn secrets_keep_their_values() {
        let secret = serde_json::json!({
            "metadata": {"namespace": "a", "name": "cert"},
            "type": "kubernetes.io/tls",
            "data": {"tls.key": "aHVudGVyMg=="},
        });
        let secret = Resource::deserialize(Kind::Secret, secret).expect("a Secret");
        let got: Snapshot = pass(vec![Change::Upsert(secret)])
            .into_iter()
            .filter_map(|change| match change {
                Change::Upsert(resource) => Some(resource),
                _ => None,
            })
            .collect();
        let secret = got.secret("a", "cert").expect("the Secret is there");
        assert_eq!(secret.value("tls.key").expect("base64").as_deref(), Some(&b"hunter2"[..]));
    }
}
