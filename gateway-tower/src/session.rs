//! Sessions: requests of one client stay with one endpoint.
//!
//! In: `sessionPersistence` of a rule, or of a backend's traffic policy, and the client's token.
//! Out: the backend and endpoint that the token names, and a token for the answer. Not here:
//! whether the endpoint still exists; who chooses among endpoints knows.
//!
//! A token is made of hashes under a secret key: it tells nothing about the endpoint, and nobody
//! but the gateway can make one.

use std::{
    fmt::{self, Write as _},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use gateway_core::{
    backend::{Backend, BackendKey, SessionPersistence, WeightedBackend},
    compile::Found,
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request};

use crate::RouteSettings;

/// A keyed hash for session tokens. All instances that share clients must share the key.
#[derive(Clone)]
pub struct SessionKey(Arc<Mac>);

type Mac = dyn Fn(&[u8]) -> [u8; 16] + Send + Sync;

impl SessionKey {
    /// `mac` must be a keyed hash that nobody without the key can compute, such as HMAC-SHA-256
    /// cut to 128 bits, or SipHash-2-4-128.
    #[must_use]
    pub fn new(mac: impl Fn(&[u8]) -> [u8; 16] + Send + Sync + 'static) -> Self {
        Self(Arc::new(mac))
    }

    /// A key of this process: sessions end when it does. Uses the keyed hash of the standard
    /// library's maps.
    #[must_use]
    pub fn random() -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self::new(move |message| {
            let mut tag = [0; 16];
            for (half, key) in tag.chunks_exact_mut(8).zip(&keys) {
                let mut hasher = key.build_hasher();
                hasher.write(message);
                half.copy_from_slice(&hasher.finish().to_be_bytes());
            }
            tag
        })
    }

    /// The hash of `text` for one use; `purpose` keeps the uses apart.
    fn tag(&self, purpose: &str, text: &dyn fmt::Display) -> [u8; 16] {
        let mut message = String::with_capacity(64);
        // Writing to a string cannot fail.
        let _ = write!(message, "{purpose}\0{text}");
        (self.0)(message.as_bytes())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

/// The endpoint that a session is bound to, recognizable but not readable.
#[derive(Clone, Debug)]
pub struct SessionHint {
    key: SessionKey,
    endpoint: [u8; 16],
}

impl SessionHint {
    /// Whether `endpoint` is the one.
    #[must_use]
    pub fn names(&self, endpoint: SocketAddr) -> bool {
        self.key.tag("endpoint", &endpoint) == self.endpoint
    }
}

/// The session of a request, found or to be started.
pub(crate) struct Session<'t> {
    policy: &'t SessionPersistence,
    scope: String,
    key: SessionKey,
    /// What the client's token says, if it is good.
    bound: Option<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    backend: [u8; 16],
    endpoint: [u8; 16],
    /// Seconds since 1970 of the session's start.
    started: u64,
}

/// Version, backend, endpoint, start, integrity.
const TOKEN_BYTES: usize = 1 + 16 + 16 + 8 + 16;
const VERSION: u8 = 1;

impl<'t> Session<'t> {
    /// The session that the client is in or, where the rule keeps sessions, will be in.
    // SPEC: a rule's own setting overrides that of a backend's policy.
    pub(crate) fn find(
        found: &Found<'t>,
        head: &request::Parts,
        settings: &RouteSettings,
    ) -> Option<Self> {
        let read = |mut session: Self| {
            session.bound = session.read(&head.headers, settings.clock.now());
            session
        };
        let rule = &**found.rule;
        if let Some(policy) = &rule.session_persistence {
            return Some(read(Self::of_rule(policy, found, &settings.session_key)));
        }
        let backends = rule.backends.as_slice().iter().filter_map(|one| one.target.as_ref().ok());
        backends
            .filter_map(|backend| Self::of_backend(backend, &settings.session_key))
            .map(read)
            .find(|session| session.bound.is_some())
    }

    /// A session that the policy of `backend` asks for; none if neither it nor the rule asks.
    pub(crate) fn start(
        found: &Found<'t>,
        backend: &'t Backend,
        settings: &RouteSettings,
    ) -> Option<Self> {
        let key = &settings.session_key;
        match &found.rule.session_persistence {
            Some(policy) => Some(Self::of_rule(policy, found, key)),
            None => Self::of_backend(backend, key),
        }
    }

    fn of_rule(policy: &'t SessionPersistence, found: &Found<'t>, key: &SessionKey) -> Self {
        let route = &found.route.key;
        let scope =
            format!("{:?}/{}/{}#{}", route.kind, route.namespace, route.name, found.rule.index);
        Self { policy, scope, key: key.clone(), bound: None }
    }

    fn of_backend(backend: &'t Backend, key: &SessionKey) -> Option<Self> {
        let policy = backend.session_persistence.as_deref()?;
        Some(Self { policy, scope: backend.key.to_string(), key: key.clone(), bound: None })
    }

    /// The backend that the session is bound to, whatever its weight is now.
    pub(crate) fn backend<'b>(
        &self,
        backends: &'b [WeightedBackend],
    ) -> Option<&'b WeightedBackend> {
        let bound = self.bound?;
        backends.iter().find(|backend| {
            let key = backend.target.as_ref().ok().map(|target| &target.key);
            key.is_some_and(|key| self.backend_tag(key) == bound.backend)
        })
    }

    /// What the choice of an endpoint should respect.
    pub(crate) fn hint(&self, backend: &BackendKey) -> Option<SessionHint> {
        let bound = self.bound.filter(|bound| bound.backend == self.backend_tag(backend))?;
        Some(SessionHint { key: self.key.clone(), endpoint: bound.endpoint })
    }

    /// Binds the session to the endpoint that answered, if it is not bound to it already.
    pub(crate) fn bind(
        &self,
        backend: &BackendKey,
        endpoint: SocketAddr,
        secure: bool,
        now: SystemTime,
        headers: &mut HeaderMap,
    ) {
        let (backend, endpoint) = (self.backend_tag(backend), self.key.tag("endpoint", &endpoint));
        if self.bound.is_some_and(|token| (token.backend, token.endpoint) == (backend, endpoint)) {
            return;
        }
        let token = self.write(Token { backend, endpoint, started: seconds(now) });
        let name = self.name();
        if self.policy.header {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(&*name), HeaderValue::try_from(token))
            {
                headers.insert(name, value);
            }
        } else if let Ok(value) = HeaderValue::try_from(self.cookie(&name, &token, secure)) {
            headers.append(header::SET_COOKIE, value);
        }
    }

    fn backend_tag(&self, key: &BackendKey) -> [u8; 16] {
        self.key.tag("backend", key)
    }

    // SPEC: a session cookie lives as long as the browser, a permanent one as long as the session.
    fn cookie(&self, name: &str, token: &str, secure: bool) -> String {
        let mut cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
        if secure {
            cookie.push_str("; Secure");
        }
        if let (true, Some(lifetime)) = (self.policy.permanent, self.policy.absolute_timeout) {
            cookie.push_str(&format!("; Max-Age={}", lifetime.as_secs()));
        }
        cookie
    }

    /// The name of the cookie or header; made from the scope where the policy has none.
    fn name(&self) -> String {
        match &self.policy.name {
            Some(name) => name.to_string(),
            // FNV-1a: the name must be the same in every process, and needs no secret.
            None => format!(
                "gateway-session-{:08x}",
                self.scope.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
                })
            ),
        }
    }

    fn read(&self, headers: &HeaderMap, now: SystemTime) -> Option<Token> {
        let name = self.name();
        let token = if self.policy.header {
            headers.get(name)?.to_str().ok()?
        } else {
            cookies(headers).find_map(|(key, value)| (key == name).then_some(value))?
        };
        let token = self.verify(token)?;
        let is_over = self.policy.absolute_timeout.is_some_and(|limit| {
            let end = Duration::from_secs(token.started).saturating_add(limit);
            !limit.is_zero() && Duration::from_secs(seconds(now)) >= end
        });
        (!is_over).then_some(token)
    }

    fn write(&self, token: Token) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&token.backend);
        bytes.extend_from_slice(&token.endpoint);
        bytes.extend_from_slice(&token.started.to_be_bytes());
        let seal = self.seal(&bytes);
        bytes.extend_from_slice(&seal);
        bytes.iter().fold(String::with_capacity(2 * TOKEN_BYTES), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn verify(&self, text: &str) -> Option<Token> {
        let bytes: [u8; TOKEN_BYTES] = unhex(text)?;
        let (content, seal) = bytes.split_at(TOKEN_BYTES - 16);
        let differences = self.seal(content).iter().zip(seal).fold(0, |all, (a, b)| all | (a ^ b));
        if differences != 0 || content[0] != VERSION {
            return None;
        }
        Some(Token {
            backend: content[1..17].try_into().ok()?,
            endpoint: content[17..33].try_into().ok()?,
            started: u64::from_be_bytes(content[33..41].try_into().ok()?),
        })
    }

    /// Binds the content to its scope: a token of one rule says nothing to another.
    fn seal(&self, content: &[u8]) -> [u8; 16] {
        let mut message = Vec::with_capacity(8 + self.scope.len() + content.len());
        message.extend_from_slice(b"seal\0");
        message.extend_from_slice(content);
        message.extend_from_slice(self.scope.as_bytes());
        (self.key.0)(&message)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}
