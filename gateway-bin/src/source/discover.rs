//! Which files belong to the configuration.
//!
//! In: the paths of the command line. Out: the files to read, each once, in a fixed order. Not
//! here: what is in them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As the user knows it: below the path of the command line.
    pub path: PathBuf,
    /// Where it really is; the same as `path` if it is not there.
    pub target: PathBuf,
    /// Whether `path` is a symbolic link.
    pub is_link: bool,
    /// Changes whenever the content does, as far as the file system tells.
    pub fingerprint: Option<Fingerprint>,
}

/// What the file system tells about a file's content without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

/// The files of one path, leaving out those whose targets were `seen`, and adding theirs.
///
/// A file is taken whatever its name. A folder gives its `.yaml`, `.yml` and `.json` files and
/// those of its subfolders, sorted by name. Names that begin with a dot are left out, so that of
/// a mounted ConfigMap only the links are read and not the `..data` folder behind them.
///
/// # Errors
///
/// The path itself is not there or cannot be read.
pub fn discover(path: &Path, seen: &mut BTreeSet<PathBuf>) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    if fs::metadata(path)?.is_dir() {
        walk(path, seen, &mut files)?;
    } else {
        take(path.to_owned(), seen, &mut files);
    }
    Ok(files)
}

fn walk(
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    files: &mut Vec<SourceFile>,
) -> io::Result<()> {
    if !seen.insert(folder.canonicalize()?) {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    for name in names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            // A subfolder that vanishes meanwhile is one that has no files.
            walk(&path, seen, files).or_else(vanished)?;
        } else if has_source_extension(&path) {
            take(path, seen, files);
        }
    }
    Ok(())
}

fn vanished(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn has_source_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn take(path: PathBuf, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<SourceFile>) {
    let target = path.canonicalize().unwrap_or_else(|_| path.clone());
    if seen.insert(target.clone()) {
        let fingerprint = fs::metadata(&path).ok().map(|metadata| Fingerprint::new(&metadata));
        files.push(SourceFile { is_link: path.is_symlink(), path, target, fingerprint });
    }
}

impl SourceFile {
    /// A source that is read once, such as standard input.
    #[must_use]
    pub fn once(path: &Path) -> Self {
        Self { path: path.to_owned(), target: path.to_owned(), is_link: false, fingerprint: None }
    }

    /// Whether the file system shows no change since `earlier`.
    #[must_use]
    pub fn is_unchanged(&self, earlier: &Self) -> bool {
        self.fingerprint.is_some() && self == earlier
    }

    /// The folder of the file behind a link.
    #[must_use]
    pub fn link_target(&self) -> Option<&Path> {
        self.target.parent().filter(|_| self.is_link)
    }
}

impl Fingerprint {
    fn new(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { length: metadata.len(), modified: metadata.modified().ok(), inode }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

    use super::discover;

    /// Finds what is below `root`, given by names relative to it.
    #[track_caller]
    fn check(root: &Path, paths: &[&str], expect: &[&str]) {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for path in paths {
            found.extend(discover(&root.join(path), &mut seen).unwrap());
        }
        let found: Vec<_> = found
            .iter()
            .map(|file| file.path.strip_prefix(root).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(found, expect);
    }

    fn write(root: &Path, files: &[&str]) {
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
    }

    #[test]
    fn folders_are_read_sorted_with_their_subfolders() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["b.yaml", "a.yml", "c/d.JSON", "notes.md", ".git/x.yaml", "x.yaml~"]);
        check(root.path(), &[""], &["a.yml", "b.yaml", "c/d.JSON"]);
        check(root.path(), &["notes.md"], &["notes.md"]);
        check(root.path(), &[".git"], &[".git/x.yaml"]);
    }

    #[test]
    fn no_file_is_read_twice() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["a/x.yaml", "a/y.yaml"]);
        symlink(root.path().join("a"), root.path().join("b")).unwrap();
        symlink(root.path(), root.path().join("a/loop")).unwrap();
        check(root.path(), &[""], &["a/x.yaml", "a/y.yaml"]);
        check(root.path(), &["a/y.yaml", "a", "b/x.yaml"], &["a/y.yaml", "a/x.yaml"]);
    }

    #[test]
    fn a_mounted_config_map() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["..2026_11_24/routes.yaml"]);
        symlink("..2026_11_24", root.path().join("..data")).unwrap();
        symlink("..data/routes.yaml", root.path().join("routes.yaml")).unwrap();
        check(root.path(), &[""], &["routes.yaml"]);
    }

    #[test]
    fn a_dangling_link_is_not_passed_over() {
        let root = tempfile::tempdir().unwrap();
        symlink("nowhere.yaml", root.path().join("a.yaml")).unwrap();
        check(root.path(), &[""], &["a.yaml"]);
        assert!(discover(&root.path().join("none"), &mut BTreeSet::new()).is_err());
    }
}
