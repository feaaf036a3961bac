//! Retries: when, how often, with which body and pauses, and within which budget.

use std::{sync::Arc, time::Duration};

use gateway_core::{
    backend::{Backend, RetryBudget, WeightedBackend},
    decide::Cause,
    resolve::topology::{RetryPolicy, Rule, Timeouts},
};
use gateway_tower::{
    Dice, ProxyBody, RouteSettings, SelectedBackend, UpstreamErrorKind as Kind, upstream_fn,
};
use http::Request;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use crate::support::{
    Calls, Chunks, Notes, backend, dispatch, endpoint, failed, get, ok, post, rule, rule_to,
    service, service_with, status, text, to,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn retrying(codes: &[u16], attempts: u32) -> Rule {
    let codes = codes.iter().copied().collect();
    let policy = RetryPolicy { codes, attempts, backoff: Some(MS(100)) };
    Rule { retry: Some(Arc::new(policy)), ..rule() }
}

fn settings() -> RouteSettings {
    RouteSettings { dice: Dice::new(|| 0), ..RouteSettings::default() }
}

/// What a backend does, one letter a try: a status by its first digits, or an error.
fn act(script: &str, number: usize) -> Result<u16, Kind> {
    match script.as_bytes().get(number).copied().unwrap_or(b'.') {
        b'0' => Ok(500),
        b'2' => Ok(502),
        b'3' => Ok(503),
        b'4' => Ok(404),
        b'c' => Err(Kind::Connect),
        b'r' => Err(Kind::Reset),
        b't' => Err(Kind::Tls),
        b'n' => Err(Kind::NoEndpoint),
        _ => Ok(200),
    }
}

/// Dispatches once; the status and how often the backend was asked.
async fn run(rule: Rule, script: &'static str) -> (u16, usize) {
    let calls = Calls::default();
    let counted = calls.clone();
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| {
        let act = act(script, counted.next());
        async move { act.map_or_else(failed, |code| status(code, "")) }
    });
    let exchange = dispatch(&service_with(vec![rule], upstream, settings()), get("/")).await;
    assert_eq!(exchange.tries as usize, calls.count());
    (exchange.response.status().as_u16(), calls.count())
}

