//! The explanation as a tree.

use std::fmt;

use super::{
    BackendStep, Explanation, Failure, HostStep, ListenerStep, MatchStep, Outcome, Verdict,
};

struct Node {
    text: String,
    children: Vec<Self>,
}

impl Node {
    fn leaf(text: impl Into<String>) -> Self {
        Self { text: text.into(), children: Vec::new() }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for (place, child) in self.children.iter().enumerate() {
            let is_last = place + 1 == self.children.len();
            let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            write!(f, "{indent}{branch}")?;
            child.write(f, &format!("{indent}{below}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Explanation {
    /// The steps as a tree, one line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut children: Vec<Node> = self.listeners.iter().map(listener).collect();
        children.extend(self.hosts.iter().map(|step| host(step, &self.verdict)));
        children.push(verdict(&self.verdict));
        if let Some(nearest) = &self.nearest_miss {
            let mut node = match_step(nearest, None);
            node.text.insert_str(0, "nearest miss: ");
            children.push(node);
        }
        Node { text: self.request.clone(), children }.write(f, "")
    }
}

fn listener(step: &ListenerStep) -> Node {
    let role = match (step.chosen_by_sni, step.chosen_by_host, step.serves_host) {
        (Some(true), true, _) => "chosen by server name and host",
        (Some(true), false, _) => "chosen by server name",
        (Some(false), true, _) => "chosen by host, but not by the server name of the connection",
        (None, true, _) => "chosen: the most specific for the host",
        (_, false, true) => "serves the host too, but is less specific",
        (_, false, false) => "does not serve the host",
    };
    Node::leaf(format!("listener {} ({}): {role}", step.listener, step.hostname))
}

fn host(step: &HostStep, verdict: &Verdict) -> Node {
    let winner = match verdict {
        Verdict::Forward { winner, .. } => Some(&**winner),
        Verdict::Respond { .. } => None,
    };
    let mut children: Vec<Node> =
        step.matches.iter().map(|found| match_step(found, winner)).collect();
    if step.not_listed > 0 {
        children.push(Node::leaf(format!("{} more with a fitting path", step.not_listed)));
    }
    if step.other_paths > 0 {
        children.push(Node::leaf(format!("{} with another path", step.other_paths)));
    }
    Node { text: format!("host {}", step.hostname), children }
}

fn match_step(step: &MatchStep, winner: Option<&MatchStep>) -> Node {
    let rule = step.rule_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let outcome = match (winner, step.loses_because) {
        (Some(winner), _) if winner == step => ": wins".to_owned(),
        (_, Some(because)) => format!(": fits, but comes later, {because}"),
        _ => String::new(),
    };
    let place = format!("{} rule {}{rule} match {}", step.route, step.rule, step.match_index);
    Node {
        text: format!("{place}: {}{outcome}", step.asks),
        children: step.failures.iter().map(failure).collect(),
    }
}

fn failure(failure: &Failure) -> Node {
    let Failure { field, wanted, seen } = failure;
    Node::leaf(match seen {
        Some(seen) => format!("{field} must be {wanted:?}, but is {seen:?}"),
        None => format!("{field} must be {wanted:?}, but there is none"),
    })
}

fn verdict(verdict: &Verdict) -> Node {
    match verdict {
        Verdict::Forward { winner, filters, backends, outcome, unless } => {
            let filters = filters.iter().map(|text| Node::leaf(format!("filter: {text}")));
            let mut children: Vec<Node> = filters.chain(backends.iter().map(backend)).collect();
            children.extend(self::outcome(outcome, unless));
            let text = format!("served by {} rule {}", winner.route, winner.rule);
            Node { text, children }
        }
        Verdict::Respond { status, grpc_status, cause } => {
            Node::leaf(answer(*status, *grpc_status, cause))
        }
    }
}

/// What comes of filters and backends; nothing if the request goes on as it is.
fn outcome(outcome: &Outcome, unless: &[String]) -> Option<Node> {
    let mut text = match outcome {
        Outcome::Forwarded { rewritten: false, .. } => return None,
        Outcome::Forwarded { authority, target, .. } => {
            format!("forwarded as {target:?} of host {authority:?}")
        }
        Outcome::Answered { status, grpc_status, cause, location } => {
            let location = location.iter().map(|location| format!(", location {location:?}"));
            answer(*status, *grpc_status, cause) + &location.collect::<String>()
        }
        Outcome::Unknown => "what the filters do cannot be tried on such a request".to_owned(),
    };
    if !unless.is_empty() {
        text.push_str(&format!(", unless stopped or changed by {}", unless.join(" or by ")));
    }
    Some(Node::leaf(text))
}

fn answer(status: u16, grpc_status: Option<u8>, cause: &str) -> String {
    let grpc_status = grpc_status.map(|code| format!(", grpc-status {code}"));
    format!("answered with {status}{}: {cause}", grpc_status.unwrap_or_default())
}

fn backend(step: &BackendStep) -> Node {
    let percent = step.share * 100.0;
    let text = match &step.backend {
        Ok(backend) => format!("backend {backend}: {percent:.1} % of the requests"),
        Err(reason) => format!("invalid backend ({reason}): 500 to {percent:.1} % of the requests"),
    };
    let filters = step.filters.iter().map(|text| Node::leaf(format!("filter: {text}")));
    Node { text, children: filters.collect() }
}
