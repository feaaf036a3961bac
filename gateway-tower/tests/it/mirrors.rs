//! Mirrors: copies that the original neither waits for nor fails with.

use std::time::Duration;

use gateway_core::{
    filter::{Filter, HeaderModifier},
    resolve::topology::Rule,
};
use gateway_tower::{
    ProxyBody, Purpose, RouteSettings, SelectedBackend, UpstreamErrorKind, upstream_fn,
};
use http::Request;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use crate::support::{
    Calls, Chunks, Notes, dispatch, failed, get, header, mirror, ok, post, rule, service,
    service_with, settle, text,
};

/// Notes `purpose backend method uri body`.
async fn note(notes: &Notes, to: &SelectedBackend, request: Request<ProxyBody<Chunks>>) {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => error.to_string(),
    };
    let name = &to.backend.key.name;
    notes.add(format!("{:?} {name} {} {} {body}", to.purpose, head.method, head.uri));
}

fn mirrored(filters: Vec<Filter>) -> Rule {
    Rule { filters, ..rule() }
}

#[tokio::test(start_paused = true)]
async fn ten_mirrors_get_ten_copies() {
    let notes = Notes::default();
    let noted = notes.clone();
    let upstream = upstream_fn(move |to: SelectedBackend, request| {
        let notes = noted.clone();
        async move {
            note(&notes, &to, request).await;
            ok("")
        }
    });
    let names = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"];
    let rule = mirrored(names.map(|name| mirror(name, (1, 1))).into());
    let exchange = dispatch(&service(vec![rule], upstream), post("/p?q=1", &["ab", "cd"])).await;
    assert_eq!(exchange.response.status(), 200);
    settle().await;
    let mut expect = vec!["Forward a POST /p?q=1 abcd".to_owned()];
    expect.extend(names.map(|name| format!("Mirror {name} POST /p?q=1 abcd")));
    assert_eq!(notes.sorted(), expect);
}

#[tokio::test(start_paused = true)]
async fn shares_are_exact() {
    for (fraction, expect) in [((0, 100), 0), ((20, 100), 100), ((1, 2), 250), ((1, 1), 500)] {
        let copies = Calls::default();
        let counted = copies.clone();
        let upstream = upstream_fn(move |to: SelectedBackend, _: Request<ProxyBody<Chunks>>| {
            if to.purpose == Purpose::Mirror {
                counted.next();
            }
            async { ok("") }
        });
        let service = service(vec![mirrored(vec![mirror("m", fraction)])], upstream);
        for _ in 0..500 {
            dispatch(&service, get("/")).await;
            settle().await;
        }
        assert_eq!(copies.count(), expect, "{fraction:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_hangs_or_fails_is_not_noticed() {
    let upstream =
        upstream_fn(|to: SelectedBackend, request: Request<ProxyBody<Chunks>>| async move {
            match (&*to.backend.key.name, to.purpose) {
                ("hangs", _) => {
                    sleep(Duration::from_secs(3600)).await;
                    ok("")
                }
                ("fails", _) => failed(UpstreamErrorKind::Connect),
                _ => {
                    assert_eq!(text(request.into_body()).await, "abcd");
                    ok("primary")
                }
            }
        });
    let filters = ["hangs", "fails"].map(|name| mirror(name, (1, 1))).into();
    let service = service(vec![mirrored(filters)], upstream);
    let start = Instant::now();
    let exchange = dispatch(&service, post("/", &["ab", "cd"])).await;
    assert_eq!(text(exchange.response.into_body()).await, "primary");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_falls_behind_is_given_up() {
    let notes = Notes::default();
    let noted = notes.clone();
    let upstream = upstream_fn(move |to: SelectedBackend, request: Request<ProxyBody<Chunks>>| {
        let notes = noted.clone();
        async move {
            if to.purpose == Purpose::Mirror {
                sleep(Duration::from_secs(1)).await;
            }
            note(&notes, &to, request).await;
            ok("")
        }
    });
    let settings = RouteSettings { mirror_buffer: 3, ..RouteSettings::default() };
    let service = service_with(vec![mirrored(vec![mirror("m", (1, 1))])], upstream, settings);
    dispatch(&service, post("/", &["ab", "cd"])).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        notes.sorted(),
        ["Forward a POST / abcd", "Mirror m POST / the copied body broke off"]
    );
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_no_copies_are_made() {
    let copies = Calls::default();
    let counted = copies.clone();
    let upstream = upstream_fn(move |to: SelectedBackend, _: Request<ProxyBody<Chunks>>| {
        let is_copy = to.purpose == Purpose::Mirror;
        if is_copy {
            counted.next();
        }
        async move {
            if is_copy {
                sleep(Duration::from_secs(10)).await;
            }
            ok("")
        }
    });
    let settings = RouteSettings {
        mirror_concurrency: 2,
        mirror_timeout: Duration::from_secs(5),
        ..RouteSettings::default()
    };
    let service = service_with(vec![mirrored(vec![mirror("m", (1, 1))])], upstream, settings);
    for (wait, expect) in [(0, 2), (4, 2), (2, 4)] {
        sleep(Duration::from_secs(wait)).await;
        for _ in 0..5 {
            dispatch(&service, get("/")).await;
        }
        settle().await;
        assert_eq!(copies.count(), expect);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_the_changes_of_the_filters_before_it() {
    let notes = Notes::default();
    let noted = notes.clone();
    let upstream = upstream_fn(move |to: SelectedBackend, request: Request<ProxyBody<Chunks>>| {
        let field = |name| request.headers().get(name).map(|value| value.to_str().expect("text"));
        let fields = [field("x-before"), field("x-after"), field("upgrade"), field("host")];
        noted.add(format!("{} {fields:?}", to.backend.key.name));
        async { ok("") }
    });
    let set = |name| {
        let set = vec![header(name, "1")];
        Filter::RequestHeaderModifier(HeaderModifier { set, ..HeaderModifier::default() })
    };
    let rule = mirrored(vec![set("x-before"), mirror("m", (1, 1)), set("x-after")]);
    let mut request = get("/");
    request.headers_mut().extend([header("connection", "upgrade"), header("upgrade", "websocket")]);
    dispatch(&service(vec![rule], upstream), request).await;
    settle().await;
    assert_eq!(
        notes.sorted(),
        [
            r#"a [Some("1"), Some("1"), Some("websocket"), Some("h.example")]"#,
            r#"m [Some("1"), None, None, Some("h.example")]"#,
        ]
    );
}
