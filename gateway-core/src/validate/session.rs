//! Session persistence, of routes and of XBackendTrafficPolicy.

use super::check::{At, Check};
use crate::api::{CookieLifetimeType, SessionPersistence, SessionPersistenceType};
use crate::diagnostic::Code;

pub(super) fn session(check: &mut Check<'_>, session: &SessionPersistence, at: &At<'_>) {
    if let Some(name) = &session.session_name {
        check.text_length(&at.field("sessionName"), name, 128);
    }
    if let Some(timeout) = &session.absolute_timeout {
        check.duration(&at.field("absoluteTimeout"), timeout);
    }
    if let Some(kind) = &session.kind {
        check.known(&at.field("type"), kind, &[]);
    }
    let Some(cookie) = &session.cookie_config else { return };
    let cookie_at = at.field("cookieConfig");
    if let Some(lifetime) = &cookie.lifetime_type {
        check.known(&cookie_at.field("lifetimeType"), lifetime, &[]);
    }
    if *cookie.lifetime_type() == CookieLifetimeType::Permanent
        && session.absolute_timeout.is_none()
    {
        let message = "a permanent cookie needs an absoluteTimeout";
        check.error(&cookie_at.field("lifetimeType"), Code::SessionLifetime, message);
    }
    if *session.kind() != SessionPersistenceType::Cookie {
        let message =
            format!("cookieConfig is for the type Cookie, not for {:?}", session.kind().as_str());
        check.error(&cookie_at, Code::SessionCookieConfig, message);
    }
}
