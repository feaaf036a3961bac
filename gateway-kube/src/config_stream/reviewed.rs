//! Who shows a token, asked no more often than needed.
//!
//! In: tokens. Out: what another [`Authenticate`] says of them, remembered for a moment. Anybody who
//! reaches the port can show tokens, so what they cost is bounded: a few are checked at a time, some
//! wait, fewer of one peer, the rest is to come again. Not here: checking a token.
//!
//! Tokens are remembered by their SHA-256 alone, so none can be found in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use rustls::{SupportedCipherSuite, crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256};
use tokio::{
    sync::{Semaphore, TryAcquireError},
    time::Instant,
};

use super::{
    publisher::lock,
    service::{Authenticate, Identity, Refusal},
    share::{Peer, Shares},
};

/// Tokens that are checked at a time.
const AT_A_TIME: usize = 16;

/// Tokens that wait to be checked, those that are being checked included.
const QUEUE: usize = 256;

/// Those of one peer: many pods may come by the address of their node.
const OF_PEER: usize = 16;

/// How long an answer counts. A token that is revoked meanwhile is good for a stream that much
/// longer; streams last up to an hour anyway.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Answers that are remembered.
const MOST: usize = 4096;

/// Longer ones are nobody's: those of service accounts have about a thousand bytes.
const LONGEST: usize = 16 << 10;

type Digest = Box<[u8]>;
type Answer = Result<Identity, Refusal>;

/// Remembers and bounds what is asked of `A`.
pub(super) struct Reviewed<A> {
    ask: A,
    known: Mutex<HashMap<Digest, (Instant, Answer)>>,
    queue: Semaphore,
    shares: Shares,
    at_a_time: Semaphore,
}

impl<A: Authenticate> Reviewed<A> {
    pub(super) fn new(ask: A) -> Self {
        let (queue, at_a_time) = (Semaphore::new(QUEUE), Semaphore::new(AT_A_TIME));
        let shares = Shares::new(OF_PEER);
        Self { ask, known: Mutex::default(), queue, shares, at_a_time }
    }

    /// # Errors
    /// If the token is not good, or cannot be checked just now.
    pub(super) async fn authenticate(&self, peer: Peer, token: &str) -> Answer {
        if token.len() > LONGEST {
            let error = format!("the token has {} bytes, more than {LONGEST}", token.len());
            return Err(Refusal::Invalid(error));
        }
        let digest = digest(token);
        if let Some(answer) = self.remembered(&digest) {
            return answer;
        }
        let Some(_share) = self.shares.take(peer) else {
            let error = format!("{OF_PEER} tokens of this address are being checked, come again");
            return Err(Refusal::Unavailable(error));
        };
        let _queued = match self.queue.try_acquire() {
            Ok(queued) => queued,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                let error = format!("{QUEUE} tokens are being checked already, come again");
                return Err(Refusal::Unavailable(error));
            }
        };
        let Ok(_checked) = self.at_a_time.acquire().await else {
            return Err(Refusal::Unavailable("no tokens are checked any more".to_owned()));
        };
        // Somebody may have shown the same one meanwhile.
        if let Some(answer) = self.remembered(&digest) {
            return answer;
        }
        let answer = self.ask.authenticate(token).await;
        if !matches!(answer, Err(Refusal::Unavailable(_))) {
            self.remember(digest, answer.clone());
        }
        answer
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, (Instant, Answer)>> {
        lock(&self.known)
    }

    fn remembered(&self, digest: &Digest) -> Option<Answer> {
        let known = self.known();
        let (at, answer) = known.get(digest)?;
        (at.elapsed() < REMEMBERED).then(|| answer.clone())
    }

    fn remember(&self, digest: Digest, answer: Answer) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        // Bad tokens take no room from good ones, of which there are no more than pods.
        if known.len() < MOST || answer.is_ok() {
            if known.len() >= MOST {
                known.retain(|_, (_, answer)| answer.is_ok());
            }
            if known.len() < MOST {
                known.insert(digest, (Instant::now(), answer));
            }
        }
    }
}

