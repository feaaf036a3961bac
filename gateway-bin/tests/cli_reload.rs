//! Files change while they are followed.
//!
//! Each test changes files and then waits for the state that must follow. Nothing is timed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use gateway_bin::source::{
    FileSource, Revision,
    watch::{Pace, follow},
};
use gateway_core::{
    api::ServicePort,
    diagnostic::Diagnostic,
    snapshot::{Change, Snapshot},
};
use tokio::sync::mpsc::UnboundedReceiver;

/// So long that only a change that is never seen fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is followed.
struct Followed {
    root: tempfile::TempDir,
    revisions: UnboundedReceiver<Revision>,
    snapshot: Snapshot,
    diagnostics: Vec<Diagnostic>,
    runtime: tokio::runtime::Runtime,
}

impl Followed {
    /// Prepares a folder and follows some paths in it.
    fn new(prepare: impl FnOnce(&Path), paths: &[&str], pace: Pace) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let paths: Vec<PathBuf> = paths.iter().map(|path| root.path().join(path)).collect();
        let source = FileSource::open(&paths);
        let first = source.revision();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut followed = Self {
            root,
            revisions: follow(source, pace).unwrap(),
            snapshot: Snapshot::default(),
            diagnostics: Vec::new(),
            runtime,
        };
        followed.apply(first);
        followed
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    fn apply(&mut self, revision: Revision) {
        for change in revision.changes {
            self.snapshot.apply(change);
        }
        self.diagnostics = revision.diagnostics;
    }

    /// The next change.
    fn next(&mut self) -> Option<Revision> {
        let next = async { tokio::time::timeout(PATIENCE, self.revisions.recv()).await };
        self.runtime.block_on(next).ok()?
    }

    /// Waits for a state, shown by [`Followed::state`].
    #[track_caller]
    fn expect(&mut self, expect: &str) {
        while self.state() != expect {
            match self.next() {
                Some(revision) => self.apply(revision),
                None => panic!("expected {expect:?}, the last state was {:?}", self.state()),
            }
        }
    }

    /// All Services with their first port, then the errors by code with their places.
    fn state(&self) -> String {
        let services = self.snapshot.services().iter();
        let port = |ports: &[ServicePort]| ports.first().map_or(0, |port| port.port);
        let mut state: Vec<_> = services
            .map(|(key, service)| format!("{}:{}", key.name, port(&service.spec.ports)))
            .collect();
        for diagnostic in self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
            let span = diagnostic.span.as_ref().unwrap();
            let file = Path::new(&*span.source).strip_prefix(self.root.path()).unwrap();
            let (line, column) = (span.line, span.column);
            state.push(format!("{} {}:{line}:{column}", diagnostic.code, file.display()));
        }
        state.join(" ")
    }
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n---\n"
    )
}

fn with_files(files: &[(&str, String)]) -> impl FnOnce(&Path) {
    move |root| {
        for (file, text) in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
    }
}

/// Events only, or looking only.
fn paces() -> [Pace; 2] {
    let never = Duration::from_secs(3600);
    let often = Duration::from_millis(20);
    let debounce = Duration::from_millis(10);
    [
        Pace { poll: never, debounce, ..Pace::default() },
        Pace { poll: often, debounce, events: false, ..Pace::default() },
    ]
}

#[test]
fn files_are_written_added_and_removed() {
    for pace in paces() {
        let files = [("conf/a.yaml", service("a", 1)), ("conf/sub/b.yaml", service("b", 1))];
        let mut followed = Followed::new(with_files(&files), &["conf"], pace);
        followed.expect("a:1 b:1");
        followed.write("conf/a.yaml", &service("a", 2));
        followed.expect("a:2 b:1");
        fs::create_dir_all(followed.path("conf/new/deep")).unwrap();
        followed.write("conf/new/deep/c.json", &service("c", 1));
        followed.expect("a:2 b:1 c:1");
        followed.write("conf/new/deep/c.json", &service("c", 2));
        followed.expect("a:2 b:1 c:2");
        fs::remove_file(followed.path("conf/a.yaml")).unwrap();
        followed.expect("b:1 c:2");
    }
}

#[test]
fn an_editor_replaces_a_file() {
    for pace in paces() {
        let mut followed =
            Followed::new(with_files(&[("a.yaml", service("a", 1))]), &["a.yaml"], pace);
        for port in 2..5 {
            followed.write(".a.yaml.swp", &service("a", port));
            fs::rename(followed.path(".a.yaml.swp"), followed.path("a.yaml")).unwrap();
            followed.expect(&format!("a:{port}"));
        }
    }
}

