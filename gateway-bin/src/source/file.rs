//! The configuration in files.
//!
//! In: the paths of the command line. Out: all objects that an API server would take, and what is
//! wrong with the others. Not here: when to read again (`watch`), and what the objects mean
//! together.
//!
//! An object that an API server would refuse is left out, and the rest goes on. When files are
//! read again, what worked before is kept: all objects of a file that cannot be read, and the
//! earlier version of an object that is refused now. Only what is really gone is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

use gateway_core::{
    api::{ObjectKey, Resource},
    diagnostic::{Code, Diagnostic},
    snapshot::Change,
};

use super::{
    Revision,
    content::{Content, add_help, unreadable},
    discover::{SourceFile, discover},
    watch::Reload,
};

/// The path that means standard input.
const STDIN: &str = "-";

/// The objects of some files and folders.
#[derive(Debug, Default)]
pub struct FileSource {
    roots: Vec<PathBuf>,
    files: BTreeMap<FileKey, File>,
    /// The roots that could not be read, by their place in `roots`.
    missing: BTreeMap<usize, Diagnostic>,
    /// Which files define an object. The first of them counts.
    owners: BTreeMap<ObjectKey, BTreeSet<FileKey>>,
}

/// A file by its root, as a place in [`FileSource::roots`], and its path; ordered as they are read.
type FileKey = (usize, PathBuf);

/// A file as it was when it was last read.
#[derive(Debug)]
struct File {
    found: SourceFile,
    /// Tells contents apart.
    digest: u64,
    /// What is in use.
    content: Content,
    /// What is there, if it is broken and something earlier is in use.
    broken: Option<Content>,
}

impl FileSource {
    /// Reads all files below some paths; `-` is standard input.
    #[must_use]
    pub fn open(roots: &[PathBuf]) -> Self {
        let mut source = Self { roots: roots.to_vec(), ..Self::default() };
        source.refresh();
        source
    }

