//! Path routers of others. A prefix becomes a catch-all, hosts are told apart by a hash map.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use gateway_core::matcher::{PathPattern, RequestHead};
use http::Request;
use tower::Service;

use crate::{engine::Find, workload::RuleSpec};

pub(crate) fn matchit(rules: &[RuleSpec]) -> Find {
    let build = |rules: &[(&str, usize)]| {
        let mut router = matchit::Router::new();
        for (prefix, n) in rules {
            router.insert(format!("{prefix}/{{*rest}}"), *n).expect("prefixes differ");
        }
        router
    };
    per_host(rules, build, |router, path| router.at(path).ok().map(|found| *found.value))
}

pub(crate) fn wayfind(rules: &[RuleSpec]) -> Find {
    let build = |rules: &[(&str, usize)]| {
        let mut builder = wayfind::RouterBuilder::new();
        for (prefix, n) in rules {
            builder.insert(&format!("{prefix}/<*rest>"), *n).expect("prefixes differ");
        }
        builder.build()
    };
    per_host(rules, build, |router, path| router.search(path).map(|found| *found.data()))
}

/// Match, request extensions, boxed handler and response: what a request costs there.
pub(crate) fn axum(rules: &[RuleSpec]) -> Find {
    let build = |rules: &[(&str, usize)]| {
        rules.iter().fold(axum::Router::<()>::new(), |router, (prefix, n)| {
            let n = *n;
            let handler = move || async move {
                let mut response = axum::response::Response::new(axum::body::Body::empty());
                response.extensions_mut().insert(n);
                response
            };
            router.route(&format!("{prefix}/{{*rest}}"), axum::routing::any(handler))
        })
    };
    per_host(rules, build, |router, path| {
        let request = Request::get(path).body(axum::body::Body::empty()).ok()?;
        let answer = pin!(router.clone().call(request));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response.extensions().get::<usize>().copied(),
            _ => None,
        }
    })
}

fn per_host<R: 'static>(
    rules: &[RuleSpec],
    build: impl Fn(&[(&str, usize)]) -> R,
    find: impl Fn(&R, &str) -> Option<usize> + 'static,
) -> Find {
    let mut groups: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
    for (n, rule) in rules.iter().enumerate() {
        let PathPattern::Prefix(prefix) = &rule.path else { continue };
        groups.entry(&rule.host).or_default().push((prefix, n));
    }
    let routers: HashMap<String, R> =
        groups.into_iter().map(|(host, rules)| (host.to_owned(), build(&rules))).collect();
    Box::new(move |parts| {
        let head = RequestHead::of(parts);
        find(routers.get(head.host())?, head.path)
    })
}
