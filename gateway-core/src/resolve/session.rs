//! `sessionPersistence`, of rules and of traffic policies.
//!
//! In: the setting as written. Out: [`SessionPersistence`]. Not here: cookies and headers.

use crate::{
    api::{self, CookieLifetimeType, SessionPersistenceType},
    backend::SessionPersistence,
};

/// Reads the setting.
///
/// # Errors
///
/// Says which value is wrong.
pub(super) fn session_persistence(
    written: &api::SessionPersistence,
) -> Result<SessionPersistence, String> {
    let header = match written.kind() {
        SessionPersistenceType::Cookie => false,
        SessionPersistenceType::Header => true,
        SessionPersistenceType::Unknown(kind) => {
            return Err(format!("sessionPersistence.type is {kind:?}, expected Cookie or Header"));
        }
    };
    let absolute_timeout = match &written.absolute_timeout {
        None => None,
        Some(timeout) => Some(timeout.to_std().map_err(|error| {
            format!("sessionPersistence.absoluteTimeout is {:?}: {error}", timeout.as_str())
        })?),
    };
    let cookie = written.cookie_config.clone().unwrap_or_default();
    let permanent = match cookie.lifetime_type() {
        CookieLifetimeType::Session => false,
        CookieLifetimeType::Permanent => true,
        CookieLifetimeType::Unknown(kind) => {
            return Err(format!(
                "sessionPersistence.cookieConfig.lifetimeType is {kind:?}, expected Session or \
                 Permanent"
            ));
        }
    };
    if permanent && absolute_timeout.is_none() {
        return Err("sessionPersistence with a Permanent cookie needs absoluteTimeout".to_owned());
    }
    let name = written.session_name.as_deref();
    if let Some(name) = name.filter(|name| http::HeaderName::try_from(*name).is_err()) {
        return Err(format!("sessionPersistence.sessionName {name:?} is no token"));
    }
    Ok(SessionPersistence { name: name.map(Into::into), header, absolute_timeout, permanent })
}
