//! `gateway explain`: what would become of a request, step by step.
//!
//! In: paths and a request. Out: a tree, or JSON. Code 1 if the files have errors or no route is
//! even looked for. Not here: the steps (`gateway-core`).

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::inspection::Inspection;
use crate::{
    args::{ExplainArgs, Output},
    question::{Answer, Question, Unanswered},
};

/// Prints the explanation.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let inspection = Inspection::of(&args.input);
    let errors = super::report_errors(&inspection);
    let question = Question {
        request: args.request.clone(),
        headers: args.headers.clone(),
        sni: args.sni.clone(),
    };
    let answers = question.ask(&inspection.build);
    let printed = match args.output {
        Output::Text => text(&answers),
        Output::Json => format!("{:#}\n", document(&answers)),
    };
    match io::stdout().write_all(printed.as_bytes()) {
        Ok(()) if errors == 0 && answers.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn text(answers: &Result<Vec<Answer>, Unanswered>) -> String {
    let answers = match answers {
        Ok(answers) => answers,
        Err(unanswered) => return format!("{unanswered}\n"),
    };
    let mut text = String::new();
    for answer in answers {
        // Writing to a String cannot fail.
        if answers.len() > 1 {
            let _ = writeln!(text, "on {}:", answer.address);
        }
        let _ = writeln!(text, "{}", answer.explanation.to_string().trim_end());
    }
    text
}

fn document(answers: &Result<Vec<Answer>, Unanswered>) -> Value {
    match answers {
        Ok(answers) => json!({ "sockets": answers }),
        Err(Unanswered::Refused(refusal)) => {
            json!({"refused": {"status": refusal.status.as_u16(), "reason": refusal.reason}})
        }
        Err(Unanswered::Unserved { port, served }) => {
            json!({"unserved": {"port": port, "served": served}})
        }
    }
}
