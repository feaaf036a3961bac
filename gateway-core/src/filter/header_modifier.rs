//! `RequestHeaderModifier` and `ResponseHeaderModifier`: set, add, remove.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Sets, adds and removes header fields, in this order.
///
/// A name occurs at most once over the three lists; `resolve` reports others and drops them. Fields
/// that frame the message (`Connection`, `Content-Length`, `Transfer-Encoding`, `Upgrade`) are left
/// as they are, and so is the `Host` of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderModifier {
    /// Replaces all values of the field, or creates it.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a value to those that the field has.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Deletes the field.
    pub remove: Vec<HeaderName>,
}

impl HeaderModifier {
    /// Whether a modifier of requests may change the field `name`; `resolve` tells the user of
    /// those that it may not.
    // SPEC: the host is changed by URLRewrite; a changed Host here would part the authority that
    // was matched from the one that is forwarded. A changed length or coding would part the message
    // that was read from the one that is sent.
    #[must_use]
    pub fn may_change_in_request(name: &HeaderName) -> bool {
        *name != header::HOST && Self::may_change_in_response(name)
    }

    /// Whether a modifier of responses may change the field `name`.
    #[must_use]
    pub fn may_change_in_response(name: &HeaderName) -> bool {
        ![header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE]
            .contains(name)
    }

    /// Changes the headers of a request.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        self.apply(headers, Self::may_change_in_request);
    }

    /// Changes the headers of a response.
    pub fn apply_to_response(&self, headers: &mut HeaderMap) {
        self.apply(headers, Self::may_change_in_response);
    }

    fn apply(&self, headers: &mut HeaderMap, may_change: fn(&HeaderName) -> bool) {
        for (name, value) in self.set.iter().filter(|(name, _)| may_change(name)) {
            // Fails beyond 32,768 fields, which no server lets through.
            let _ = headers.try_insert(name, value.clone());
        }
        for (name, value) in self.add.iter().filter(|(name, _)| may_change(name)) {
            let _ = headers.try_append(name, value.clone());
        }
        for name in self.remove.iter().filter(|name| may_change(name)) {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::HeaderModifier;

    fn pairs(text: &str) -> Vec<(HeaderName, HeaderValue)> {
        text.split_whitespace()
            .map(|pair| {
                let (name, value) = pair.split_once('=').expect("name=value");
                (
                    HeaderName::try_from(name).expect("a name"),
                    HeaderValue::try_from(value).expect("a value"),
                )
            })
            .collect()
    }

    fn modifier(set: &str, add: &str, remove: &str) -> HeaderModifier {
        let remove = remove.split_whitespace().map(|name| name.try_into().expect("a name"));
        HeaderModifier { set: pairs(set), add: pairs(add), remove: remove.collect() }
    }

    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(text) {
            headers.append(name, value);
        }
        headers
    }

    #[track_caller]
    fn check(modifier: &HeaderModifier, before: &str, after: &str) {
        let mut changed = headers(before);
        modifier.apply_to_request(&mut changed);
        assert_eq!(changed, headers(after));
    }

    #[test]
    fn the_three_operations() {
        check(&modifier("x-set=new", "", ""), "", "x-set=new");
        check(&modifier("x-set=new", "", ""), "x-set=old x-set=older a=1", "x-set=new a=1");
        check(&modifier("", "x-add=new", ""), "", "x-add=new");
        check(&modifier("", "x-add=new", ""), "x-add=old", "x-add=old x-add=new");
        check(&modifier("", "", "x-gone"), "x-gone=1 x-gone=2 a=1", "a=1");
        check(&modifier("", "", "x-gone"), "", "");
        check(&modifier("X-Set=1", "X-ADD=2", "X-Gone"), "x-set=0 x-gone=1", "x-set=1 x-add=2");
        check(&modifier("a=1 b=2", "c=3 d=4", "e f"), "e=5 g=7", "a=1 b=2 c=3 d=4 g=7");
        check(&modifier("", "", ""), "a=1", "a=1");
    }

    #[test]
    fn host_and_framing_stay() {
        let before = "host=a content-length=3 connection=close transfer-encoding=chunked upgrade=x";
        let fields = "host=b content-length=9 connection=x transfer-encoding=gzip upgrade=y";
        let names = "host content-length connection transfer-encoding upgrade";
        check(&modifier(fields, "", ""), before, before);
        check(&modifier("", fields, ""), before, before);
        check(&modifier("", "", names), before, before);
        check(&modifier(fields, "", ""), "", "");
    }

    #[test]
    fn a_response_may_have_a_host_field() {
        let mut changed = headers("host=a content-length=3");
        modifier("host=b content-length=9", "", "").apply_to_response(&mut changed);
        assert_eq!(changed, headers("host=b content-length=3"));
    }

    proptest! {
        #[test]
        fn applying_set_and_remove_twice_changes_nothing_more(
            before in "([a-c]=[0-9] ){0,6}",
            set in "([ab]=[0-9] ){0,2}",
            remove in "(c )?",
        ) {
            let modifier = modifier(&set, "", &remove);
            let mut once = headers(&before);
            modifier.apply_to_request(&mut once);
            let mut twice = once.clone();
            modifier.apply_to_request(&mut twice);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn fields_that_are_not_named_stay(before in "([a-e]=[0-9] ){0,8}") {
            let mut changed = headers(&before);
            modifier("a=x", "b=y", "c").apply_to_request(&mut changed);
            let before = headers(&before);
            for name in ["d", "e"] {
                prop_assert!(changed.get_all(name).iter().eq(before.get_all(name).iter()));
            }
        }
    }
}
