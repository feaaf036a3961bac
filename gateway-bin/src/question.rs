//! A request that is only asked about: what would become of it?
//!
//! In: method, URL, headers, server name. Out: an explanation from the table. Not here: how the
//! question is put (`cli`, `admin`) and printed.

use gateway_core::{
    compile::{Ingress, RouteTable},
    explain::{Explanation, explain},
    matcher::RequestHead,
};
use http::{HeaderMap, Method, Request, Uri};

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    /// With scheme and host; its port is that of the listener.
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    /// The server name of the handshake, if it is not the host. Empty for none.
    pub(crate) sni: Option<String>,
}

impl Question {
    /// What would become of it; an error if no Gateway listens on its port.
    pub(crate) fn ask(self, table: &RouteTable) -> Result<Explanation, String> {
        let is_secure = self.url.scheme_str() == Some("https");
        let port = self.url.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let bind = table.bind_on_port(port).ok_or_else(|| unserved(table, port))?;
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.url;
        *request.headers_mut() = self.headers;
        let (head, ()) = request.into_parts();
        let sni = self.sni.as_deref().or_else(|| head.uri.host()).filter(|name| !name.is_empty());
        let ingress = if is_secure { Ingress::tls(bind, sni) } else { Ingress::plain(bind) };
        Ok(explain(table, &ingress, &RequestHead::of(&head)))
    }
}

fn unserved(table: &RouteTable, port: u16) -> String {
    let mut ports: Vec<u16> = table.binds().map(|(_, bind)| bind.key.port).collect();
    ports.dedup();
    let served: Vec<String> = ports.iter().map(u16::to_string).collect();
    match &*served {
        [] => format!("no Gateway listens on port {port}, nor on any other"),
        _ => {
            format!("no Gateway listens on port {port}; listeners have port {}", served.join(", "))
        }
    }
}
