//! Requests over the same small alphabets.

use super::{Bytes, gateways::Parent};
use crate::corpus::Request;

pub(super) fn request(bytes: &mut Bytes<'_>, parents: &[Parent]) -> Request {
    let hosts =
        ["a.x", "b.x", "b.a.x", "c.b.a.x", "x", "y", "c.y", "A.X", "b.a.x.", "ax", "a.x.evil"];
    let host = bytes.pick(&hosts);
    let paths = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/s/m", "/s.t/n", "/s", "//a", "/A"];
    let path = bytes.pick(&paths);
    let queries = ["", "", "", "?q=1", "?q=2", "?r=1&q=1", "?q=%31&r=2", "?q", "?q=2&q=1", "?Q=1"];
    let query = bytes.pick(&queries);
    let (scheme, port) = bytes.pick(&[("http", ""), ("http", ""), ("http", ":81"), ("https", "")]);
    let mut request = Request::get(format!("{scheme}://{host}{port}{path}{query}"));
    // Each Gateway has an address of its own, so a request comes in by one of them.
    let gateways: Vec<_> = parents.iter().filter(|parent| parent.kind == "Gateway").collect();
    let gateway = gateways[bytes.below(gateways.len())];
    request = request.with_gateway(&format!("{}/{}", gateway.namespace, gateway.name));
    if scheme == "https" && bytes.one_in(3) {
        request = request.with_sni(bytes.pick(&["", "a.x", "b.a.x", "y"]));
    }
    if bytes.one_in(4) {
        request = request.with_grpc();
    } else {
        let methods = ["GET", "GET", "POST", "HEAD", "PUT"];
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
