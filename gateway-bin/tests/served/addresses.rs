//! Addresses that change hands.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

use gateway_bin::{Addresses, run::Config};
use gateway_core::{
    api::{Kind, ObjectKey},
    scope::ControllerScope,
    snapshot::{BindState, Placement},
};
use tokio::net::TcpStream;

use crate::{
    peers::{get, web},
    world::{World, config, gateway, route, run, service},
};

/// Addresses at which nothing of other tests is.
const ONE: [u8; 4] = [127, 0, 0, 3];
const TWO: [u8; 4] = [127, 0, 0, 4];

/// Serves port 80 at [`ONE`] on the port that comes back.
fn at_a_port() -> (Config, u16) {
    let free = TcpListener::bind((IpAddr::from(ONE), 0)).expect("a port");
    let port = free.local_addr().expect("an address").port();
    let addresses =
        Addresses { default: ONE.into(), ports: [(80, port)].into(), ..Addresses::default() };
    (Config { addresses, drain: Duration::from_millis(50), ..config() }, port)
}

fn named(name: &str, addresses: &str) -> String {
    let text = gateway(&["name: web, port: 80, protocol: HTTP"])
        .replace("name: gw", &format!("name: {name}"));
    text.replace("  listeners:", &format!("  addresses: [{addresses}]\n  listeners:"))
}

async fn leading_to(gateway: &str, backend: &'static str) -> String {
    let spec = format!(
        "parentRefs: [{{name: {gateway}}}], rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]"
    );
    route("HTTPRoute", gateway, &spec) + &service(backend, web(backend).await)
}

#[track_caller]
fn all_bound(world: &World) {
    let binds = &world.observed.binds;
    assert!(binds.values().all(|state| *state == BindState::Bound), "{binds:?}");
}

/// The backend that answers.
async fn answers(ip: [u8; 4], port: u16) -> String {
    let socket = TcpStream::connect(SocketAddr::from((ip, port))).await.expect("a listener");
    let (status, body) = get(socket, "a.example", "").await.expect("an answer");
    assert_eq!(status, 200);
    body.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_gateway_may_name_the_address_that_it_has() {
    run(async {
        let (config, port) = at_a_port();
        let manifests = named("gw", "") + &leading_to("gw", "web").await;
        let mut world = World::start_with(&manifests, &config).await;
        for addresses in ["{type: IPAddress, value: 127.0.0.3}", ""] {
            world.apply(&named("gw", addresses)).await;
            all_bound(&world);
            world.expect(Kind::Gateway, "gw", "/listeners/0", &["Programmed=True Programmed"]);
            assert_eq!(answers(ONE, port).await, "web", "{addresses}");
        }
    });
}

#[test]
fn gateways_swap_their_addresses_at_once() {
    run(async {
        let (config, port) = at_a_port();
        let manifests = [
            named("a", ""),
            named("b", ""),
            leading_to("a", "of-a").await,
            leading_to("b", "of-b").await,
        ];
        let scope = ControllerScope::all().shared_sockets(false);
        let mut world = World::start_as(scope, &manifests.concat(), &config).await;
        let key = |name: &str| ObjectKey::new(Kind::Gateway, "default", name);
        let at = |address: [u8; 4]| Placement::Address(address.into());
        for turn in 0..20 {
            let (a, b) = if turn % 2 == 0 { (ONE, TWO) } else { (TWO, ONE) };
            world.gateway.assign(&[(key("a"), at(a)), (key("b"), at(b))].into());
            world.publish().await;
            all_bound(&world);
            for _ in 0..4 {
                assert_eq!(answers(a, port).await, "of-a");
                assert_eq!(answers(b, port).await, "of-b");
            }
        }
    });
}

/// The message of the condition `Programmed` of the only listener.
fn message(world: &World) -> String {
    let status = world.status(Kind::Gateway, "gw");
    let conditions = status.pointer("/listeners/0/conditions").and_then(|list| list.as_array());
    let programmed =
        conditions.expect("conditions").iter().find(|condition| condition["type"] == "Programmed");
    programmed.expect("Programmed")["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_listener_says_why_the_system_refuses_its_port() {
    run(async {
        let (config, port) = at_a_port();
        let other = TcpListener::bind((IpAddr::from(ONE), port)).expect("the port");
        let mut world = World::start_with(&named("gw", ""), &config).await;
        let told = message(&world);
        assert!(told.contains("Address already in use"), "{told}");
        assert!(told.contains("; another program has it"), "{told}");
        drop(other);
        world.publish().await;
        world.expect(Kind::Gateway, "gw", "/listeners/0", &["Programmed=True Programmed"]);
        world.apply(&named("gw", "{type: IPAddress, value: 192.0.2.1}")).await;
        let told = message(&world);
        assert!(told.contains("; this machine does not have the address"), "{told}");
    });
}
