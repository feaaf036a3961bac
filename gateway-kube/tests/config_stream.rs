//! The stream of configurations, controller and data plane in one process.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway_core::{
    api::{ConfigMap, Gateway, Kind, ObjectKey, Resource},
    resolve::topology::Transport,
    snapshot::{Change, Snapshot},
};
use gateway_kube::config_stream::{
    Account, Authenticate, Authority, BindReport, Event, Following, Identity, Offer, Publisher,
    Refusal, Reply, Resolver, RevisionReceiver, follow, revisions, serve,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A token is `NAMESPACE/NAME` of a service account.
struct Plain;

impl Authenticate for Plain {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        match token.split_once('/') {
            Some((namespace, name)) => Ok(Identity {
                account: Account { namespace: namespace.into(), name: name.into() },
                pod: "pod-1".into(),
            }),
            None => Err(Refusal::Invalid("the token is not valid".to_owned())),
        }
    }
}

/// On a runtime of its own, so that its end is that of all of its connections.
struct Controller {
    publisher: Publisher,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Binds an address that a controller may have had, which takes a moment to be free again.
async fn bind(address: &str) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

impl Controller {
    async fn start(authority: &Authority, address: &str) -> Self {
        let publisher = Publisher::default();
        publisher.open(true);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let certificate = Resolver::new(authority.issue("127.0.0.1").expect("a certificate"));
        let (address, served) = (address.to_owned(), publisher.clone());
        let listening = runtime.spawn(async move {
            let bound = timeout(Duration::from_secs(30), bind(&address)).await;
            let listener = bound.expect("a port that is free in time");
            let address = listener.local_addr().expect("an address");
            let served = serve(listener, certificate, served, Plain, Arc::new(|_| {}));
            tokio::spawn(async move { served.await.expect("it goes on") });
            address
        });
        let address = listening.await.expect("it listens");
        Self { publisher, address, runtime: Some(runtime) }
    }

    fn publish(&self, snapshots: &[(&str, Snapshot)]) {
        let snapshots: BTreeMap<_, _> = snapshots
            .iter()
            .map(|(name, snapshot)| {
                let account = Account { namespace: "infra".into(), name: (*name).into() };
                let gateway = ObjectKey::new(Kind::Gateway, "infra", name);
                (account, Offer { gateway, snapshot: Arc::new(snapshot.clone()), pods: 1 })
            })
            .collect();
        self.publisher.publish(snapshots);
    }

    /// The pods and the errors of their sockets.
    fn reports(&self) -> Vec<(String, Option<String>)> {
        let reports = self.publisher.reports();
        let all = reports.values().flatten();
        all.map(|report| (report.pod.to_string(), report.binds[0].error.clone())).collect()
    }

    /// Waits until the publisher tells that.
    async fn told(&self, expect: impl Fn(&Publisher) -> bool) {
        let mut told = self.publisher.told();
        let told = told.wait_for(|_| expect(&self.publisher));
        drop(timeout(Duration::from_secs(30), told).await.expect("it is told in time"));
    }

    /// Waits until there is a report.
    async fn next_report(&self) -> (String, Option<String>) {
        self.told(|_| !self.reports().is_empty()).await;
        self.reports().remove(0)
    }
}

struct DataPlane {
    revisions: RevisionReceiver,
    replies: watch::Sender<Reply>,
    events: Arc<Mutex<Vec<Event>>>,
    event: watch::Receiver<usize>,
    snapshot: Snapshot,
    _folder: tempfile::TempDir,
}

impl DataPlane {
    fn start(at: SocketAddr, authority: &Authority, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("can be written");
            path
        };
        let following = Following {
            from: format!("https://{at}").parse().expect("an address"),
            token_file: file("token", &format!("{token}\n")),
            ca_file: file("ca.crt", authority.certificate()),
        };
        let (sender, revisions) = revisions();
        let (replies, replied) = watch::channel(Reply::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let (count, event) = watch::channel(0);
        let told = Arc::clone(&events);
        tokio::spawn(follow(following, sender, replied, move |event| {
            let mut told = told.lock().expect("nobody panics");
            told.push(event);
            count.send_replace(told.len());
        }));
        Self { revisions, replies, events, event, snapshot: Snapshot::default(), _folder: folder }
    }

