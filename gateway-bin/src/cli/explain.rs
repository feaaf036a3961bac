//! `gateway explain`: what would become of a request, step by step.
//!
//! In: paths and a request. Out: a tree, or JSON. Code 1 if the files have errors or no Gateway
//! listens on the request's port. Not here: the steps (`gateway-core`).

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::inspection::Inspection;
use crate::{
    args::{ExplainArgs, Output},
    question::Question,
};

/// Prints the explanation.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let inspection = Inspection::of(&args.paths);
    let errors = super::report_errors(&inspection);
    let headers = args.headers.iter().map(|line| (line.name.clone(), line.value.clone()));
    let question = Question {
        method: args.request.method.clone(),
        url: args.request.uri.clone(),
        headers: headers.collect(),
        sni: args.sni.clone(),
    };
    let written = match question.ask(&inspection.build.table) {
        Ok(explanation) => {
            let text = match args.output {
                Output::Text => explanation.to_string(),
                Output::Json => format!("{:#}", serde_json::json!(explanation)),
            };
            writeln!(io::stdout(), "{}", text.trim_end())
        }
        Err(reason) => Err(io::Error::other(reason)),
    };
    match written {
        Ok(()) if errors == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to be told that this failed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
