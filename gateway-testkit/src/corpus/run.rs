//! Runs cases on an engine.

use std::{collections::BTreeMap, fs};

use super::{
    Case, Decision, Difference, ObjectStatus, Outcome, Request, case, compare,
    status::{object_outcome, stale_conditions},
};

/// Something that takes resources and answers requests: the reference model, the compiled table,
/// a service, a running program.
pub trait Engine {
    /// The status of every object that gets one; nothing if the engine has no opinion.
    fn status(&self) -> Vec<ObjectStatus>;

    /// What becomes of `request`. `turn` counts the sendings of one request from 0.
    fn decide(&mut self, request: &Request, turn: u64) -> Decision;

    /// Cuts `expected` down to what the engine can know, such as no status, or no route names.
    #[must_use]
    fn narrow(&self, expected: Outcome) -> Outcome {
        expected
    }
}

/// What `engine` makes of `case`.
pub fn run<E: Engine>(case: &Case, engine: &mut E) -> Outcome {
    let statuses = engine.status();
    let status =
        statuses.iter().map(|object| (object.object.clone(), object_outcome(&object.status)));
    let status: BTreeMap<_, _> = status.collect();
    let decide = |request: &Request| match request.repeat {
        0 | 1 => engine.decide(request, 0),
        times => {
            let sendings: Vec<_> = (0..times).map(|turn| engine.decide(request, turn)).collect();
            Decision::sum_up(&sendings).unwrap_or_else(|| Decision::respond(0, "never sent"))
        }
    };
    Outcome { status, decisions: case.requests.iter().map(decide).collect() }
}

/// Runs the whole corpus on the engines that `make` builds for each case; none skips the case.
///
/// # Panics
/// With all differences, if there are any. With `BLESS=1` in the environment and `bless` set,
/// outcome files that are missing are written first; `BLESS=force` replaces those that differ.
pub fn check_corpus<E: Engine>(engine: &str, bless: bool, make: impl Fn(&Case) -> Option<E>) {
    let cases = case::load().unwrap_or_else(|error| panic!("{error}"));
    assert!(!cases.is_empty(), "no case in {}", case::testdata().display());
    let mut report = String::new();
    let mut failed = 0;
    for case in &cases {
        let Some(mut engine) = make(case) else { continue };
        let differences = check_case(case, bless, &mut engine);
        failed += usize::from(!differences.is_empty());
        for difference in differences {
            report.push_str(&format!("{difference}\n"));
        }
    }
    assert!(
        failed == 0,
        "{failed} of {} cases come out differently on the {engine}. Whether the case or the \
         {engine} is wrong is to be read in the specification.\n{report}",
        cases.len(),
    );
}

fn check_case<E: Engine>(case: &Case, bless: bool, engine: &mut E) -> Vec<Difference> {
    let got = run(case, engine);
    let mut differences = stale(case, engine);
    let expected = match &case.expected {
        Some(expected) => expected.clone(),
        None => Outcome::default(),
    };
    let found = compare::differences(case, &engine.narrow(expected), &got);
    let wanted = std::env::var("BLESS").unwrap_or_default();
    let write = match &*wanted {
        "force" => bless && (case.expected.is_none() || !found.is_empty()),
        "1" => bless && case.expected.is_none(),
        _ => false,
    };
    if write {
        fs::write(&case.outcome_file, got.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", case.outcome_file.display()));
        return differences;
    }
    if case.expected.is_none() {
        differences.push(Difference {
            case: case.name.clone(),
            place: "outcome file".into(),
            expected: format!("{}", case.outcome_file.display()),
            got: "no file; write it from the specification, or BLESS=1 and check each line".into(),
        });
    }
    differences.extend(found);
    differences
}

fn stale<E: Engine>(case: &Case, engine: &E) -> Vec<Difference> {
    let generation = |object: &ObjectStatus| {
        let found = case.resources.iter().find(|it| it.key().to_string() == object.object)?;
        found.metadata().generation
    };
    let mut differences = Vec::new();
    for object in engine.status() {
        let Some(generation) = generation(&object) else { continue };
        for (condition, observed) in stale_conditions(&object.status, generation) {
            differences.push(Difference {
                case: case.name.clone(),
                place: format!("{} {condition} observedGeneration", object.object),
                expected: generation.to_string(),
                got: observed.to_string(),
            });
        }
    }
    differences
}
