//! Outcomes in the format of the corpus, to be read by people and written to files.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use super::{
    outcome::{
        Address, Conditions, Decision, Forward, ListenerOutcome, ObjectOutcome, Outcome, Respond,
    },
    request::quoted,
};

impl fmt::Display for Outcome {
    /// Writes the whole content of an outcome file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.status.is_empty() {
            f.write_str("status:\n")?;
        }
        for (name, object) in &self.status {
            writeln!(f, "- {name}:\n{object}")?;
        }
        if !self.decisions.is_empty() {
            f.write_str("decisions:\n")?;
        }
        self.decisions.iter().try_for_each(|decision| writeln!(f, "- {decision}"))
    }
}

impl fmt::Display for ObjectOutcome {
    /// Writes the lines below the name of the object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        conditions(&mut lines, "    ", &self.conditions)?;
        if let Some(count) = self.attached_listener_sets {
            writeln!(lines, "    attachedListenerSets: {count}")?;
        }
        if let Some(addresses) = &self.addresses {
            let addresses: Vec<_> = addresses.iter().map(Address::to_string).collect();
            writeln!(lines, "    addresses: [{}]", addresses.join(", "))?;
        }
        if !self.listeners.is_empty() {
            lines.push_str("    listeners:\n");
        }
        for (name, listener) in &self.listeners {
            write!(lines, "    - {name}:\n{listener}\n")?;
        }
        for (title, entries) in [("parents", &self.parents), ("ancestors", &self.ancestors)] {
            if !entries.is_empty() {
                writeln!(lines, "    {title}:")?;
            }
            for (name, entry) in entries {
                writeln!(lines, "    - {name}:")?;
                conditions(&mut lines, "        ", entry)?;
            }
        }
        if lines.is_empty() {
            lines.push_str("    parents: []\n");
        }
        f.write_str(lines.trim_end_matches('\n'))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{type: {}, value: {}}}", self.kind, quoted(&self.value))
    }
}

impl fmt::Display for ListenerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        if let Some(count) = self.attached_routes {
            writeln!(lines, "        attachedRoutes: {count}")?;
        }
        if let Some(kinds) = &self.supported_kinds {
            writeln!(lines, "        supportedKinds: [{}]", kinds.join(", "))?;
        }
        conditions(&mut lines, "        ", &self.conditions)?;
        f.write_str(lines.trim_end_matches('\n'))
    }
}

fn conditions(lines: &mut String, indent: &str, conditions: &Conditions) -> fmt::Result {
    conditions
        .iter()
        .try_for_each(|(name, value)| writeln!(lines, "{indent}{name}: {}", quoted(value)))
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(forward) => forward.fmt(f),
            Self::Respond(respond) => respond.fmt(f),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forward: {{route: {}, rule: {}", self.route, self.rule)?;
        if let Some(backend) = &self.backend {
            write!(f, ", backend: {backend}")?;
        }
        if !self.counts.is_empty() {
            let counts: Vec<_> = self.counts.iter().map(|(key, n)| format!("{key}: {n}")).collect();
            write!(f, ", counts: {{{}}}", counts.join(", "))?;
        }
        for (name, value) in [("path", &self.path), ("host", &self.host)] {
            if let Some(value) = value {
                write!(f, ", {name}: {}", quoted(value))?;
            }
        }
        for (name, entries) in [("headers", &self.headers), ("mirrors", &self.mirrors)] {
            if !entries.is_empty() {
                write!(f, ", {name}: {}", list(entries.iter()))?;
            }
        }
        f.write_char('}')?;
        if !self.response_headers.is_empty() {
            write!(f, "\n  response-headers: {}", list(self.response_headers.iter()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.grpc {
            Some(grpc) => write!(f, "respond: {{grpc: {grpc}, cause: {}", self.cause)?,
            None => write!(f, "respond: {{status: {}, cause: {}", self.status, self.cause)?,
        }
        if !self.headers.is_empty() {
            write!(f, ", headers: {}", list::<BTreeSet<_>>(self.headers.iter().collect()))?;
        }
        f.write_char('}')
    }
}

fn list<'a, I: IntoIterator<Item = &'a String>>(entries: I) -> String {
    let entries: Vec<_> = entries.into_iter().map(|entry| quoted(entry)).collect();
    format!("[{}]", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn what_is_written_reads_back() {
        let text = "status:
- Gateway default/gw:
    Accepted: \"True Accepted\"
    attachedListenerSets: 1
    addresses: [{type: IPAddress, value: \"10.0.0.1\"}]
    listeners:
    - http:
        attachedRoutes: 1
        supportedKinds: [HTTPRoute, GRPCRoute]
        Accepted: \"True Accepted\"
    - empty:
        attachedRoutes: 0
        supportedKinds: []
- HTTPRoute default/none:
    parents: []
- HTTPRoute default/shop:
    parents:
    - Gateway default/gw#http:80:
        Accepted: \"True Accepted\"
decisions:
- forward: {route: HTTPRoute default/shop, rule: 0, backend: default/v1:8080, path: \"/x\"}
  response-headers: [\"x-r: 1\"]
- forward: {route: HTTPRoute default/shop, rule: 0, counts: {500: 1, default/v1:8080: 2}}
- respond: {status: 404, cause: no-route}
- respond: {grpc: 12, cause: no-route}
";
        let outcome: Outcome = serde_saphyr::from_str(text).expect("valid");
        assert_eq!(outcome.to_string(), text);
    }
}