    /// All objects that were not refused.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.owners.keys().filter_map(|object| self.resource(object))
    }

    /// All that has been read, as a step from nothing.
    #[must_use]
    pub fn revision(&self) -> Revision {
        let changes = self.resources().cloned().map(Change::Upsert).collect();
        Revision { changes, diagnostics: self.diagnostics() }
    }

    /// All that is wrong with the files and with each object on its own, in the order of the files.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut diagnostics: Vec<_> = self.missing.values().cloned().collect();
        for (key, file) in &self.files {
            let content = file.broken.as_ref().unwrap_or(&file.content);
            diagnostics.extend_from_slice(content.diagnostics());
            let second = |object: &&ObjectKey| self.owner(object) != Some(key);
            let seconds = file.content.keys().filter(second);
            diagnostics.extend(seconds.map(|object| self.duplicate(object, file)));
        }
        diagnostics
    }

    /// How many files were found.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The text of a file by the name that spans give.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, file) = self.files.iter().find(|(key, _)| display_name(&key.1) == name)?;
        let broken = file.broken.as_ref().and_then(|content| content.sources().text(name));
        broken.or_else(|| file.content.sources().text(name))
    }

    /// Fills in the place of a finding about an object.
    pub fn place(&self, diagnostic: &mut Diagnostic) {
        let owner = diagnostic.object.as_ref().and_then(|object| self.owner(object));
        if let Some(file) = owner.and_then(|owner| self.files.get(owner)) {
            file.content.sources().place(diagnostic);
        }
    }

    /// The file whose version of an object counts.
    fn owner(&self, object: &ObjectKey) -> Option<&FileKey> {
        self.owners.get(object)?.first()
    }

    fn resource(&self, object: &ObjectKey) -> Option<&Resource> {
        self.files.get(self.owner(object)?)?.content.resource(object)
    }

    fn duplicate(&self, object: &ObjectKey, second: &File) -> Diagnostic {
        let first =
            self.owner(object).and_then(|owner| self.files.get(owner)?.content.span(object));
        let message = match first {
            Some(first) => format!("{object} is already defined at {first}"),
            None => format!("{object} is already defined"),
        };
        let mut diagnostic = Diagnostic::error(Code::DuplicateObject, message)
            .help("only the first one is read; remove or rename one of them")
            .object(object.clone());
        diagnostic.span = second.content.span(object).cloned();
        diagnostic
    }

    /// Brings everything up to date with the files: which objects that concerns; none if nothing
    /// has changed.
    fn refresh(&mut self) -> Option<BTreeSet<ObjectKey>> {
        let (found, missing) = self.discover();
        let mut changed = missing != self.missing;
        let mut affected = BTreeSet::new();
        // What is below a root that vanished as a whole stays, in case it comes back.
        let is_gone = |key: &&FileKey| !found.contains_key(key) && !missing.contains_key(&key.0);
        for key in self.files.keys().filter(is_gone).cloned().collect::<Vec<_>>() {
            self.replace(key, None, &mut affected);
            changed = true;
        }
        for (key, found) in found {
            changed |= self.read(key, found, &mut affected);
        }
        self.missing = missing;
        changed.then_some(affected)
    }

    /// The files that are there, and the roots that are not.
    fn discover(&self) -> (BTreeMap<FileKey, SourceFile>, BTreeMap<usize, Diagnostic>) {
        let mut seen = BTreeSet::new();
        let mut files = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for (index, root) in self.roots.iter().enumerate() {
            let found = if is_stdin(root) {
                Ok(vec![SourceFile::once(root)])
            } else {
                discover(root, &mut seen)
            };
            match found {
                Ok(found) => {
                    files.extend(found.into_iter().map(|file| ((index, file.path.clone()), file)));
                }
                Err(error) => {
                    let mut diagnostic = unreadable(&display_name(root), &error);
                    if self.files.keys().any(|key| key.0 == index) {
                        add_help(&mut diagnostic, "until then what was in it stays in use");
                    }
                    missing.insert(index, diagnostic);
                }
            }
        }
        (files, missing)
    }

    /// Reads a file that may have changed; true if it has.
    fn read(
        &mut self,
        key: FileKey,
        found: SourceFile,
        affected: &mut BTreeSet<ObjectKey>,
    ) -> bool {
        let earlier = self.files.get_mut(&key);
        let is_known = |file: &File| is_stdin(&key.1) || found.is_unchanged(&file.found);
        if earlier.as_ref().is_some_and(|file| is_known(file)) {
            return false;
        }
        let bytes = read_bytes(&found.path);
        let digest = bytes.as_ref().map_or_else(|error| digest(error.kind()), digest);
        let name = display_name(&found.path);
        let parse = || match bytes {
            Ok(bytes) => Content::parse(&name, bytes),
            Err(error) => Content::unreadable(&name, &error),
        };
        let Some(file) = earlier else {
            self.replace(
                key,
                Some(File { found, digest, content: parse(), broken: None }),
                affected,
            );
            return true;
        };
        file.found = found;
        if std::mem::replace(&mut file.digest, digest) == digest {
            return false;
        }
        let mut content = parse();
        if content.is_broken() {
            content.note_kept();
            file.broken = Some(content);
        } else {
            content.keep_from(&file.content);
            let found = file.found.clone();
            self.replace(key, Some(File { found, digest, content, broken: None }), affected);
        }
        true
    }

    /// Puts a file in the place of its earlier version, and tells which objects that concerns.
    fn replace(&mut self, key: FileKey, file: Option<File>, affected: &mut BTreeSet<ObjectKey>) {
        if let Some(earlier) = self.files.remove(&key) {
            for object in earlier.content.keys() {
                if let Some(owners) = self.owners.get_mut(object) {
                    owners.remove(&key);
                }
                affected.insert(object.clone());
            }
        }
        let Some(file) = file else { return };
        for object in file.content.keys() {
            self.owners.entry(object.clone()).or_default().insert(key.clone());
            affected.insert(object.clone());
        }
        self.files.insert(key, file);
    }
}

impl Reload for FileSource {
    type Revision = Revision;

    fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    fn link_targets(&self) -> BTreeSet<PathBuf> {
        let targets = self.files.values().filter_map(|file| file.found.link_target());
        targets.map(Path::to_owned).collect()
    }

    fn is_stale(&self) -> bool {
        let (found, missing) = self.discover();
        let known = |(key, found): (&FileKey, &SourceFile)| {
            self.files.get(key).is_some_and(|file| file.found == *found)
        };
        missing != self.missing
            || found.len() < self.files.keys().filter(|key| !missing.contains_key(&key.0)).count()
            || !found.iter().all(known)
    }

    fn reload(&mut self) -> Option<Revision> {
        let affected = self.refresh()?;
        let mut changes = Vec::with_capacity(affected.len());
        for object in affected {
            match self.resource(&object) {
                Some(resource) => changes.push(Change::Upsert(resource.clone())),
                None => {
                    self.owners.remove(&object);
                    changes.push(Change::Remove(object));
                }
            }
        }
        Some(Revision { changes, diagnostics: self.diagnostics() })
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// What diagnostics call a file.
fn display_name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !is_stdin(path) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn digest(content: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
