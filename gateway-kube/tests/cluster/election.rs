//! One replica writes, all route.

use std::time::Duration;

use gateway_kube::{AddressPool, Notice};
use tokio::time::{Instant, sleep};

use crate::{
    CLASSES, GATEWAYS, ROUTES, class,
    fake::{Fake, Line},
    gateway, route,
    running::{Options, Replica, run},
};

const LEASES: &str = "coordination.k8s.io/leases";
const LEASE: &str = "example.net-us";

fn replica(fake: &Fake, identity: &'static str) -> Replica {
    let pool = AddressPool::new(["192.0.2.0/24".parse().expect("it is a range")]);
    Replica::start_with(fake, Options { pool, identity: Some(identity), ..Options::default() })
}

fn leads(replica: &Replica) -> bool {
    let notices = replica.notices.lock().expect("no test panics while it holds them");
    let last = notices.iter().rev().find(|notice| matches!(notice, Notice::Leading(_)));
    last == Some(&Notice::Leading(true))
}

fn has_status(fake: &Fake, route: &str) -> bool {
    fake.get(ROUTES, "shop", route)["status"]["parents"][0].is_object()
}

#[test]
fn the_other_replica_takes_over_at_once_after_a_clean_end() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let first = replica(&fake, "first");
        fake.until(|fake| has_status(fake, "a")).await;
        let second = replica(&fake, "second");
        sleep(Duration::from_secs(60)).await;
        assert_eq!((leads(&first), leads(&second)), (true, false));
        // Both serve the same, at the same addresses.
        assert_eq!(second.plane.served().names, first.plane.served().names);
        assert_eq!(second.plane.served().own, first.plane.served().own);
        first.end().await;
        let ended = Instant::now();
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| has_status(fake, "b")).await;
        assert!(ended.elapsed() <= Duration::from_secs(3), "{:?}", ended.elapsed());
        second.end().await;
        assert!(fake.get(LEASES, "default", LEASE)["spec"]["holderIdentity"].is_null());
    });
}

#[test]
fn a_lease_that_is_not_renewed_is_taken() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        // Of a replica that vanished, with a clock far ahead.
        fake.apply(
            LEASES,
            serde_json::json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"namespace": "default", "name": LEASE},
                "spec": {
                    "holderIdentity": "vanished",
                    "leaseDurationSeconds": 10,
                    "renewTime": "2099-01-01T00:00:00.000000Z",
                },
            }),
        );
        let began = Instant::now();
        let replica = replica(&fake, "next");
        fake.until(|fake| has_status(fake, "a")).await;
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(10), "{waited:?}");
        assert!(waited <= Duration::from_secs(15), "{waited:?}");
        replica.end().await;
    });
}

#[test]
fn who_cannot_renew_stops_writing() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = replica(&fake, "only");
        fake.until(|fake| has_status(fake, "a")).await;
        fake.state().down = true;
        sleep(Duration::from_secs(10)).await;
        assert!(!leads(&replica));
        fake.state().down = false;
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| has_status(fake, "b")).await;
        assert!(leads(&replica));
        replica.end().await;
    });
}

/// A replica whose API server hangs, beside one that takes over; clocks are decades apart, and the
/// one that takes over may be slow to see what there is.
async fn check_hang(after: Duration, slow: Duration) {
    let fake = Fake::new();
    fake.apply(CLASSES, class());
    fake.apply(GATEWAYS, gateway("gw"));
    let line = |year| Line { year: Some(year), ..Line::default() };
    let (past, future) = (line("1990"), line("2099"));
    let first = replica(&fake.over(&past), "first");
    fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
    let second = replica(&fake.over(&future), "second");
    *future.delay.lock().expect("nobody panics") = slow;
    sleep(Duration::from_secs(30) + after).await;
    assert!(first.plane.served().leads());
    *past.delay.lock().expect("nobody panics") = Duration::from_secs(3600);
    // It has something to write that it cannot write just now.
    fake.apply(ROUTES, route("a", "gw"));
    let hung = Instant::now();
    let written = || past.writes.lock().expect("nobody panics").len();
    let before = written();
    while !second.plane.served().leads() {
        sleep(Duration::from_millis(10)).await;
        let both = first.plane.served().leads() && second.plane.served().leads();
        assert!(!both, "{:?} {after:?} {slow:?}", hung.elapsed());
        assert!(hung.elapsed() < Duration::from_secs(40), "{after:?} {slow:?}");
    }
    if slow.is_zero() {
        assert!(hung.elapsed() <= Duration::from_secs(15), "{:?}", hung.elapsed());
    }
    fake.until(|fake| has_status(fake, "a")).await;
    *future.delay.lock().expect("nobody panics") = Duration::ZERO;
    sleep(Duration::from_secs(5)).await;
    // It comes back, and writes nothing that it meant to write.
    *past.delay.lock().expect("nobody panics") = Duration::ZERO;
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert!(!first.plane.served().leads() && second.plane.served().leads());
    }
    assert_eq!(written(), before);
    first.end().await;
    second.end().await;
}

#[test]
fn a_holder_stops_before_another_takes_over_whatever_the_clocks_say() {
    run(async {
        for after in [0, 700, 1400] {
            for slow in [0, 1000, 1400] {
                check_hang(Duration::from_millis(after), Duration::from_millis(slow)).await;
            }
        }
    });
}