    /// Takes the next revision, and gives its number.
    async fn take(&mut self) -> u64 {
        let received = timeout(Duration::from_secs(30), self.revisions.recv()).await;
        let received = received.expect("a revision in time").expect("it goes on");
        for change in received.changes {
            self.snapshot.apply(change);
        }
        received.number
    }

    fn reply(&self, served: u64, error: Option<&str>) {
        let bind =
            BindReport { port: 80, transport: Transport::Tcp, error: error.map(str::to_owned) };
        self.replies.send_replace(Reply { served, binds: vec![bind] });
    }

    async fn lost(&mut self, expect: &str) {
        let events = Arc::clone(&self.events);
        let is = |event: &Event| matches!(event, Event::Lost(error) if error.contains(expect));
        let found = self.event.wait_for(|_| events.lock().expect("no panic").iter().any(is));
        let found = timeout(Duration::from_secs(30), found).await;
        assert!(found.is_ok(), "no {expect:?} in {:?}", self.events.lock());
    }

    fn keys(&self) -> Vec<String> {
        let snapshot = &self.snapshot;
        let keys = snapshot.gateways().keys().chain(snapshot.secrets().keys());
        keys.chain(snapshot.config_maps().keys()).map(ToString::to_string).collect()
    }
}

fn gateway(name: &str) -> Resource {
    Gateway::new("infra", name).into()
}

fn map(name: &str, size: usize) -> Resource {
    let mut map = ConfigMap::default();
    map.metadata.namespace = "infra".to_owned();
    map.metadata.name = name.to_owned();
    map.data.insert("k".to_owned(), "x".repeat(size));
    map.into()
}

fn authority() -> Authority {
    Authority::new().expect("there is randomness")
}

#[tokio::test]
async fn a_data_plane_follows_and_reports() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a"), map("large", 2_000_000)].into_iter().collect())]);
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    let first = plane.take().await;
    assert_eq!(plane.keys(), ["Gateway infra/a", "ConfigMap infra/large"]);
    assert_eq!(controller.reports(), []);
    plane.reply(first, Some("in use"));
    assert_eq!(controller.next_report().await, ("pod-1".to_owned(), Some("in use".to_owned())));
    assert_eq!(controller.publisher.failures().len(), 1);

    // Only the difference is sent, and nothing if there is none.
    controller.publish(&[("a", [gateway("a"), map("large", 2_000_000)].into_iter().collect())]);
    controller.publish(&[("a", [gateway("a"), map("small", 1)].into_iter().collect())]);
    let second = plane.take().await;
    assert_eq!(second, first + 1);
    assert_eq!(plane.keys(), ["Gateway infra/a", "ConfigMap infra/small"]);
    plane.reply(second, None);
    controller.told(|publisher| publisher.failures().is_empty()).await;
}

#[tokio::test]
async fn a_data_plane_is_waited_for_until_it_serves_the_revision() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    let publish = |size: usize| {
        let snapshot = [gateway("a"), map("m", size)].into_iter().collect();
        controller.publish(&[("a", snapshot)]);
        controller.publisher.awaited().len()
    };
    publish(0);
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    // On a machine that is busy it may be late a few times, and is not waited for then.
    for size in 1..100 {
        let number = plane.take().await;
        plane.reply(number, Some(&number.to_string()));
        let served = Some(number.to_string());
        controller.told(|_| controller.reports().iter().any(|(_, told)| *told == served)).await;
        assert!(controller.publisher.awaited().is_empty());
        if publish(size) == 1 {
            return;
        }
    }
    panic!("it is never waited for");
}

#[tokio::test]
async fn a_broken_stream_is_begun_anew_and_what_is_gone_is_removed() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a"), map("old", 1)].into_iter().collect())]);
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    let first = plane.take().await;
    plane.reply(first, Some("in use"));
    controller.next_report().await;
    let address = controller.address.to_string();
    drop(controller);
    plane.lost("").await;
    // What is known stays.
    assert_eq!(plane.keys(), ["Gateway infra/a", "ConfigMap infra/old"]);
    let controller = Controller::start(&authority, &address).await;
    controller.publish(&[("a", [gateway("a"), map("new", 1)].into_iter().collect())]);
    let number = plane.take().await;
    assert_eq!(plane.keys(), ["Gateway infra/a", "ConfigMap infra/new"]);
    // The new one knows what is served before it hears of its own revision.
    assert_eq!(controller.next_report().await, ("pod-1".to_owned(), Some("in use".to_owned())));
    plane.reply(number, None);
    controller.told(|_| controller.reports() == [("pod-1".to_owned(), None)]).await;
}

