//! As much of Helm's template language as the chart uses: values, `quote`, `lower`, `replace`,
//! `if`, `if eq`, `range`.
//!
//! Statements stand on lines of their own. What is anything else is an error, so that the chart stays
//! as plain as this.

use serde_json::Value;

pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Renders a template. `scope` has `Values` and `Release`.
pub(crate) fn render(text: &str, scope: &Value) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let end = block(&lines, 0, scope, None, Some(&mut out))?;
    if end < lines.len() {
        return Err(format!("line {}: {} without beginning", end + 1, lines[end].trim()));
    }
    Ok(out)
}

/// Renders lines up to an `end` or `else` of an outer statement, whose place it gives. Without `out`
/// they are skipped.
fn block(
    lines: &[&str],
    mut at: usize,
    scope: &Value,
    item: Option<&Value>,
    mut out: Option<&mut String>,
) -> Result<usize, String> {
    while at < lines.len() {
        let line = lines[at];
        let Some(statement) = statement(line) else {
            if let Some(out) = out.as_deref_mut() {
                let text =
                    fill(line, scope, item).map_err(|error| format!("line {}: {error}", at + 1))?;
                out.push_str(&text);
                out.push('\n');
            }
            at += 1;
            continue;
        };
        let words: Vec<&str> = statement.split_whitespace().collect();
        let wrong = || format!("line {}: {statement} is not known here", at + 1);
        at = match &*words {
            ["end" | "else"] => return Ok(at),
            ["if", condition @ ..] => {
                let holds = match condition {
                    ["eq", path, text] => value(path, scope, item)? == text.trim_matches('"'),
                    [path] => is_true(&value(path, scope, item)?),
                    _ => return Err(wrong()),
                };
                let mut end =
                    block(lines, at + 1, scope, item, out.as_deref_mut().filter(|_| holds))?;
                if lines.get(end).and_then(|line| self::statement(line)) == Some("else") {
                    end =
                        block(lines, end + 1, scope, item, out.as_deref_mut().filter(|_| !holds))?;
                }
                closed(lines, end)?
            }
            ["range", path] => {
                let items = value(path, scope, item)?;
                let mut end = block(lines, at + 1, scope, item, None)?;
                for one in items.as_array().into_iter().flatten() {
                    end = block(lines, at + 1, scope, Some(one), out.as_deref_mut())?;
                }
                closed(lines, end)?
            }
            _ => return Err(wrong()),
        };
    }
    Ok(at)
}

/// The place after an `end`.
fn closed(lines: &[&str], at: usize) -> Result<usize, String> {
    match lines.get(at).and_then(|line| statement(line)) {
        Some("end") => Ok(at + 1),
        _ => Err(format!("line {}: expected end", at + 1)),
    }
}

fn statement(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("{{-")?.strip_suffix("}}")?.trim())
}

fn fill(line: &str, scope: &Value, item: Option<&Value>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}").ok_or("an expression has no end")?;
        out.push_str(before);
        let mut parts = expression.split('|').map(str::trim);
        let path = parts.next().unwrap_or_default();
        let text = match value(path, scope, item)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(format!("{path} is {other}")),
        };
        out.push_str(&parts.try_fold(text, |text, filter| filtered(&text, filter))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn filtered(text: &str, filter: &str) -> Result<String, String> {
    let words: Vec<&str> = filter.split_whitespace().collect();
    match &*words {
        ["quote"] => Ok(format!("{text:?}")),
        ["lower"] => Ok(text.to_lowercase()),
        ["replace", from, to] => Ok(text.replace(from.trim_matches('"'), to.trim_matches('"'))),
        _ => Err(format!("the filter {filter} is not known")),
    }
}

fn value(path: &str, scope: &Value, item: Option<&Value>) -> Result<Value, String> {
    if path == "." {
        return item.cloned().ok_or_else(|| "there is no item".to_owned());
    }
    let found = scope.pointer(&path.replace('.', "/"));
    found.cloned().ok_or_else(|| format!("there is no {path}"))
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Object(fields) => !fields.is_empty(),
    }
}
