//! What comes of a case: the status of objects and one decision for each request.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Condition types with `Status Reason`.
pub type Conditions = BTreeMap<String, String>;

/// The content of an outcome file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Objects by `Kind namespace/name`, or `Kind name` without a namespace.
    #[serde(default, deserialize_with = "map_of_single_entries")]
    pub status: BTreeMap<String, ObjectOutcome>,
    /// One for each request.
    #[serde(default)]
    pub decisions: Vec<Decision>,
}

/// The status of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectOutcome {
    /// How many ListenerSets are attached to the Gateway; none: not looked at.
    #[serde(default)]
    pub attached_listener_sets: Option<u64>,
    /// Addresses of the Gateway; none: not looked at.
    #[serde(default)]
    pub addresses: Option<Vec<Address>>,
    /// Listeners in order, for Gateways and ListenerSets.
    #[serde(default, deserialize_with = "list_of_single_entries")]
    pub listeners: Vec<(String, ListenerOutcome)>,
    /// Parents of a route.
    #[serde(default, deserialize_with = "map_of_single_entries")]
    pub parents: BTreeMap<String, Conditions>,
    /// Ancestors of a policy.
    #[serde(default, deserialize_with = "map_of_single_entries")]
    pub ancestors: BTreeMap<String, Conditions>,
    /// Conditions of the object itself.
    #[serde(flatten)]
    pub conditions: Conditions,
}

/// An address of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `IPAddress`, `Hostname` or another.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address itself.
    pub value: String,
}

/// The status of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerOutcome {
    /// Routes that are attached; none: not looked at.
    #[serde(default)]
    pub attached_routes: Option<u64>,
    /// Kinds in order; none: not looked at.
    #[serde(default)]
    pub supported_kinds: Option<Vec<String>>,
    /// Its conditions.
    #[serde(flatten)]
    pub conditions: Conditions,
}

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It reaches a backend.
    Forward(Forward),
    /// The gateway answers.
    Respond(Respond),
}

/// A request that reaches a backend, and how it looks there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// `Kind namespace/name` of the route.
    pub route: String,
    /// Place of the rule in `spec.rules`.
    pub rule: usize,
    /// `namespace/name:port`; none if the request is sent several times.
    #[serde(default)]
    pub backend: Option<String>,
    /// Of several sendings, how many reached which backend; key `500` for those answered so.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// Path and query, if they differ from what the client sent.
    #[serde(default)]
    pub path: Option<String>,
    /// The Host, if it differs from what the client sent.
    #[serde(default)]
    pub host: Option<String>,
    /// Fields that filters changed: `name: value`, `-name` for one that is gone.
    #[serde(default)]
    pub headers: BTreeSet<String>,
    /// Backends that get a copy.
    #[serde(default)]
    pub mirrors: BTreeSet<String>,
    /// What the client sees beyond the answer of the backend.
    #[serde(skip)]
    pub response_headers: BTreeSet<String>,
}

/// An answer of the gateway itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The HTTP status; 200 where `grpc` is set.
    #[serde(default = "ok")]
    pub status: u16,
    /// The status of a gRPC answer.
    #[serde(default)]
    pub grpc: Option<u8>,
    /// Why.
    pub cause: String,
    /// Fields of the answer, without those that every answer has.
    #[serde(default)]
    pub headers: BTreeSet<String>,
}

fn ok() -> u16 {
    200
}

/// Two header lists of one message, compared as a backend or a client sees them.
///
/// Fields that differ are written `name: value`, several values joined by `,`; those that are gone
/// are written `-name`.
#[must_use]
pub fn changed_headers(
    before: &[(String, String)],
    after: &[(String, String)],
) -> BTreeSet<String> {
    let (before, after) = (joined(before), joined(after));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    gone.map(|name| format!("-{name}"))
        .chain(changed.map(|(name, value)| format!("{name}: {value}")))
        .collect()
}

fn joined(lines: &[(String, String)]) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines {
        let name = name.to_ascii_lowercase();
        fields
            .entry(name)
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    fields
}

/// The lines of `headers`; bytes that are no UTF-8 are replaced.
#[must_use]
pub fn header_lines(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(line).collect()
}

impl Decision {
    /// An answer with `status` because of `cause`.
    #[must_use]
    pub fn respond(status: u16, cause: &str) -> Self {
        Self::Respond(Respond { status, cause: cause.to_owned(), ..Respond::default() })
    }

