//! What operators see.

use gateway_bin::admin::{self, Admin};
use gateway_core::resolve::topology::{ListenerProtocol, ListenerTls};
use serde_json::Value;

use crate::common::{OK, Path, RawBackend, Setup, config, exchange, listener, run, start, status};

struct Endpoints(std::net::SocketAddr);

impl Endpoints {
    async fn start(gateway: &gateway_bin::run::Gateway) -> (Self, std::sync::Arc<Admin>) {
        let admin = Admin::new(gateway.inspector());
        let socket = admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(std::sync::Arc::clone(&admin).serve(socket));
        (Self(address), admin)
    }

    async fn get(&self, target: &str) -> (u16, String) {
        let close = "Host: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(self.0, format!("GET {target} HTTP/1.1\r\n{close}")).await;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status(&answer), body.to_owned())
    }

    async fn json(&self, target: &str) -> Value {
        let (status, body) = self.get(target).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

#[test]
fn ready_once_a_table_is_served() {
    run(async {
        let mut gateway = gateway_bin::run::Gateway::start(&config()).expect("a gateway");
        let (endpoints, admin) = Endpoints::start(&gateway).await;
        assert_eq!(endpoints.get("/healthz").await.0, 200);
        assert_eq!(endpoints.get("/readyz").await.0, 503);
        assert_eq!(endpoints.get("/status").await.0, 503);
        let backend = RawBackend::answering(OK).await;
        let update = Setup::http(vec![Path::new("/", backend.address)]).update();
        gateway.apply(&update).await;
        admin.show(update.build);
        assert_eq!(endpoints.get("/readyz").await.0, 200);
        assert_eq!(endpoints.json("/status").await, serde_json::json!({}));
        assert_eq!(endpoints.get("/other").await.0, 404);
        gateway.drain().await;
        assert_eq!(endpoints.get("/readyz").await.0, 503);
    });
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let pair = gateway_core::backend::KeyPair {
            certificate: b"PUBLIC PART".as_slice().into(),
            private_key: b"PRIVATE PART".as_slice().into(),
        };
        let tls = ListenerTls {
            certificates: vec![std::sync::Arc::new(pair)],
            client_validation: None,
            options: Default::default(),
        };
        let protocol = ListenerProtocol::Https(std::sync::Arc::new(tls));
        let paths = vec![Path::new("/", backend.address)];
        let update = Setup { listeners: vec![listener("web", "", protocol)], paths }.update();
        let gateway = gateway_bin::run::Gateway::start(&config()).expect("a gateway");
        let (endpoints, admin) = Endpoints::start(&gateway).await;
        admin.show(update.build);
        let (_, shown) = endpoints.get("/config").await;
        assert!(shown.contains("\"certificates\": 1"), "{shown}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
        let bytes = format!("{:?}", b"PRIVATE PART");
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    });
}

#[test]
fn requests_are_explained() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/a", backend.address)]);
        let running = start(&setup).await;
        let (endpoints, admin) = Endpoints::start(&running.gateway).await;
        admin.show(setup.update().build);
        let found = endpoints.json("/explain?url=http%3A%2F%2Fx.example%2Fa&method=POST").await;
        let winner = &found["sockets"][0]["explanation"]["verdict"]["forward"]["winner"];
        assert_eq!(winner["route"], "HTTPRoute default/routes");
        let missed = endpoints.json("/explain?url=http://x.example/b&header=x:y").await;
        let answer = &missed["sockets"][0]["explanation"]["verdict"]["respond"];
        assert_eq!((&answer["status"], &answer["cause"]), (&404.into(), &"no-route".into()));
        for wrong in ["/explain", "/explain?url=:", "/explain?url=http://x.example:9/"] {
            assert_eq!(endpoints.get(wrong).await.0, 400, "{wrong}");
        }
    });
}
