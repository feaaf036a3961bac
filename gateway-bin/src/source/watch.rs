//! Follows files while the gateway runs.
//!
//! In: what the file system tells about changes, and a look at the files now and then in case it
//! tells nothing. Out: each change, on a channel. Not here: reading and judging files.
//!
//! Events only say when to look. What has changed is found out by looking, so that no order of
//! events, neither an editor's nor that of a mounted ConfigMap, needs rules of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use notify::{
    ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A configuration that can be read again.
pub trait Reload: Send + 'static {
    /// What a change comes to.
    type Revision: Send + 'static;

    /// The paths of the command line.
    fn roots(&self) -> &[PathBuf];

    /// The folders of the files behind links, which need to be watched as well.
    fn link_targets(&self) -> BTreeSet<PathBuf>;

    /// Whether the file system shows a change since the last reading, without reading any file.
    fn is_stale(&self) -> bool;

    /// Reads again what has changed; none if nothing has.
    fn reload(&mut self) -> Option<Self::Revision>;
}

/// When to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long it must be quiet after an event, so that a writer can finish.
    pub debounce: Duration,
    /// The longest wait for that, so that a busy folder is followed too.
    pub patience: Duration,
    /// How often to look without any event.
    pub poll: Duration,
    /// Whether to ask the file system for events.
    pub events: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            patience: Duration::from_millis(500),
            poll: Duration::from_secs(2),
            events: true,
        }
    }
}

/// Follows a configuration from what it was when it was last read, until the receiver is gone.
///
/// # Errors
///
/// No thread can be started.
pub fn follow<R: Reload>(mut source: R, pace: Pace) -> io::Result<UnboundedReceiver<R::Revision>> {
    let (sender, receiver) = unbounded_channel();
    // One signal waiting is as good as many.
    let (signals, events) = mpsc::sync_channel(1);
    thread::Builder::new().name("gateway-files".to_owned()).spawn(move || {
        // Lives on until the next is there, so that no event is lost in between.
        let mut points;
        loop {
            points = pace.events.then(|| WatchPoints::new(&source, signals.clone())).flatten();
            let was_quiet = settle(&events, pace);
            if let Some(revision) = source.reload()
                && sender.send(revision).is_err()
            {
                return;
            }
            // A folder may have come, gone or been linked to before it was watched, or may have been
            // replaced since.
            let is_watched = |points: &WatchPoints| was_quiet && points.is_complete(&source);
            if !points.as_ref().is_none_or(is_watched) {
                continue;
            }
            if !wait(&events, &source, pace, &sender) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Waits for a change; false once nobody listens any more.
fn wait<R: Reload>(
    events: &Receiver<()>,
    source: &R,
    pace: Pace,
    sender: &UnboundedSender<R::Revision>,
) -> bool {
    loop {
        let event = events.recv_timeout(pace.poll);
        if sender.is_closed() {
            return false;
        }
        match event {
            Err(RecvTimeoutError::Timeout) if !source.is_stale() => {}
            _ => return true,
        }
    }
}

/// Lets writers finish; true if there were none.
fn settle(events: &Receiver<()>, pace: Pace) -> bool {
    let begin = Instant::now();
    let mut was_quiet = true;
    while begin.elapsed() < pace.patience && events.recv_timeout(pace.debounce).is_ok() {
        was_quiet = false;
    }
    was_quiet
}

/// The places where the file system is asked for events.
struct WatchPoints {
    /// Dropped to end the watch.
    _watcher: RecommendedWatcher,
    wanted: BTreeMap<PathBuf, RecursiveMode>,
    /// Whether a folder vanished before it could be watched.
    is_outdated: bool,
}

impl WatchPoints {
    /// None if the system gives no events: then polling has to do.
    ///
    /// Made anew after each change. A folder that was replaced has to be watched anew, and in a
    /// watcher that knew the old one, the late news of its end would end the watch of the new one.
    fn new(source: &impl Reload, signals: SyncSender<()>) -> Option<Self> {
        let roots = Roots::new(source.roots());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| roots.concerns(&event)) {
                // Full: the follower will look anyway. Closed: it has ended.
                signals.try_send(()).ok();
            }
        });
        let mut watcher = watcher.ok()?;
        let wanted = wanted(source);
        let mut is_outdated = false;
        for (path, mode) in &wanted {
            // Where events cannot be had for another reason, polling finds the changes.
            is_outdated |= watcher.watch(path, *mode).is_err_and(|error| has_vanished(&error));
        }
        Some(Self { _watcher: watcher, wanted, is_outdated })
    }

    /// Whether everything that is there now is watched.
    fn is_complete(&self, source: &impl Reload) -> bool {
        !self.is_outdated && self.wanted == wanted(source)
    }
}

fn has_vanished(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What to watch: each root, the nearest folder above it, and the folders behind links.
fn wanted(source: &impl Reload) -> BTreeMap<PathBuf, RecursiveMode> {
    let links = source.link_targets().into_iter();
    let mut wanted: BTreeMap<_, _> =
        links.map(|folder| (folder, RecursiveMode::NonRecursive)).collect();
    let roots = source.roots().iter().filter_map(|root| std::path::absolute(root).ok());
    let roots: Vec<_> = roots.collect();
    let above = roots.iter().filter_map(|root| root.ancestors().skip(1).find(|path| path.is_dir()));
    wanted.extend(above.map(|folder| (folder.to_owned(), RecursiveMode::NonRecursive)));
    let folders = roots.into_iter().filter(|root| root.is_dir());
    wanted.extend(folders.map(|folder| (folder, RecursiveMode::Recursive)));
    wanted
}

/// Tells events that may concern the configuration from those of its neighbours.
struct Roots(Vec<PathBuf>);

impl Roots {
    fn new(paths: &[PathBuf]) -> Self {
        Self(paths.iter().filter_map(|path| std::path::absolute(path).ok()).collect())
    }

    fn concerns(&self, event: &notify::Event) -> bool {
        let changes = match event.kind {
            // Reading is no change, and the reader is this program.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        changes && (event.paths.is_empty() || event.paths.iter().any(|path| self.includes(path)))
    }

    /// Leaves out what lies beside a root, except for the hidden folders of a mounted ConfigMap.
    fn includes(&self, path: &Path) -> bool {
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let beside = |root: &PathBuf| root.parent() == path.parent() && root != path;
        let is_beside = self.0.iter().any(beside) && !path.file_name().is_some_and(is_hidden);
        let is_related = |root: &PathBuf| path.starts_with(root) || root.starts_with(path);
        !is_beside || self.0.iter().any(is_related)
    }
}