    /// An answer in terms of gRPC.
    #[must_use]
    pub fn respond_grpc(grpc: u8, cause: &str) -> Self {
        let (status, cause) = (200, cause.to_owned());
        Self::Respond(Respond { status, grpc: Some(grpc), cause, ..Respond::default() })
    }

    /// Sums up several sendings of one request: counts, and what all that were forwarded share.
    ///
    /// Sendings that were all answered sum up to that answer.
    #[must_use]
    pub fn sum_up(sendings: &[Self]) -> Option<Self> {
        let forwards: Vec<&Forward> = sendings.iter().filter_map(Self::as_forward).collect();
        let (first, rest) = match forwards.split_first() {
            None => return sendings.first().cloned(),
            Some((first, rest)) => ((*first).clone(), rest),
        };
        let mut sum = Forward { backend: None, ..first };
        for forward in rest {
            sum.path = sum.path.filter(|path| forward.path.as_ref() == Some(path));
            sum.host = sum.host.filter(|host| forward.host.as_ref() == Some(host));
            sum.headers = &sum.headers & &forward.headers;
            sum.mirrors = &sum.mirrors | &forward.mirrors;
            sum.response_headers = &sum.response_headers & &forward.response_headers;
        }
        for sending in sendings {
            let key = match sending {
                Self::Forward(forward) => forward.backend.clone().unwrap_or_default(),
                Self::Respond(Respond { grpc: Some(grpc), .. }) => format!("grpc {grpc}"),
                Self::Respond(respond) => respond.status.to_string(),
            };
            *sum.counts.entry(key).or_default() += 1;
        }
        Some(Self::Forward(sum))
    }

    fn as_forward(&self) -> Option<&Forward> {
        match self {
            Self::Forward(forward) => Some(forward),
            Self::Respond(_) => None,
        }
    }

    /// Without counts of zero, which say no more than leaving them out.
    pub(super) fn normal(mut self) -> Self {
        if let Self::Forward(forward) = &mut self {
            forward.counts.retain(|_, count| *count > 0);
        }
        self
    }
}

impl<'de> Deserialize<'de> for Decision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct Written {
            forward: Option<Forward>,
            respond: Option<Respond>,
            #[serde(default)]
            response_headers: BTreeSet<String>,
        }
        let Written { forward, respond, response_headers } = Written::deserialize(deserializer)?;
        match (forward, respond) {
            (Some(forward), None) => Ok(Self::Forward(Forward { response_headers, ..forward })),
            (None, Some(respond)) if response_headers.is_empty() => Ok(Self::Respond(respond)),
            _ => Err(D::Error::custom(
                "a decision is `forward`, perhaps with `response-headers`, or `respond`",
            )),
        }
    }
}

/// Reads a list of maps with one entry each, as the corpus writes things with a name.
fn list_of_single_entries<'de, D, T>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::<BTreeMap<String, T>>::deserialize(deserializer)?;
    list.into_iter()
        .map(|entry| {
            let mut entries = entry.into_iter();
            match (entries.next(), entries.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(D::Error::custom("one name expected in each entry of this list")),
            }
        })
        .collect()
}

fn map_of_single_entries<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut map = BTreeMap::new();
    for (name, value) in list_of_single_entries(deserializer)? {
        if map.contains_key(&name) {
            return Err(D::Error::custom(fmt::format(format_args!("{name} occurs twice"))));
        }
        map.insert(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::{Decision, Forward, changed_headers};

    fn lines(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn changed_headers_are_joined_and_missing_ones_marked() {
        let before = lines(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = lines(&[("A", "1"), ("a", "2"), ("c", "1"), ("d", "x")]);
        let changed: Vec<_> = changed_headers(&before, &after).into_iter().collect();
        assert_eq!(changed, ["-b", "a: 1,2", "d: x"]);
    }

    #[test]
    fn sendings_are_counted() {
        let to = |backend: &str| {
            let backend = Some(backend.to_owned());
            Decision::Forward(Forward { backend, ..Forward::default() })
        };
        let sendings = [to("a"), to("b"), Decision::respond(500, "invalid-backend"), to("a")];
        let Some(Decision::Forward(sum)) = Decision::sum_up(&sendings) else { panic!("forwarded") };
        let counts: Vec<_> = sum.counts.iter().map(|(key, n)| (key.as_str(), *n)).collect();
        assert_eq!(counts, [("500", 1), ("a", 2), ("b", 1)]);
    }
}
