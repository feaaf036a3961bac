//! From a request to its rule and backend.

use gateway_core::api::ProtocolType;

use super::{
    Reference, backend, filters, hostname,
    listener::Listener,
    matching,
    route::{Route, Rule},
};
use crate::corpus::{Decision, Request};

/// What may become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Always this.
    Always(Decision),
    /// One of these, by the weights of their backends. The sum of the weights is not 0.
    Shares(Vec<(u64, Decision)>),
}

impl Verdict {
    /// The decision for the sending number `turn`: over as many sendings as the weights add up to,
    /// divided by what they have in common, each share comes out exactly.
    #[must_use]
    pub fn at(&self, turn: u64) -> Decision {
        let shares = match self {
            Self::Always(decision) => return decision.clone(),
            Self::Shares(shares) => shares,
        };
        let common = shares.iter().fold(0, |divisor, (weight, _)| gcd(divisor, *weight)).max(1);
        let total: u64 = shares.iter().map(|(weight, _)| weight / common).sum();
        let mut place = turn % total.max(1);
        for (weight, decision) in shares {
            match place.checked_sub(weight / common) {
                Some(rest) => place = rest,
                None => return decision.clone(),
            }
        }
        Decision::respond(500, "no-backend")
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The rule that a request belongs to.
pub(super) struct Found<'r> {
    pub(super) listener: &'r Listener,
    pub(super) route: &'r Route,
    pub(super) rule: &'r Rule,
    /// Its place in `spec.rules`.
    pub(super) rule_place: usize,
    /// Bytes of the path that a prefix covers.
    pub(super) matched_prefix: Option<usize>,
}

impl Reference {
    /// What may become of `request`.
    #[must_use]
    pub fn verdict(&self, request: &Request) -> Verdict {
        let found = match self.find(request) {
            Ok(found) => found,
            Err(decision) => return Verdict::Always(*decision),
        };
        let mut sent = filters::Sent::new(request, &found);
        if let Some(answer) = sent.apply(&self.world, &found, &found.rule.filters) {
            return Verdict::Always(answer);
        }
        // SPEC: a share is the weight over the sum of all weights, those of unusable backends too.
        let backends = found.rule.backends.iter().filter(|backend| backend.weight > 0);
        let share = |it: &super::route::Backend| {
            let mut sent = sent.clone();
            let decision = match backend::usable(&self.world, found.route, it) {
                None => refuse(500, "invalid-backend", request),
                Some(target) => match sent.apply(&self.world, &found, &it.filters) {
                    Some(answer) => answer,
                    None => sent.forward(&found, it, &target),
                },
            };
            (it.weight, decision)
        };
        let shares: Vec<_> = backends.map(share).collect();
        if shares.is_empty() {
            return Verdict::Always(refuse(500, "no-backend", request));
        }
        Verdict::Shares(shares)
    }

    pub(super) fn find<'r>(&'r self, request: &Request) -> Result<Found<'r>, Box<Decision>> {
        let host = hostname::of_authority(request.authority())
            .ok_or_else(|| Box::new(Decision::respond(400, "bad-request")))?;
        let place = self.listener(request, &host)?;
        let mut candidates = Vec::new();
        for (route, parents) in &self.routes {
            let attached = parents.iter().flat_map(|parent| parent.listeners.as_deref());
            if !attached.flatten().any(|it| *it == place) {
                continue;
            }
            // SPEC: the hostname of the route comes first, before anything in the match.
            let names = route.hostnames.iter().map(|name| &**name);
            let names = names.chain(route.hostnames.is_empty().then_some(""));
            let covering = names.filter(|name| hostname::covers(name, &host));
            let Some(name) = covering.map(hostname::specificity).min() else { continue };
            let created = route.meta.creation_timestamp.as_ref().and_then(|it| it.seconds());
            let age = (created.unwrap_or(i64::MAX), route.joined_name());
            for (rule_place, rule) in route.rules.iter().enumerate() {
                for (match_place, entry) in rule.matches.iter().enumerate() {
                    if let (Some(rank), None) = (matching::rank(entry, request), rule.error()) {
                        let rank = (name, rank, age.clone(), rule_place, match_place);
                        candidates.push((rank, route, rule, entry));
                    }
                }
            }
        }
        let best = candidates.into_iter().min_by(|(a, ..), (b, ..)| a.cmp(b));
        let (rank, route, rule, entry) =
            best.ok_or_else(|| Box::new(refuse(404, "no-route", request)))?;
        let listener = &self.listeners[place];
        let matched_prefix = matching::matched_prefix(entry);
        Ok(Found { listener, route, rule, rule_place: rank.3, matched_prefix })
    }

    // SPEC: one listener serves a request, the most specific one for its host. Over TLS the
    // handshake has chosen one already; if the host asks for another, the request is misdirected.
    fn listener(&self, request: &Request, host: &str) -> Result<usize, Box<Decision>> {
        let protocols: &[_] = if request.is_tls() { &["HTTPS", "TLS"] } else { &["HTTP"] };
        let choose = |host: &str| {
            let fits = |listener: &&(usize, &Listener)| {
                let listener = listener.1;
                listener.serves
                    && listener.spec.port == i32::from(request.port())
                    && protocols.contains(&listener.spec.protocol.as_str())
                    && request.gateway.as_ref().is_none_or(|name| *name == listener.gateway)
                    && hostname::covers(listener.hostname(), host)
            };
            let listeners: Vec<_> = self.listeners.iter().enumerate().collect();
            let fitting = listeners.iter().filter(fits);
            // Of equals the first: that of the older Gateway.
            fitting.min_by_key(|(_, it)| hostname::specificity(it.hostname())).map(|(at, _)| *at)
        };
        let none = || Box::new(Decision::respond(404, "no-listener"));
        let by_host = choose(host).ok_or_else(none);
        if !request.is_tls() {
            return by_host;
        }
        let name = request.sni().unwrap_or("").to_ascii_lowercase();
        let speaks_http = |place: &usize| {
            let listener = &self.listeners[*place];
            listener.has_certificate && listener.spec.protocol == ProtocolType::Https
        };
        let by_name = choose(&name).filter(speaks_http);
        let by_name = by_name.ok_or_else(none)?;
        match by_host? {
            place if place == by_name => Ok(place),
            _ => Err(Box::new(Decision::respond(421, "misdirected"))),
        }
    }
}

/// An answer of the gateway; to a gRPC call it is a gRPC status.
pub(super) fn refuse(status: u16, cause: &str, request: &Request) -> Decision {
    match status {
        404 if matching::is_grpc(request) => Decision::respond_grpc(12, cause),
        500 if matching::is_grpc(request) => Decision::respond_grpc(14, cause),
        _ => Decision::respond(status, cause),
    }
}
