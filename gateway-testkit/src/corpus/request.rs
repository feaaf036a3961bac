//! One entry of `requests:` in a case, read into what a client would send.

use std::fmt;

use serde::Deserialize;

/// A request as the corpus writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Scheme, host, port of the listener, path and query.
    pub url: String,
    /// The method; GET, or POST for gRPC, where it is not written.
    #[serde(default)]
    method: Option<String>,
    /// The Host field as sent, where it differs from the authority of the URL.
    #[serde(default)]
    host: Option<String>,
    /// Field lines in order, `name: value`.
    #[serde(default)]
    headers: Vec<String>,
    /// `namespace/name` of the Gateway that is called, where several share the port.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The server name of the handshake; empty for none.
    #[serde(default)]
    sni: Option<String>,
    /// Whether it is a gRPC call.
    #[serde(default)]
    pub grpc: bool,
    /// How often it is sent.
    #[serde(default = "once")]
    pub repeat: u64,
}

fn once() -> u64 {
    1
}

impl Request {
    /// A GET of `url`.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: None,
            host: None,
            headers: Vec::new(),
            gateway: None,
            sni: None,
            grpc: false,
            repeat: 1,
        }
    }

    /// The same with another method.
    #[must_use]
    pub fn with_method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// The same with one more field line.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// The same as a gRPC call.
    #[must_use]
    pub fn with_grpc(self) -> Self {
        Self { grpc: true, ..self }
    }

    /// The same with another server name in the handshake; empty for none.
    #[must_use]
    pub fn with_sni(self, name: &str) -> Self {
        Self { sni: Some(name.to_owned()), ..self }
    }

    /// The same with the Gateway `namespace/name` as the one that is called.
    #[must_use]
    pub fn with_gateway(self, gateway: &str) -> Self {
        Self { gateway: Some(gateway.to_owned()), ..self }
    }

    /// Whether it comes over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The port that is called.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_tls() { 443 } else { 80 };
        match self.url_authority().rsplit_once(':') {
            Some((_, port)) => port.parse().unwrap_or(default),
            None => default,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or(if self.grpc { "POST" } else { "GET" })
    }

    /// The Host field or `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.host.as_deref().unwrap_or_else(|| self.url_authority())
    }

    /// The server name of the handshake; none without TLS or without a name.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        let of_url = || self.url_authority().split(':').next();
        let name = self.sni.as_deref().or_else(of_url).filter(|name| !name.is_empty());
        name.filter(|_| self.is_tls())
    }

    /// Path and query as sent.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let rest = self.after_scheme();
        match rest.find(['/', '?']) {
            Some(start) => &rest[start..],
            None => "/",
        }
    }

    /// The path as sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query().split('?').next().unwrap_or("/")
    }

    /// The query as sent, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// The field lines as the case writes them, without Host and what gRPC brings along.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.headers
    }

    /// The field lines in order, names in lower case, without Host.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let grpc = grpc.iter().filter(|_| self.grpc).map(|(n, v)| ((*n).into(), (*v).into()));
        let written = self.headers.iter().map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_ascii_lowercase(), value.trim().to_owned())
        });
        // What the case writes replaces what gRPC brings along.
        let written: Vec<(String, String)> = written.collect();
        let is_written =
            |name: &String| written.iter().any(|(other, _): &(String, String)| other == name);
        let mut all: Vec<_> = grpc.filter(|(name, _): &(String, _)| !is_written(name)).collect();
        all.extend(written);
        all
    }

    /// The head as the `http` crate has it: the URI is the path with the query, as HTTP/1.1 sends
    /// it, and the host is in the Host field.
    ///
    /// # Errors
    /// If the parts of the request cannot be written as an HTTP head.
    pub fn head(&self) -> Result<http::request::Parts, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method())
            .uri(self.path_and_query())
            .header(http::header::HOST, self.authority());
        if self.grpc {
            request = request.version(http::Version::HTTP_2);
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        Ok(request.body(())?.into_parts().0)
    }

    fn after_scheme(&self) -> &str {
        self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest)
    }

    fn url_authority(&self) -> &str {
        let rest = self.after_scheme();
        &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
    }
}

impl fmt::Display for Request {
    /// Writes the request as one entry of a case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{url: {}", quoted(&self.url))?;
        if let Some(method) = &self.method {
            write!(f, ", method: {method}")?;
        }
        if let Some(host) = &self.host {
            write!(f, ", host: {}", quoted(host))?;
        }
        if !self.headers.is_empty() {
            let lines: Vec<_> = self.headers.iter().map(|line| quoted(line)).collect();
            write!(f, ", headers: [{}]", lines.join(", "))?;
        }
        if let Some(gateway) = &self.gateway {
            write!(f, ", gateway: {gateway}")?;
        }
        if let Some(sni) = &self.sni {
            write!(f, ", sni: {}", quoted(sni))?;
        }
        if self.grpc {
            f.write_str(", grpc: true")?;
        }
        if self.repeat != 1 {
            write!(f, ", repeat: {}", self.repeat)?;
        }
        f.write_str("}")
    }
}

/// `text` as a YAML string in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn the_url_is_taken_apart() {
        let request = Request::get("https://a.example:8443/x/y?b=1");
        assert_eq!((request.port(), request.authority()), (8443, "a.example:8443"));
        assert_eq!((request.path(), request.query()), ("/x/y", Some("b=1")));
        assert_eq!(request.sni(), Some("a.example"));
        let request = Request::get("http://a.example");
        assert_eq!((request.port(), request.path(), request.sni()), (80, "/", None));
    }

    #[test]
    fn a_grpc_call_brings_its_headers_along() {
        let request = Request::get("http://a/s/m").with_grpc().with_header("X-A", "1");
        assert_eq!(request.method(), "POST");
        let names: Vec<_> = request.headers().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["content-type", "te", "x-a"]);
    }
}
