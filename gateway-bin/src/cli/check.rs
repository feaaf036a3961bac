//! `gateway check`: every mistake and every doubtful spot of files.
//!
//! In: paths. Out: findings with excerpts, or one JSON document; code 1 if there is an error. Not
//! here: finding anything.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use gateway_core::{
    api::{Condition, ObjectKey},
    diagnostic::Diagnostic,
};
use serde_json::{Value, json};

use super::{
    inspection::Inspection,
    statement::{Statement, statements},
};
use crate::{
    args::{CheckArgs, Output},
    render::{self, Counts, plural},
};

/// Prints what is wrong. Code 1 if there are errors.
pub fn run(args: &CheckArgs) -> ExitCode {
    let inspection = Inspection::of(&args.input);
    let findings = inspection.diagnostics();
    let counts = Counts::of(&findings);
    let printed = match args.output {
        Output::Text => text(&inspection, &findings, counts),
        Output::Json => format!("{:#}\n", document(&inspection, &findings, counts)),
    };
    match io::stdout().write_all(printed.as_bytes()) {
        Ok(()) if counts.errors == 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn text(inspection: &Inspection, findings: &[Diagnostic], counts: Counts) -> String {
    let mut text = render::text(findings, &inspection.texts(findings), render::colours());
    let conditions = bad_conditions(inspection);
    if !conditions.is_empty() {
        text.push_str("conditions that a cluster would show:\n");
        for (object, Statement { part, condition }) in &conditions {
            let part = if part.is_empty() { String::new() } else { format!(", {part}") };
            let Condition { kind, status, reason, .. } = condition;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {object}{part}: {kind} is {status} ({reason})");
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "{} in {}: {}, {}, {}",
        plural(inspection.snapshot.len(), "object"),
        plural(inspection.source.file_count(), "file"),
        plural(counts.errors, "error"),
        plural(counts.warnings, "warning"),
        plural(counts.notes, "note"),
    );
    text
}

fn document(inspection: &Inspection, findings: &[Diagnostic], counts: Counts) -> Value {
    let conditions = bad_conditions(inspection);
    let conditions = conditions.iter().map(|(object, Statement { part, condition })| {
        json!({
            "object": object,
            "part": part,
            "type": condition.kind,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
        })
    });
    let conditions: Vec<Value> = conditions.collect();
    json!({
        "files": inspection.source.file_count(),
        "objects": inspection.snapshot.len(),
        "counts": counts,
        "findings": findings,
        "conditions": conditions,
    })
}

/// Every condition that is not as it should be, with its object.
fn bad_conditions(inspection: &Inspection) -> Vec<(&ObjectKey, Statement<'_>)> {
    let objects = inspection.build.status.iter();
    let all = objects.flat_map(|(object, status)| {
        statements(status).into_iter().map(move |statement| (object, statement))
    });
    all.filter(|(_, statement)| !statement.is_good()).collect()
}
