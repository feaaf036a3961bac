//! What was served last, on disk: a replica that starts while the API server is away serves that.
//!
//! In: a snapshot and the addresses of Gateways. Out: a file, and all of it again. Not here: when it
//! is written and read (`controller`).
//!
//! The file holds private keys, as the snapshot does; only its owner may read it. One object a
//! line, so that one line that cannot be read spoils no other.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use gateway_core::{
    api::{Kind, ObjectKey, Resource},
    snapshot::Snapshot,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file in the folder of the cache.
const FILE: &str = "snapshot.jsonl";

/// The form of the file; another one is not read.
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cached {
    pub(crate) resources: Vec<Resource>,
    /// Addresses of Gateways that name none.
    pub(crate) own: BTreeMap<ObjectKey, IpAddr>,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    addresses: Vec<(String, String, IpAddr)>,
}

/// Hands out turns, so that of saves that overlap the latest wins.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    given: u64,
    /// The latest turn that was taken.
    taken: Arc<Mutex<u64>>,
}

/// The right to write the file, unless a later one was taken.
#[derive(Debug)]
pub(crate) struct Turn {
    number: u64,
    taken: Arc<Mutex<u64>>,
}

impl Turns {
    pub(crate) fn next(&mut self) -> Turn {
        self.given += 1;
        Turn { number: self.given, taken: Arc::clone(&self.taken) }
    }
}

impl Turn {
    /// Writes the file anew, once nobody else writes it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn save(
        self,
        folder: &Path,
        snapshot: &Snapshot,
        own: &BTreeMap<ObjectKey, IpAddr>,
    ) -> io::Result<()> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken > self.number {
            return Ok(());
        }
        *taken = self.number;
        save(folder, snapshot, own)
    }
}

fn save(folder: &Path, snapshot: &Snapshot, own: &BTreeMap<ObjectKey, IpAddr>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{FILE}.new"));
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let mut file = BufWriter::new(file);
    let address =
        |(key, ip): (&ObjectKey, &IpAddr)| (key.namespace.to_string(), key.name.to_string(), *ip);
    let head = Head { version: VERSION, addresses: own.iter().map(address).collect() };
    line(&mut file, &head)?;
    each(snapshot, |resource| line(&mut file, &resource))?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    // Readers see the old file or the new one.
    fs::rename(new, folder.join(FILE))
}

fn line(file: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}

macro_rules! each {
    ($snapshot:ident, $give:ident, $($all:ident: $variant:ident),+ $(,)?) => {
        $(for object in $snapshot.$all().values() {
            $give(Resource::$variant((**object).clone()))?;
        })+
    };
}

fn each(snapshot: &Snapshot, mut give: impl FnMut(Resource) -> io::Result<()>) -> io::Result<()> {
    each!(
        snapshot,
        give,
        gateway_classes: GatewayClass,
        gateways: Gateway,
        listener_sets: ListenerSet,
        http_routes: HttpRoute,
        grpc_routes: GrpcRoute,
        tls_routes: TlsRoute,
        tcp_routes: TcpRoute,
        udp_routes: UdpRoute,
        reference_grants: ReferenceGrant,
        backend_tls_policies: BackendTlsPolicy,
        backend_traffic_policies: XBackendTrafficPolicy,
        backends: XBackend,
        namespaces: Namespace,
        services: Service,
        endpoint_slices: EndpointSlice,
        secrets: Secret,
        config_maps: ConfigMap,
    );
    Ok(())
}

/// Reads the file. None if there is none, or none of this form.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn load(folder: &Path) -> io::Result<Option<Cached>> {
    let file = match fs::File::open(folder.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = BufReader::new(file).lines();
    let head = lines.next().transpose()?.unwrap_or_default();
    let head = serde_json::from_str::<Head>(&head).ok().filter(|head| head.version == VERSION);
    let Some(head) = head else { return Ok(None) };
    let address = |(namespace, name, ip): (String, String, IpAddr)| {
        (ObjectKey::new(Kind::Gateway, &namespace, &name), ip)
    };
    let own = head.addresses.into_iter().map(address).collect();
    let mut cached = Cached { own, ..Cached::default() };
    for line in lines {
        cached.resources.extend(resource(&line?));
    }
    Ok(Some(cached))
}

fn resource(line: &str) -> Option<Resource> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Resource::from_value(&text("apiVersion"), &text("kind"), value.clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

    use gateway_core::{
        api::{Kind, ObjectKey, Resource},
        snapshot::Snapshot,
    };
    use serde_json::json;

    use super::{FILE, Turns, load, save};

    #[test]
    fn what_was_written_is_read_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().expect("a folder can be had");
        assert!(load(folder.path()).expect("a missing file is no error").is_none());
        let object = |kind, value| Resource::deserialize(kind, value).expect("it can be read");
        let resources = [
            object(
                Kind::HttpRoute,
                json!({
                    "metadata": {"namespace": "a", "name": "r", "generation": 3},
                    "spec": {"hostnames": ["x.example"], "rules": [{"matches": [{"method": "ODD"}]}]},
                }),
            ),
            object(
                Kind::EndpointSlice,
                json!({
                    "metadata": {"namespace": "a", "name": "e"},
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}],
                    "ports": [{"port": 80}],
                }),
            ),
            object(
                Kind::Secret,
                json!({
                    "metadata": {"namespace": "a", "name": "s"},
                    "type": "kubernetes.io/tls",
                    "data": {"tls.crt": "YQ==", "tls.key": "Yg=="},
                }),
            ),
        ];
        let snapshot = Snapshot::from_iter(resources.clone());
        let gateway = ObjectKey::new(Kind::Gateway, "a", "gw");
        let own = BTreeMap::from([(gateway, [192, 0, 2, 9].into())]);
        save(folder.path(), &snapshot, &own).expect("the folder can be written");
        let file = folder.path().join(FILE);
        let mode = fs::metadata(&file).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        // A line that cannot be read spoils no other.
        let text = fs::read_to_string(&file).expect("the file can be read");
        fs::write(&file, text + "{\n{\"kind\": 7}\n").expect("the file can be written");
        let cached = load(folder.path()).expect("it can be read").expect("it is there");
        assert_eq!((cached.own, cached.resources.as_slice()), (own, &resources[..]));
        fs::write(&file, "{\"version\": 999}\n").expect("the file can be written");
        assert!(load(folder.path()).expect("it can be read").is_none());
    }

    #[test]
    fn of_saves_that_overlap_the_latest_wins() {
        let folder = tempfile::tempdir().expect("a folder can be had");
        let mut turns = Turns::default();
        let own = |last: u8| {
            BTreeMap::from([(ObjectKey::new(Kind::Gateway, "a", "gw"), [192, 0, 2, last].into())])
        };
        let mut saves: Vec<_> = (0..8).map(|at| (turns.next(), own(at))).collect();
        // The last one first, and the others at once.
        let (turn, latest) = saves.pop().expect("there are some");
        let save = |turn: super::Turn, own| {
            turn.save(folder.path(), &Snapshot::default(), &own)
                .expect("the folder can be written");
        };
        save(turn, latest.clone());
        std::thread::scope(|scope| {
            for (turn, own) in saves {
                scope.spawn(move || save(turn, own));
            }
        });
        let cached = load(folder.path()).expect("it can be read").expect("it is there");
        assert_eq!(cached.own, latest);
    }
}
