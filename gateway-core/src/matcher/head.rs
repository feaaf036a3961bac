//! The part of a request that routing looks at, borrowed.

use http::header::HOST;

/// Whether the request came in over TLS, as the listener sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text: listeners of protocol HTTP.
    #[default]
    Http,
    /// Over TLS: listeners of protocol HTTPS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme need not write: 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What a match looks at: the head of a request, without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method, compared byte for byte.
    pub method: &'a http::Method,
    /// The authority as the client sent it: host and, if written, the port. Any letter case.
    pub authority: &'a str,
    /// The path still percent-encoded, without the query; starts with `/`.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a http::HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// Views the head of `parts`. The authority is that of the URI (absolute form, HTTP/2), else
    /// the `Host` field, else empty (RFC 9112 section 3.2.2).
    ///
    /// ```
    /// use gateway_core::matcher::RequestHead;
    /// let (parts, ()) = http::Request::get("/cart?x=1")
    ///     .header("host", "shop.example.com:8080")
    ///     .body(())?
    ///     .into_parts();
    /// let head = RequestHead::of(&parts);
    /// assert_eq!(head.host(), "shop.example.com");
    /// assert_eq!((head.path, head.query), ("/cart", Some("x=1")));
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn of(parts: &'a http::request::Parts) -> Self {
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts.headers.get(HOST).and_then(text).unwrap_or(""),
        };
        Self {
            method: &parts.method,
            authority,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
        }
    }

    /// The host of the authority: no port, no trailing dot, letter case as received.
    #[must_use]
    pub fn host(&self) -> &'a str {
        let host = strip_port(self.authority);
        host.strip_suffix('.').unwrap_or(host)
    }
}

fn text(value: &http::HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

// PERF: bench `match`: most authorities have no port, which their last byte tells.
fn strip_port(authority: &str) -> &str {
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit).count();
    authority[..authority.len() - digits].strip_suffix(':').unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::strip_port;

    #[test]
    fn the_port_is_stripped_and_nothing_else() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:", "a.example"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("", ""),
            (":80", ""),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:8080", "10.0.0.1"),
            ("a.example:x", "a.example:x"),
        ] {
            assert_eq!(strip_port(authority), host, "{authority}");
        }
    }
}
