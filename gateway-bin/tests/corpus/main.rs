//! The golden corpus on the program: every request as bytes on a socket, every backend a server of
//! its own, one data plane for all cases.
//!
//! Each case is put in the place of the one before while the data plane runs, and once more before
//! each of its requests, since the corpus counts turns of weights anew; so it tests reloads, too.
//! What cannot be seen from outside (route, rule, cause) is read in the access log. What the corpus
//! calls `no-listener` is, as it comes, a refused connection, a refused handshake or a 404.
//!
//! Clients are told apart by their addresses, one for each sending: backends see it in
//! `X-Forwarded-For`, the access log has it as the peer. That takes a system on which all of
//! 127.0.0.0/8 is loopback.
#![cfg(target_os = "linux")]

mod backends;
mod client;
mod outcome;
mod play;

use std::{collections::BTreeMap, time::Duration};

use gateway_testkit::corpus::{Case, Decision, Engine, ObjectStatus, Request, check_corpus, load};
use tokio::time::timeout;

use outcome::{Evidence, decision};
use play::{Played, Stage};

/// What is not compared: the fields of answers by the case that has them, and the reason.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "policy/session-persistence-does-not-change-routing",
    "sid",
    "names the endpoint, sealed with a key of the process; other engines know no endpoints",
)];

/// Longer than anything here takes, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn program() {
    let cases = load().unwrap_or_else(|error| panic!("{error}"));
    let (played, evidence) = play(&cases);
    check_corpus("program", false, |case| {
        let played = played.get(&case.name).expect("all cases are played");
        Some(Replay { case: case.name.clone(), played, evidence: &evidence, next: 0 })
    });
}

/// Plays all cases; what clients heard, and what backends and the access log tell beside it.
fn play(cases: &[Case]) -> (BTreeMap<String, Played>, Evidence) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut stage = Stage::set_up(cases);
        let mut played = BTreeMap::new();
        for case in cases {
            let playing = timeout(PATIENCE, stage.play(case));
            let heard = playing.await.unwrap_or_else(|_| panic!("{} must end", case.name));
            played.insert(case.name.clone(), heard);
        }
        (played, stage.close().await)
    })
}

/// What was played, told once more in the order of the requests.
struct Replay<'p> {
    case: String,
    played: &'p Played,
    evidence: &'p Evidence,
    next: usize,
}

impl Engine for Replay<'_> {
    fn status(&self) -> Vec<ObjectStatus> {
        self.played.status.clone()
    }

    fn decide(&mut self, request: &Request, _turn: u64) -> Decision {
        let sending = &self.played.sendings[self.next];
        self.next += 1;
        let mut decision = decision(request, sending, &self.played.topology, self.evidence);
        if let Decision::Forward(forward) = &mut decision {
            for (_, field, _) in EXCEPTIONS.iter().filter(|(case, ..)| *case == self.case) {
                let line = format!("{field}: ");
                forward.response_headers.retain(|its| !its.starts_with(&line));
            }
        }
        decision
    }
}