#[tokio::test(start_paused = true)]
async fn what_is_retried() {
    for (codes, attempts, script, expect) in [
        (&[500][..], 3, "", (200, 1)),
        (&[500], 3, "0", (200, 2)),
        (&[500], 3, "000", (200, 4)),
        // The client gets the last status as it is.
        (&[500], 3, "0000", (500, 4)),
        (&[500, 503], 2, "030", (500, 3)),
        (&[500], 2, "3", (503, 1)),
        (&[500], 2, "4", (404, 1)),
        (&[500], 0, "0", (500, 1)),
        // Broken connections are retried whatever the codes.
        (&[], 2, "cr", (200, 3)),
        (&[500], 1, "cc", (502, 2)),
        // What another try cannot mend is not tried again.
        (&[], 2, "t", (502, 1)),
        (&[], 2, "n", (503, 1)),
        (&[], 2, "0", (500, 1)),
    ] {
        assert_eq!(run(retrying(codes, attempts), script).await, expect, "{script}");
    }
    assert_eq!(run(rule(), "c").await, (502, 1));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_from_the_backoff() {
    let start = Instant::now();
    run(retrying(&[500], 3), "000").await;
    assert_eq!(start.elapsed(), MS(100 + 200 + 400));
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_is_retried() {
    let calls = Calls::default();
    let counted = calls.clone();
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| {
        let number = counted.next();
        async move {
            if number < 2 {
                sleep(MS(1000)).await;
            }
            ok("")
        }
    });
    let timeouts = Timeouts { request: None, backend_request: Some(MS(50)) };
    let service = service_with(vec![Rule { timeouts, ..retrying(&[], 2) }], upstream, settings());
    let start = Instant::now();
    let exchange = dispatch(&service, get("/")).await;
    assert_eq!((exchange.response.status().as_u16(), calls.count()), (200, 3));
    assert_eq!(start.elapsed(), MS(50 + 100 + 50 + 200));
}

#[tokio::test(start_paused = true)]
async fn all_tries_together_stay_within_the_request_timeout() {
    let timeouts = Timeouts { request: Some(MS(250)), backend_request: None };
    let start = Instant::now();
    let rule = Rule { timeouts, ..retrying(&[500], 9) };
    let upstream = upstream_fn(|_, _: Request<ProxyBody<Chunks>>| async { status(500, "") });
    let exchange = dispatch(&service_with(vec![rule], upstream, settings()), get("/")).await;
    assert_eq!(exchange.cause, Some(Cause::RequestTimeout));
    assert_eq!((exchange.response.status().as_u16(), start.elapsed()), (504, MS(250)));
}

/// Posts `chunks` to a backend that reads `read` frames of the first try, then fails. What each
/// try has read.
async fn bodies(chunks: &[&'static str], read: usize, replay_buffer: usize) -> Vec<String> {
    let (calls, notes) = (Calls::default(), Notes::default());
    let noted = notes.clone();
    let upstream = upstream_fn(move |_, request: Request<ProxyBody<Chunks>>| {
        let (number, notes) = (calls.next(), noted.clone());
        async move {
            let mut body = request.into_body();
            if number > 0 {
                notes.add(format!("{number} {}", text(body).await));
                return ok("");
            }
            let mut seen = String::new();
            for _ in 0..read {
                let data = body.frame().await.expect("a frame").expect("no error").into_data();
                seen.push_str(str::from_utf8(&data.expect("data")).expect("text"));
            }
            notes.add(format!("0 {seen}"));
            failed(Kind::Reset)
        }
    });
    let settings = RouteSettings { replay_buffer, ..settings() };
    let service = service_with(vec![retrying(&[], 1)], upstream, settings);
    dispatch(&service, post("/", chunks)).await;
    notes.sorted()
}

#[tokio::test(start_paused = true)]
async fn short_bodies_are_sent_again_and_long_ones_are_not() {
    assert_eq!(bodies(&["ab", "cd"], 0, 4).await, ["0 ", "1 abcd"]);
    assert_eq!(bodies(&["ab", "cd"], 1, 4).await, ["0 ab", "1 abcd"]);
    assert_eq!(bodies(&["ab", "cd"], 2, 4).await, ["0 abcd", "1 abcd"]);
    assert_eq!(bodies(&["ab", "cd"], 2, 3).await, ["0 abcd"]);
    assert_eq!(bodies(&["ab", "cd"], 1, 3).await, ["0 ab", "1 abcd"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_not_retried_into_a_whole_one() {
    let upstream = upstream_fn(|_, request: Request<ProxyBody<Chunks>>| async {
        match request.into_body().collect().await {
            Ok(_) => ok(""),
            Err(_) => failed(Kind::RequestBody),
        }
    });
    let service = service(vec![retrying(&[], 3)], upstream);
    let (head, body) = post("/", &["a"]).into_parts();
    let request = Request::from_parts(head, body.then_fail());
    let exchange = dispatch(&service, request).await;
    assert_eq!((exchange.cause, exchange.tries), (Some(Cause::BadRequest), 1));
}

#[tokio::test(start_paused = true)]
async fn retries_are_told_which_endpoints_failed() {
    let notes = Notes::default();
    let noted = notes.clone();
    let calls = Calls::default();
    let upstream = upstream_fn(move |to: SelectedBackend, _: Request<ProxyBody<Chunks>>| {
        noted.add(format!(
            "{:?}",
            to.avoid.iter().map(|at| at.ip().to_string()).collect::<Vec<_>>()
        ));
        let number = u8::try_from(calls.next()).expect("few");
        async move {
            if number < 2 {
                failed(Kind::Connect).map_err(|error| error.at(endpoint(number)))
            } else {
                ok("")
            }
        }
    });
    dispatch(&service(vec![retrying(&[], 2)], upstream), get("/")).await;
    assert_eq!(notes.sorted(), [r#"["192.0.2.0", "192.0.2.1"]"#, r#"["192.0.2.0"]"#, "[]"]);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_answers_503() {
    let min_retries = (3, Duration::from_secs(10));
    let budget = RetryBudget { percent: 20, interval: Duration::from_secs(10), min_retries };
    let target = Ok(Arc::new(Backend { retry_budget: Some(budget), ..backend("a") }));
    let retry = retrying(&[500], 1).retry;
    let rule = Rule { retry, ..rule_to(vec![WeightedBackend { target, ..to("a") }]) };
    let calls = Calls::default();
    let counted = calls.clone();
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| {
        counted.next();
        async { status(500, "") }
    });
    let service = service_with(vec![rule], upstream, settings());
    let mut answers = Vec::new();
    for _ in 0..5 {
        let exchange = dispatch(&service, get("/")).await;
        answers.push((exchange.response.status().as_u16(), exchange.cause));
    }
    let over = (503, Some(Cause::RetryBudget));
    assert_eq!(answers, [(500, None), (500, None), (500, None), over, over]);
    assert_eq!(calls.count(), 5 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_stays_within_the_default_budget() {
    let calls = Calls::default();
    let counted = calls.clone();
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| {
        counted.next();
        async { failed(Kind::Connect) }
    });
    let rule = || Rule {
        retry: Some(Arc::new(RetryPolicy {
            codes: [].into_iter().collect(),
            attempts: 5,
            backoff: Some(Duration::from_nanos(1)),
        })),
        ..rule()
    };
    let service = service_with(vec![rule()], upstream, settings());
    for _ in 0..2000 {
        dispatch(&service, get("/")).await;
    }
    assert!(calls.count() <= 2400 + 100, "{}", calls.count());
}