#[test]
fn a_mounted_config_map_is_swapped() {
    let mount = |root: &Path| {
        fs::create_dir_all(root.join("etc/..1")).unwrap();
        fs::write(root.join("etc/..1/a.yaml"), service("a", 1)).unwrap();
        symlink("..1", root.join("etc/..data")).unwrap();
        symlink("..data/a.yaml", root.join("etc/a.yaml")).unwrap();
    };
    for pace in paces() {
        // The folder, and a single file of it.
        for path in ["etc", "etc/a.yaml"] {
            let mut followed = Followed::new(mount, &[path], pace);
            for version in 2..4 {
                let folder = followed.path(&format!("etc/..{version}"));
                fs::create_dir(&folder).unwrap();
                fs::write(folder.join("a.yaml"), service("a", version)).unwrap();
                symlink(format!("..{version}"), followed.path("etc/..data_tmp")).unwrap();
                fs::rename(followed.path("etc/..data_tmp"), followed.path("etc/..data")).unwrap();
                fs::remove_dir_all(followed.path(&format!("etc/..{}", version - 1))).unwrap();
                followed.expect(&format!("a:{version}"));
            }
        }
    }
}

#[test]
fn a_folder_is_deleted_and_made_again() {
    for pace in paces() {
        let files = [("x/conf/a.yaml", service("a", 1))];
        let mut followed = Followed::new(with_files(&files), &["x/conf"], pace);
        for port in 2..4 {
            // In one step: a folder without files would be one that has no objects.
            fs::rename(followed.path("x"), followed.path("old")).unwrap();
            fs::remove_dir_all(followed.path("old")).unwrap();
            followed.expect(&format!("a:{} GW0801 x/conf:1:1", port - 1));
            fs::create_dir_all(followed.path("x/conf")).unwrap();
            followed.write("x/conf/a.yaml", &service("a", port));
            followed.expect(&format!("a:{port}"));
        }
    }
}

#[test]
fn a_file_behind_a_link_is_written() {
    let link = |root: &Path| {
        fs::create_dir_all(root.join("elsewhere")).unwrap();
        fs::create_dir_all(root.join("conf")).unwrap();
        fs::write(root.join("elsewhere/a.yaml"), service("a", 1)).unwrap();
        symlink("../elsewhere/a.yaml", root.join("conf/a.yaml")).unwrap();
    };
    for pace in paces() {
        let mut followed = Followed::new(link, &["conf"], pace);
        followed.write("elsewhere/a.yaml", &service("a", 2));
        followed.expect("a:2");
    }
}

#[test]
fn a_broken_file_keeps_what_it_had() {
    let files = [("conf/a.yaml", service("a", 1)), ("conf/b.yaml", service("b", 1))];
    let mut followed = Followed::new(with_files(&files), &["conf"], Pace::default());
    followed.write("conf/a.yaml", &format!("{}kind: [", service("a", 2)));
    followed.expect("a:1 b:1 GW0001 conf/a.yaml:6:7");
    followed.write("conf/b.yaml", &service("b", 2));
    followed.expect("a:1 b:2 GW0001 conf/a.yaml:6:7");
    followed.write("conf/a.yaml", &service("a", 3));
    followed.expect("a:3 b:2");
}

#[test]
fn a_refused_object_keeps_its_last_good_version_and_others_go_on() {
    let text = service("a", 1) + &service("b", 1);
    let mut followed = Followed::new(with_files(&[("a.yaml", text)]), &["a.yaml"], Pace::default());
    followed.expect("a:1 b:1");
    let refused = service("a", 1).replace("port: 1", "port: many");
    followed.write("a.yaml", &(refused + &service("b", 2)));
    followed.expect("a:1 b:2 GW0007 a.yaml:4:23");
    let help = followed.diagnostics[0].help.clone().unwrap();
    assert!(help.contains("last good version"), "{help}");
    followed.write("a.yaml", &service("b", 2));
    followed.expect("b:2");
}

#[test]
fn an_object_defined_twice_is_that_of_the_first_file() {
    let files = [("a.yaml", service("a", 1)), ("b.yaml", service("a", 2))];
    let mut followed = Followed::new(with_files(&files), &[""], Pace::default());
    followed.expect("a:1 GW0008 b.yaml:1:1");
    fs::remove_file(followed.path("a.yaml")).unwrap();
    followed.expect("a:2");
}

#[test]
fn only_what_differs_is_sent() {
    let files = [("a.yaml", service("a", 1)), ("b.yaml", service("b", 1) + &service("c", 1))];
    let mut followed = Followed::new(with_files(&files), &[""], Pace::default());
    fs::remove_file(followed.path("a.yaml")).unwrap();
    let changes = followed.next().unwrap().changes;
    assert!(matches!(&*changes, [Change::Remove(key)] if &*key.name == "a"), "{changes:?}");
}
