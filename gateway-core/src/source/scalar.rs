//! What an unquoted scalar means: the core schema of YAML 1.2.
//!
//! In: the text of a scalar. Out: null, a boolean, a number or a string.
//! Deliberately not here: `yes`, `on` and other words of YAML 1.1; they are strings.

use super::tree::Value;

pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.into())),
    }
}

fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Some(Value::Float(if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        }));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Value::Float(f64::NAN));
    }
    let is_number_like = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'))
        && unsigned.bytes().any(|b| b.is_ascii_digit())
        && !unsigned.starts_with(['e', 'E', '-', '+']);
    if !is_number_like {
        return None;
    }
    text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::Float)).ok()
}

fn radix(digits: &str, radix: u32) -> Option<Value> {
    let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    valid
        .then(|| i64::from_str_radix(digits, radix).map_or(Value::Float(f64::INFINITY), Value::Int))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(format!("{:?}", plain(text)), expected, "{text:?}");
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        check("", "Null");
        check("~", "Null");
        check("true", "Bool(true)");
        check("yes", "String(\"yes\")");
        check("on", "String(\"on\")");
        check("8080", "Int(8080)");
        check("-1", "Int(-1)");
        check("+1", "Int(1)");
        check("0x1F", "Int(31)");
        check("0o17", "Int(15)");
        check("0xg", "String(\"0xg\")");
        check("1.5", "Float(1.5)");
        check("1e3", "Float(1000.0)");
        check("99999999999999999999", "Float(1e20)");
        check(".inf", "Float(inf)");
        check("10.0.0.1", "String(\"10.0.0.1\")");
        check("1-2", "String(\"1-2\")");
        check("e5", "String(\"e5\")");
        check("-", "String(\"-\")");
        check(".", "String(\".\")");
        check("2024-01-01T00:00:00Z", "String(\"2024-01-01T00:00:00Z\")");
        check("infinity", "String(\"infinity\")");
        check("nan", "String(\"nan\")");
    }
}