#[tokio::test]
async fn each_account_gets_its_own_gateway_alone() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    let secret = |name: &str| {
        let mut secret = gateway_core::api::Secret::default();
        secret.metadata.namespace = "infra".to_owned();
        secret.metadata.name = format!("{name}-cert");
        Resource::from(secret)
    };
    let of = |name: &str| [gateway(name), secret(name)].into_iter().collect::<Snapshot>();
    controller.publish(&[("a", of("a")), ("b", of("b"))]);
    for name in ["a", "b"] {
        let mut plane = DataPlane::start(controller.address, &authority, &format!("infra/{name}"));
        plane.take().await;
        let expect = [format!("Gateway infra/{name}"), format!("Secret infra/{name}-cert")];
        assert_eq!(plane.keys(), expect);
    }
    let mut stranger = DataPlane::start(controller.address, &authority, "infra/c");
    stranger.lost("no Gateway has the service account infra/c").await;
    assert!(stranger.revisions.try_recv().is_none());
}

#[tokio::test]
async fn wrong_tokens_and_wrong_authorities_are_refused() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    let mut plane = DataPlane::start(controller.address, &authority, "forged");
    plane.lost("the token is not valid").await;
    assert!(plane.revisions.try_recv().is_none());
    let other = Authority::new().expect("there is randomness");
    let mut plane = DataPlane::start(controller.address, &other, "infra/a");
    plane.lost("certificate").await;
    assert!(plane.revisions.try_recv().is_none());
}

#[tokio::test]
async fn who_has_more_streams_than_pods_is_told_so() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    let mut planes = Vec::new();
    for _ in 0..10 {
        let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
        plane.take().await;
        planes.push(plane);
    }
    let mut more = DataPlane::start(controller.address, &authority, "infra/a");
    more.lost("infra/a has 10 streams already").await;
    // There is room again once one has ended.
    drop(planes.pop());
    more.take().await;
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(controller.address).await.expect("it listens"));
    }
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    let taken = timeout(Duration::from_secs(5), plane.take()).await;
    assert!(taken.is_ok(), "it waits for strangers");
}

/// Finishes the handshake, and says nothing more.
async fn shake_hands(controller: &Controller, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.certificate().as_bytes());
    roots.add(certificate.expect("a certificate")).expect("it can be used");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(controller.address).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    shaken.expect("the authority is that of the controller")
}

#[tokio::test]
async fn neither_do_those_that_only_shake_hands() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    // More than one address may have, if they stayed.
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(shake_hands(&controller, &authority).await);
    }
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    plane.take().await;
    // The oldest had to go.
    let read = async {
        let mut byte = [0; 64];
        while silent[0].read(&mut byte).await.is_ok_and(|read| read > 0) {}
    };
    timeout(Duration::from_secs(30), read).await.expect("it ends in time");
}

#[tokio::test]
async fn only_the_open_replica_serves() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    plane.take().await;
    controller.publisher.open(false);
    plane.lost("another replica").await;
    controller.publisher.open(true);
    plane.take().await;
    // A Gateway that is gone ends its streams.
    controller.publish(&[]);
    plane.lost("gone").await;
}

#[tokio::test]
async fn a_slow_data_plane_gets_the_last_state() {
    let authority = authority();
    let controller = Controller::start(&authority, "127.0.0.1:0").await;
    controller.publish(&[("a", [gateway("a")].into_iter().collect())]);
    let mut plane = DataPlane::start(controller.address, &authority, "infra/a");
    plane.take().await;
    for number in 0..200 {
        let snapshot = [gateway("a"), map(&format!("m{number}"), 100_000)];
        controller.publish(&[("a", snapshot.into_iter().collect())]);
    }
    let mut received = 0;
    while plane.keys() != ["Gateway infra/a", "ConfigMap infra/m199"] {
        plane.take().await;
        received += 1;
    }
    assert!(received <= 200, "{received}");
    assert!(plane.revisions.try_recv().is_none());
}

#[test]
fn changes_are_what_snapshots_say() {
    // A guard for the tests above: a map of another size is another map.
    let before: Snapshot = [map("m", 1)].into_iter().collect();
    let after: Snapshot = [map("m", 2)].into_iter().collect();
    assert!(matches!(&*after.changes_since(&before), [Change::Upsert(_)]));
}