fn digest(token: &str) -> Digest {
    match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => {
            suite.common.hash_provider.hash(token.as_bytes()).as_ref().into()
        }
        // The constant is never that.
        SupportedCipherSuite::Tls12(_) => token.as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::{join, time::sleep};

    use super::{AT_A_TIME, LONGEST, OF_PEER, QUEUE, Reviewed, digest};
    use crate::config_stream::{Account, Authenticate, Identity, Refusal, share::Peer};

    fn peer(number: u32) -> Peer {
        Peer::of(std::net::Ipv4Addr::from(number).into())
    }

    /// Takes a second, and tokens that begin with `good`.
    #[derive(Clone, Default)]
    struct Slow {
        asked: Arc<AtomicUsize>,
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Authenticate for Slow {
        async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            let account = Account { namespace: "infra".into(), name: token.into() };
            match token {
                _ if token.starts_with("good") => Ok(Identity { account, pod: "".into() }),
                "busy" => Err(Refusal::Unavailable("later".to_owned())),
                _ => Err(Refusal::Invalid("bad".to_owned())),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_moment() {
        let slow = Slow::default();
        let reviewed = Reviewed::new(slow.clone());
        let asked = || slow.asked.load(Ordering::Relaxed);
        for (token, expect) in [("good", 1), ("bad", 2)] {
            for _ in 0..5 {
                assert_eq!(reviewed.authenticate(peer(0), token).await.is_ok(), token == "good");
            }
            assert_eq!(asked(), expect, "{token}");
        }
        // Who could not be checked is asked about again.
        for _ in 0..2 {
            assert!(reviewed.authenticate(peer(0), "busy").await.is_err());
        }
        assert_eq!(asked(), 4);
        sleep(Duration::from_secs(31)).await;
        assert!(reviewed.authenticate(peer(0), "good").await.is_ok());
        assert_eq!(asked(), 5);
        assert!(reviewed.authenticate(peer(0), &"x".repeat(LONGEST + 1)).await.is_err());
        assert_eq!(asked(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_asked_about_at_a_time_and_the_excess_is_sent_away() {
        let slow = Slow::default();
        let reviewed = Reviewed::new(slow.clone());
        let tokens: Vec<String> = (0..2 * QUEUE).map(|number| format!("good{number}")).collect();
        // Each has a peer of its own.
        let asked = (0..).zip(&tokens);
        let asked = asked.map(|(from, token)| reviewed.authenticate(peer(from), token));
        let answers = join_all(asked).await;
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        let busy = |answer: &&Result<Identity, Refusal>| matches!(answer, Err(Refusal::Unavailable(error)) if error.contains("come again"));
        assert_eq!((good, answers.iter().filter(busy).count()), (QUEUE, QUEUE));
        assert_eq!(slow.most.load(Ordering::Relaxed), AT_A_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn one_peer_leaves_room_for_others() {
        let slow = Slow::default();
        let reviewed = Reviewed::new(slow.clone());
        let tokens: Vec<String> = (0..2 * QUEUE).map(|number| format!("bad{number}")).collect();
        let flood = join_all(tokens.iter().map(|token| reviewed.authenticate(peer(1), token)));
        let (flood, other) = join!(flood, reviewed.authenticate(peer(2), "good"));
        assert!(other.is_ok());
        assert_eq!(slow.asked.load(Ordering::Relaxed), OF_PEER + 1);
        let away = |answer: &&Result<_, Refusal>| matches!(answer, Err(Refusal::Unavailable(error)) if error.contains("of this address"));
        assert_eq!(flood.iter().filter(away).count(), 2 * QUEUE - OF_PEER);
        // Its share is given back.
        assert!(reviewed.authenticate(peer(1), "good1").await.is_ok());
    }

    #[test]
    fn a_token_is_known_by_its_digest() {
        assert_eq!(digest("a").len(), 32);
        assert_ne!(digest("a"), digest("b"));
    }
}
