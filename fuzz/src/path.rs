use gateway_core::matcher::{PathPattern, RegexLimits};

use crate::lines;

/// Lines: a value, a path. Prefixes are compared element by element, exact paths as a whole, and no
/// regular expression is too much.
pub fn path_match(data: &[u8]) {
    let [value, path] = lines(data);
    let elements = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let mut prefix = elements(&value);
    if prefix.last().is_some_and(String::is_empty) && value.ends_with('/') {
        prefix.pop();
    }
    // Of the API's values only those that start with a slash get here.
    if value.starts_with('/') && path.starts_with('/') {
        let expect = elements(&path).starts_with(&prefix);
        assert_eq!(PathPattern::prefix(&value).is_match(&path), expect, "{value} {path}");
    }
    assert_eq!(PathPattern::exact(&value).is_match(&path), value == path);
    if let Ok(regex) = PathPattern::regex(&value, RegexLimits::default()) {
        let matched = regex.is_match(&path);
        let wrapped = PathPattern::regex(&format!("(?:{value})"), RegexLimits::default());
        if let Ok(wrapped) = wrapped {
            assert_eq!(wrapped.is_match(&path), matched, "{value} is anchored as a whole");
        }
    }
}
