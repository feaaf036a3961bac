//! Single values of the command line.
//!
//! In: a word from the shell. Out: a typed value, or what such a word looks like. Not here: which
//! flag has which value.

use std::{path::PathBuf, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, Method, Uri};

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

impl FromStr for AccessLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" | "-" => Ok(Self::Stdout),
            "" => Err("is empty; give off, stdout or the path of a file".to_owned()),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// A listener's port and the port that it is served on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The port in the Gateway.
    pub from: u16,
    /// The port of the socket; 0 takes a free one.
    pub to: u16,
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').ok_or("has no '='; write for example 80=8080")?;
        let port = |text: &str| {
            text.parse::<u16>().map_err(|_| format!("{text:?} is no port from 0 to 65535"))
        };
        match port(from)? {
            0 => Err("a listener's port is never 0".to_owned()),
            from => Ok(Self { from, to: port(to)? }),
        }
    }
}

/// A request's method and absolute address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// `GET` if it is left out.
    pub method: Method,
    /// With scheme `http` or `https` and a host.
    pub uri: Uri,
}

impl RequestLine {
    /// The port asked for, given or by scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or_else(|| if self.is_https() { 443 } else { 80 })
    }

    /// Whether the request comes over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

impl FromStr for RequestLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, address) = text.trim().split_once(' ').unwrap_or_else(|| ("GET", text.trim()));
        let method = method.parse().map_err(|_| format!("{method:?} is no HTTP method"))?;
        let address = address.trim();
        let uri: Uri = address.parse().map_err(|error| format!("{address:?}: {error}"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(Self { method, uri }),
            _ => Err(format!("{address:?} is no address such as http://shop.example.com/cart")),
        }
    }
}

/// A header as curl takes it: `name: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLine {
    /// In lower case.
    pub name: HeaderName,
    /// Without the blanks around it.
    pub value: HeaderValue,
}

impl FromStr for HeaderLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("has no ':'; write 'name: value'")?;
        Ok(Self {
            name: name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?,
            value: value.trim().parse().map_err(|_| format!("{value:?} is no header value"))?,
        })
    }
}

/// A time in the notation of the Gateway API (GEP-2257), such as `1m30s` or `250ms`.
///
/// # Errors
///
/// Tells what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 30s, 1m30s or 250ms");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u32 = number.parse().ok().filter(|n| *n < 100_000).ok_or_else(wrong)?;
        let unit = match unit {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return Err(wrong()),
        };
        total += unit * number;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A time as [`parse_duration`] reads it; what is too long for that is as long as can be.
#[cfg(feature = "kubernetes")]
pub(crate) fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        ((seconds / 3600).min(99_999), "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(time.subsec_millis()), "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A time without which nothing could go on.
pub(super) fn parse_idle(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("would end every stream at once".to_owned()),
        idle => Ok(idle),
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, str::FromStr, time::Duration};

    use super::{AccessLog, HeaderLine, PortMapping, RequestLine, parse_duration};

    #[track_caller]
    fn check<T: FromStr<Err = String> + Debug>(input: &str, expect: &str) {
        let seen = match input.parse::<T>() {
            Ok(value) => format!("{value:?}"),
            Err(message) => format!("error: {message}"),
        };
        assert_eq!(seen, expect);
    }

    #[test]
    fn ports_are_mapped() {
        check::<PortMapping>("80=8080", "PortMapping { from: 80, to: 8080 }");
        check::<PortMapping>("80=0", "PortMapping { from: 80, to: 0 }");
        check::<PortMapping>("0=80", "error: a listener's port is never 0");
        check::<PortMapping>("80", "error: has no '='; write for example 80=8080");
        check::<PortMapping>("80=99999", "error: \"99999\" is no port from 0 to 65535");
    }

    #[test]
    fn access_logs() {
        check::<AccessLog>("off", "Off");
        check::<AccessLog>("-", "Stdout");
        check::<AccessLog>("/var/log/gw", "File(\"/var/log/gw\")");
    }

    #[test]
    fn requests() {
        check::<RequestLine>(
            "GET http://a.example/b?c=1",
            "RequestLine { method: GET, uri: http://a.example/b?c=1 }",
        );
        check::<RequestLine>("https://a/", "RequestLine { method: GET, uri: https://a/ }");
        check::<RequestLine>(
            "GET /b",
            "error: \"/b\" is no address such as http://shop.example.com/cart",
        );
        let line: RequestLine = "GET https://a/".parse().unwrap();
        assert_eq!((line.port(), line.is_https()), (443, true));
        let line: RequestLine = "GET http://a:81/".parse().unwrap();
        assert_eq!((line.port(), line.is_https()), (81, false));
    }

    #[test]
    fn headers() {
        check::<HeaderLine>("X-A:  b ", "HeaderLine { name: \"x-a\", value: \"b\" }");
        check::<HeaderLine>("a b: c", "error: \"a b\" is no header name");
        check::<HeaderLine>("a", "error: has no ':'; write 'name: value'");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "1", "-1s", "1.5s", "1d", "100000ms", "s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(feature = "kubernetes")]
    #[test]
    fn durations_are_read_as_they_are_written() {
        for text in ["0s", "250ms", "30s", "1m30s", "1h", "99999h59m59s999ms"] {
            let time = parse_duration(text).expect("it is a duration");
            assert_eq!(super::format_duration(time), text);
        }
        assert_eq!(super::format_duration(Duration::MAX), "99999h15s999ms");
    }
}
