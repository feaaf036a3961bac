//! `gateway status`: the conditions that a cluster would show.
//!
//! In: paths. Out: a table for each object, or the objects' status as JSON or YAML. Not here: what
//! is wrong with the files (`check`).

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use gateway_core::{api::ObjectKey, resolve::ObjectStatus};
use serde_json::{Value, json};

use super::{
    inspection::Inspection,
    statement::{facts, statements},
};
use crate::args::{StatusArgs, StatusOutput};

/// Prints the status of every object. Code 1 if the files have errors, which `check` tells.
pub fn run(args: &StatusArgs) -> ExitCode {
    let inspection = Inspection::of(&args.input);
    let printed = match args.output {
        StatusOutput::Text => text(&inspection),
        StatusOutput::Json => format!("{:#}\n", Value::Array(documents(&inspection))),
        StatusOutput::Yaml => yaml(&inspection),
    };
    let errors = super::report_errors(&inspection);
    match io::stdout().write_all(printed.as_bytes()) {
        Ok(()) if errors == 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn text(inspection: &Inspection) -> String {
    let mut text = String::new();
    for (key, status) in inspection.build.status.iter() {
        write_object(&mut text, key, status);
    }
    text
}

fn write_object(text: &mut String, key: &ObjectKey, status: &ObjectStatus) {
    let statements = statements(status);
    let part_width = statements.iter().map(|it| it.part.len()).max().unwrap_or(0);
    let kind_width =
        statements.iter().map(|it| it.condition.kind.to_string().len()).max().unwrap_or(0);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key}");
    for fact in facts(status) {
        let _ = writeln!(text, "  {fact}");
    }
    for statement in &statements {
        let condition = statement.condition;
        let sign = if statement.is_good() { ' ' } else { '!' };
        let part = &statement.part;
        let gap = if part_width > 0 { "  " } else { "" };
        let line = format!(
            "{sign} {part:part_width$}{gap}{:kind_width$}  {:7} {}",
            condition.kind.to_string(),
            condition.status.as_str(),
            condition.reason,
        );
        let _ = writeln!(text, "{}", line.trim_end());
        if !statement.is_good() && !condition.message.is_empty() {
            let _ = writeln!(text, "    {}", condition.message);
        }
    }
    text.push('\n');
}

fn documents(inspection: &Inspection) -> Vec<Value> {
    let document = |(key, status): (&ObjectKey, &ObjectStatus)| {
        let mut metadata = json!({ "name": key.name });
        if !key.namespace.is_empty() {
            metadata["namespace"] = json!(key.namespace);
        }
        json!({
            "apiVersion": key.kind.api_version(),
            "kind": key.kind.as_str(),
            "metadata": metadata,
            "status": status,
        })
    };
    inspection.build.status.iter().map(document).collect()
}

fn yaml(inspection: &Inspection) -> String {
    let mut text = String::new();
    for document in documents(inspection) {
        text.push_str("---\n");
        write_yaml(&mut text, &document, 0);
    }
    text
}

/// Block style; scalars in JSON's spelling, which YAML reads alike.
fn write_yaml(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(text, "{:indent$}{name}:", "");
                write_below(text, value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut block = String::new();
                write_yaml(&mut block, item, indent + 2);
                let _ = write!(text, "{:indent$}- {}", "", block.trim_start());
            }
        }
        scalar => {
            let _ = writeln!(text, "{scalar}");
        }
    }
}

fn write_below(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write_yaml(text, value, indent);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_yaml(text, value, indent - 2);
        }
        _ => {
            let _ = writeln!(text, " {value}");
        }
    }
}
