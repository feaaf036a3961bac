//! Requests over the same small alphabets.

use super::{Bytes, gateways::Parent};
use crate::corpus::Request;

pub(super) fn request(bytes: &mut Bytes<'_>, parents: &[Parent]) -> Request {
    let hosts = [
        "a.x", "a.x", "b.a.x", "b.a.x", "b.x", "c.b.a.x", "x", "y", "c.y", "A.X", "b.a.x.", "ax",
        "a.x.evil",
    ];
    let host = bytes.pick(&hosts);
    let paths =
        ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/s/m", "/s.t/n", "/s", "//a", "/A", "/%C3%A9"];
    let path = bytes.pick(&paths);
    let queries = [
        "",
        "",
        "",
        "?q=1",
        "?q=2",
        "?r=1&q=1",
        "?q=%31&r=2",
        "?q",
        "?q=2&q=1",
        "?Q=1",
        "?q+r=1&q%2br=2",
    ];
    let query = bytes.pick(&queries);
    // Each Gateway has an address of its own, so a request comes in by one of them: mostly where
    // there is a listener.
    let of = &parents[bytes.below(parents.len())];
    let gateway = &parents[of.gateway];
    let (tls, port) = match bytes.below(12) {
        0 => bytes.pick(&[(false, 80), (false, 81), (true, 443)]),
        _ => bytes.pick(&of.doors),
    };
    let scheme = if tls { "https" } else { "http" };
    let port = if [80, 443].contains(&port) { String::new() } else { format!(":{port}") };
    let mut request = Request::get(format!("{scheme}://{host}{port}{path}{query}"))
        .with_gateway(&format!("{}/{}", gateway.namespace, gateway.name));
    if tls && bytes.one_in(5) {
        request = request.with_sni(bytes.pick(&["", "a.x", "b.a.x", "y"]));
    }
    if bytes.one_in(4) {
        request = request.with_grpc();
    } else {
        let methods = ["GET", "GET", "GET", "POST", "HEAD", "PUT"];
        request = request.with_method(bytes.pick(&methods));
    }
    for name in ["x-a", "x-b", "x-c"] {
        if bytes.one_in(2) {
            request = request.with_header(name, bytes.pick(&["1", "2"]));
            if bytes.one_in(8) {
                request = request.with_header(name, "2");
            }
        }
    }
    if bytes.one_in(8) {
        request = request.with_header("origin", bytes.pick(&["https://a.x", "https://b.a.x:443"]));
        if bytes.one_in(2) {
            request =
                request.with_method("OPTIONS").with_header("access-control-request-method", "PUT");
        }
    }
    request
}
