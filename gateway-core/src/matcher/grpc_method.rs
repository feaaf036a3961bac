//! What makes a request a gRPC request, and the method named by its path.

use http::{HeaderMap, header::CONTENT_TYPE};

/// Whether the content type is `application/grpc`, with or without a suffix such as `+proto`.
// SPEC: gRPC over HTTP/2: Content-Type is "application/grpc" [("+proto" / "+json" / {custom})].
#[must_use]
pub fn is_grpc_content_type(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.len() >= GRPC.len()
            && value[..GRPC.len()].eq_ignore_ascii_case(GRPC)
            && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
    })
}

/// The method of a gRPC path `/service/method`; none if the path has another number of segments.
///
/// ```
/// use gateway_core::matcher::method_segment;
/// assert_eq!(method_segment("/pkg.Echo/Say"), Some("Say"));
/// assert_eq!(method_segment("/a/b/c"), None);
/// ```
#[must_use]
pub fn method_segment(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some(method)
}
