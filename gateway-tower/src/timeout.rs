//! Time limits of requests.
//!
//! In: `timeouts` of the rule and the `grpc-timeout` of the client. Out: the moments at which the
//! exchange and each try must be over. Not here: limits that belong to a connection.

use std::time::Duration;

use gateway_core::resolve::topology::Timeouts;
use http::HeaderMap;
use tokio::time::Instant;

/// When the exchange must be over, counted from now; none: never.
// SPEC: `timeouts.request` spans the whole exchange, also the answer's body; "0s" switches it off,
// absent leaves it to the implementation.
pub(crate) fn request_deadline(
    timeouts: &Timeouts,
    default: Option<Duration>,
    grpc: Option<&HeaderMap>,
) -> Option<Instant> {
    let of_rule = timeouts.request.or(default).filter(|limit| !limit.is_zero());
    let of_client = grpc.and_then(grpc_timeout);
    let limit = match (of_rule, of_client) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    limit.and_then(after)
}

/// When a try that starts now must be over: after `limit`, and with the exchange at the latest.
pub(crate) fn try_deadline(limit: Option<Duration>, whole: Option<Instant>) -> Option<Instant> {
    let own = limit.filter(|limit| !limit.is_zero()).and_then(after);
    match (own, whole) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

// A limit beyond the reach of the clock is none.
fn after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

/// How long the client of a gRPC call waits. A value that is none is ignored.
// SPEC: gRPC over HTTP/2: at most eight digits and a unit out of H M S m u n.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::grpc_timeout;

    #[test]
    fn grpc_timeouts() {
        for (value, expect) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("10S", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("+1S", None),
            ("1s", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(value));
            assert_eq!(grpc_timeout(&headers), expect, "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_bytes(b"1\xff").expect("opaque"));
        assert_eq!(grpc_timeout(&headers), None);
    }
}
