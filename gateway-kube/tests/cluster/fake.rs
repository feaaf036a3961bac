//! An API server in memory: lists with pages, watches, patches, and every way to fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use gateway_kube::{
    Connection,
    rbac::{Right, Shape, rights},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Items of a page, few so that every list has several.
const PAGE: usize = 2;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The API server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    rights: Arc<BTreeSet<Right>>,
    /// How this client reaches it.
    line: Line,
}

/// The way of one client to the API server. Clones are the same way.
#[derive(Clone, Default)]
pub(crate) struct Line {
    /// How long a request takes until it arrives.
    pub(crate) delay: Arc<Mutex<Duration>>,
    /// The year that the clock of the client shows, if it is wrong.
    pub(crate) year: Option<&'static str>,
    /// The writes that arrived over this line, but for leases.
    pub(crate) writes: Arc<Mutex<Vec<String>>>,
}

/// Group, plural, namespace and name.
type Id = (String, String, String, String);

pub(crate) struct State {
    version: u64,
    objects: BTreeMap<Id, Value>,
    events: Vec<(u64, &'static str, Id, Value)>,
    /// Versions up to this one are forgotten.
    compacted: u64,
    /// Whether a watch from a forgotten version is refused at once.
    pub(crate) refuses_forgotten: bool,
    /// Counts the times that all watches were cut off.
    cuts: u64,
    /// Counts the times that nothing was heard of all watches any more.
    hushes: u64,
    /// The requests so far, as `METHOD path`, with their bodies.
    pub(crate) requests: Vec<(String, Value)>,
    /// Answers instead of the right ones, each once: a part of `METHOD path`, and the status.
    pub(crate) faults: Vec<(&'static str, u16)>,
    /// Parts of the JSON of objects that are applied, and what becomes of them.
    pub(crate) rewrites: Vec<(&'static str, &'static str)>,
    /// Parts of `METHOD path` that are never answered.
    pub(crate) silent: Vec<&'static str>,
    /// Whether nothing is answered.
    pub(crate) down: bool,
    /// Versions of the Gateway API that are served.
    pub(crate) versions: Vec<&'static str>,
    /// Requests that the program has no right to make, and which rights it would have needed.
    pub(crate) forbidden: Vec<String>,
    /// Kinds and plurals of the Gateway API that are served.
    pub(crate) kinds: Vec<(&'static str, &'static str)>,
}

pub(crate) const KINDS: &[(&str, &str)] = &[
    ("GatewayClass", "gatewayclasses"),
    ("Gateway", "gateways"),
    ("HTTPRoute", "httproutes"),
    ("ReferenceGrant", "referencegrants"),
];

impl Fake {
    pub(crate) fn new() -> Self {
        let state = State {
            version: 1,
            objects: BTreeMap::new(),
            events: Vec::new(),
            compacted: 0,
            refuses_forgotten: false,
            cuts: 0,
            hushes: 0,
            requests: Vec::new(),
            faults: Vec::new(),
            // As all quantities, this one has one way to be written.
            rewrites: vec![("\"0.5\"", "\"500m\"")],
            silent: Vec::new(),
            down: false,
            versions: vec!["v1"],
            forbidden: Vec::new(),
            kinds: KINDS.to_vec(),
        };
        let fake = Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(0),
            rights: Arc::new(rights(Shape::Dedicated, crate::US)),
            line: Line::default(),
        };
        fake.install("experimental");
        fake
    }

    /// Installs the definitions of a channel.
    pub(crate) fn install(&self, channel: &str) {
        self.apply(
            "apiextensions.k8s.io/customresourcedefinitions",
            json!({"metadata": {
                "name": "gatewayclasses.gateway.networking.k8s.io",
                "annotations": {
                    "gateway.networking.k8s.io/bundle-version": "v1.6.1",
                    "gateway.networking.k8s.io/channel": channel,
                },
            }}),
        );
    }

    /// Gives the rights of another shape.
    pub(crate) fn of_shape(mut self, shape: Shape) -> Self {
        self.rights = Arc::new(rights(shape, crate::US));
        self
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::over(self.clone(), "default")
    }

    /// The same API server over another line.
    pub(crate) fn over(&self, line: &Line) -> Self {
        Self { line: line.clone(), ..self.clone() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    /// What happens to a request on its way.
    async fn travel(&self, line: &str, body: &mut Value) {
        let delay = *self.line.delay.lock().expect("no test panics while it holds it");
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let is_lease = line.contains("/leases");
        if let Some(year) = self.line.year.filter(|_| is_lease)
            && let Some(time) = body["spec"]["renewTime"].as_str()
        {
            let skewed = format!("{year}{}", &time[4..]);
            body["spec"]["renewTime"] = skewed.into();
        }
        if !line.starts_with("GET") && !is_lease {
            let mut writes = self.line.writes.lock().expect("no test panics while it holds them");
            writes.push(line.to_owned());
        }
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Creates or changes an object of `group/plural`; the status stays.
    pub(crate) fn apply(&self, resource: &str, mut object: Value) {
        let id = id(resource, &object);
        let mut state = self.state();
        let old = state.objects.get(&id).cloned();
        let generation = match &old {
            Some(old) if old["spec"] == object["spec"] => old["metadata"]["generation"].clone(),
            Some(old) => json!(old["metadata"]["generation"].as_i64().unwrap_or_default() + 1),
            None => json!(1),
        };
        object["metadata"]["generation"] = generation;
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if let Some(old) = &old
            && object.get("status").is_none()
            && let Some(status) = old.get("status")
        {
            object["status"] = status.clone();
        }
        state.put(id, object, old.is_none());
        drop(state);
        self.bump();
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let id = id(resource, &json!({"metadata": {"namespace": namespace, "name": name}}));
        let mut state = self.state();
        if let Some(mut object) = state.objects.remove(&id) {
            state.version += 1;
            let version = state.version;
            object["metadata"]["resourceVersion"] = version.to_string().into();
            state.events.push((version, "DELETED", id, object));
        }
        drop(state);
        self.bump();
    }

    /// Writes a status as another controller does.
    pub(crate) fn set_status(&self, resource: &str, namespace: &str, name: &str, status: Value) {
        let mut object = self.get(resource, namespace, name);
        object["status"] = status;
        self.apply(resource, object);
    }

    /// An object; null if there is none.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let id = id(resource, &json!({"metadata": {"namespace": namespace, "name": name}}));
        self.state().objects.get(&id).cloned().unwrap_or_default()
    }

    /// Cuts off all watches; with `forget`, what happened so far cannot be watched any more.
    pub(crate) fn cut(&self, forget: bool) {
        let mut state = self.state();
        state.cuts += 1;
        if forget {
            state.version += 1;
            state.compacted = state.version;
            state.events.clear();
        }
        drop(state);
        self.bump();
    }

    /// Lets all watches stay open, and says nothing on them any more.
    pub(crate) fn hush(&self) {
        self.state().hushes += 1;
        self.bump();
    }

    /// The requests so far that write a status or anything else but leases.
    pub(crate) fn writes(&self) -> Vec<(String, Value)> {
        let state = self.state();
        let writes = state
            .requests
            .iter()
            .filter(|(line, _)| !line.starts_with("GET") && !line.contains("/leases"));
        writes.cloned().collect()
    }

    /// Waits until the state is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, wanted: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        let mut changed = self.changed.subscribe();
        async move {
            let waited = timeout(Duration::from_secs(120), async {
                while !wanted(self) {
                    changed.changed().await.expect("the server lives");
                }
            });
            if waited.await.is_err() {
                let requests = &self.state().requests;
                let last: Vec<_> = requests.iter().rev().take(20).collect();
                panic!("{place}: it never came; the last requests: {last:#?}");
            }
        }
    }

    fn answer(&self, line: &str, uri: &http::Uri, body: &Value) -> Answer {
        let query: BTreeMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%3D", "=").replace("%2F", "/")))
            .collect();
        let mut state = self.state();
        let fault = state.faults.iter().position(|(part, _)| line.contains(part));
        if let Some(fault) = fault {
            let (_, code) = state.faults.remove(fault);
            return failure(code);
        }
        let path: Vec<&str> = uri.path().split('/').skip(1).collect();
        let (group, rest) = match &*path {
            ["apis"] => return state.groups(),
            ["apis", group, version] => return state.resources(group, version),
            ["apis", group, _, rest @ ..] => (*group, rest),
            ["api", _, rest @ ..] => ("", rest),
            _ => return failure(404),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let id = |plural: &str, name: &str| {
            (group.to_owned(), plural.to_owned(), namespace.to_owned(), name.to_owned())
        };
        let method = line.split(' ').next().unwrap_or_default();
        if let Some(right) = self.forbids(method, &id("", ""), rest, &query) {
            state.forbidden.push(right);
            return failure(403);
        }
        match (method, rest) {
            ("PATCH", [plural, name]) if query.contains_key("force") => {
                state.merge_apply(&id(plural, name), body)
            }
            ("DELETE", [plural, name]) => state.remove(&id(plural, name)),
            ("GET", [plural]) if query.get("watch").is_some_and(|watch| watch == "true") => {
                drop(state);
                self.watch(id(plural, ""), &query)
            }
            ("GET", [plural]) => state.list(&id(plural, ""), &query),
            ("GET", [plural, name]) => match state.objects.get(&id(plural, name)) {
                Some(object) => ok(object),
                None => failure(404),
            },
            ("POST", [plural]) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                state.put(id(plural, name), body.clone(), true);
                ok(&state.objects[&id(plural, name)])
            }
            ("PUT" | "PATCH", [plural, name, ..]) => state.write(&id(plural, name), method, body),
            _ => failure(405),
        }
    }

    /// The right that a request needs and that the manifests do not give; for the core of all kinds
    /// of requests.
    fn forbids(
        &self,
        method: &str,
        id: &Id,
        rest: &[&str],
        query: &BTreeMap<String, String>,
    ) -> Option<String> {
        let watch = query.contains_key("watch");
        let verb = match (method, rest.len()) {
            ("GET", 1) if watch => "watch",
            ("GET", 1) => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("DELETE", _) => "delete",
            _ => "patch",
        };
        let (resource, name) = match rest {
            [plural, name, sub] => (format!("{plural}/{sub}"), Some(*name)),
            [plural, name] => ((*plural).to_owned(), Some(*name)),
            [plural] => ((*plural).to_owned(), None),
            _ => return None,
        };
        let allowed = self.rights.iter().any(|right| {
            right.group == id.0
                && right.resource == resource
                && right.verb == verb
                && (!right.own_namespace || id.2 == "default")
                && right.name.as_deref().is_none_or(|only| Some(only) == name)
        });
        (!allowed).then(|| format!("{verb} {resource}.{} in {:?}", id.0, id.2))
    }

    fn watch(&self, of: Id, query: &BTreeMap<String, String>) -> Answer {
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok());
        let forgotten = since.unwrap_or(0) < self.state().compacted;
        if forgotten && self.state().refuses_forgotten {
            return failure(410);
        }
        let chosen = Chosen::of(query);
        let State { cuts, hushes, .. } = *self.state();
        let start = (self.clone(), since.unwrap_or(0_u64), self.changed.subscribe());
        let events = stream::unfold(start, move |(fake, since, mut changed)| {
            let (of, chosen) = (of.clone(), chosen.clone());
            async move {
                loop {
                    changed.mark_unchanged();
                    let next = {
                        let state = fake.state();
                        if state.cuts != cuts {
                            return None;
                        }
                        if state.hushes != hushes {
                            None
                        } else if since < state.compacted {
                            let gone = json!({"type": "ERROR", "object": status(410)});
                            return Some((gone, (fake.clone(), u64::MAX, changed)));
                        } else {
                            state.next(&of, &chosen, since)
                        }
                    };
                    if let Some((version, event)) = next {
                        return Some((event, (fake, version, changed)));
                    }
                    if changed.changed().await.is_err() {
                        return None;
                    }
                }
            }
        });
        let frames = events.map(|event| {
            Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(format!("{event}\n"))))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl State {
    fn put(&mut self, id: Id, mut object: Value, new: bool) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(id.clone(), object.clone());
        self.events.push((self.version, if new { "ADDED" } else { "MODIFIED" }, id, object));
    }

    /// Server-side apply: what is not there is created, and nothing happens if nothing differs.
    fn merge_apply(&mut self, id: &Id, body: &Value) -> Answer {
        let old = self.objects.get(id).cloned();
        let mut object = old.clone().unwrap_or_else(
            || json!({"metadata": {"uid": format!("uid-{}", self.version), "generation": 1}}),
        );
        merge(&mut object, body);
        let rewrite = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        let text = self.rewrites.iter().fold(object.to_string(), rewrite);
        let object = serde_json::from_str(&text).expect("it is still JSON");
        if old.as_ref() != Some(&object) {
            self.put(id.clone(), object, old.is_none());
        }
        ok(&self.objects[id])
    }

    fn remove(&mut self, id: &Id) -> Answer {
        let Some(mut object) = self.objects.remove(id) else { return failure(404) };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.events.push((self.version, "DELETED", id.clone(), object));
        ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    fn write(&mut self, id: &Id, method: &str, body: &Value) -> Answer {
        let Some(object) = self.objects.get(id) else { return failure(404) };
        let (named, stored) =
            (&body["metadata"]["resourceVersion"], &object["metadata"]["resourceVersion"]);
        if named != stored {
            return failure(409);
        }
        let mut object = object.clone();
        match method {
            "PUT" => object = body.clone(),
            _ => merge(&mut object, body),
        }
        self.put(id.clone(), object, false);
        ok(&self.objects[id])
    }

    fn matching(&self, of: &Id, chosen: &Chosen) -> Vec<&Value> {
        let objects = self.objects.iter();
        let objects = objects.filter(|(id, object)| chosen.has(of, id, object));
        objects.map(|(_, object)| object).collect()
    }

    fn list(&self, of: &Id, query: &BTreeMap<String, String>) -> Answer {
        let all = self.matching(of, &Chosen::of(query));
        let from: usize = query.get("continue").and_then(|at| at.parse().ok()).unwrap_or(0);
        let items: Vec<&Value> = all.iter().skip(from).take(PAGE).copied().collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if from + PAGE < all.len() {
            metadata["continue"] = (from + PAGE).to_string().into();
        }
        ok(&json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items}))
    }

    fn next(&self, of: &Id, chosen: &Chosen, since: u64) -> Option<(u64, Value)> {
        let mut events = self.events.iter().filter(|(version, ..)| *version > since);
        let (version, kind, _, object) =
            events.find(|(_, _, id, object)| chosen.has(of, id, object))?;
        Some((*version, json!({"type": kind, "object": object})))
    }

    fn groups(&self) -> Answer {
        let group = "gateway.networking.k8s.io";
        let version = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        let mut groups = match self.kinds.is_empty() {
            true => Vec::new(),
            false => vec![json!({"name": group, "versions": versions})],
        };
        if self.kinds.iter().any(|(kind, _)| is_experimental(kind)) {
            groups.push(json!({"name": "gateway.networking.x-k8s.io", "versions": [{
                "groupVersion": "gateway.networking.x-k8s.io/v1alpha1", "version": "v1alpha1",
            }]}));
        }
        ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
    }

    fn resources(&self, group: &str, version: &str) -> Answer {
        let resource = |(kind, plural): &(&str, &str)| {
            json!({"name": plural, "singularName": "", "namespaced": *kind != "GatewayClass",
                "kind": kind, "verbs": ["list", "watch"]})
        };
        let experimental = group.contains(".x-k8s.io");
        let of_group = self.kinds.iter().filter(|(kind, _)| is_experimental(kind) == experimental);
        let resources: Vec<Value> = of_group.map(resource).collect();
        ok(&json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": format!("{group}/{version}"), "resources": resources}))
    }
}

fn is_experimental(kind: &str) -> bool {
    kind.starts_with('X')
}

/// What a list or watch is about.
#[derive(Clone)]
struct Chosen {
    name: Option<String>,
    label: Option<(String, String)>,
}

impl Chosen {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let name = query.get("fieldSelector").and_then(|of| of.strip_prefix("metadata.name="));
        let label = query.get("labelSelector").and_then(|of| of.split_once('='));
        Self {
            name: name.map(str::to_owned),
            label: label.map(|(key, value)| (key.to_owned(), value.to_owned())),
        }
    }

    fn has(&self, of: &Id, id: &Id, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        of.0 == id.0
            && of.1 == id.1
            && (of.2.is_empty() || of.2 == id.2)
            && self.name.as_ref().is_none_or(|name| *name == id.3)
            && self.label.as_ref().is_none_or(|(key, value)| labels[&**key] == **value)
    }
}

fn id(resource: &str, object: &Value) -> Id {
    let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (group.to_owned(), plural.to_owned(), text("namespace"), text("name"))
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("it is an object").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn ok(body: &Value) -> Answer {
    answer(200, body)
}

fn status(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": format!("answered with {code}"), "reason": reason})
}

fn failure(code: u16) -> Answer {
    answer(code, &status(code))
}

fn answer(code: u16, body: &Value) -> Answer {
    let body =
        stream::once(future::ready(Ok(http_body::Frame::data(Bytes::from(body.to_string())))));
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).expect("it is a status");
    response
}

impl tower_service::Service<Request<Body>> for Fake {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let line = format!("{} {}", head.method, head.uri);
            fake.travel(&line, &mut body).await;
            let silent = {
                let mut state = fake.state();
                if state.down {
                    return Err(std::io::ErrorKind::ConnectionRefused.into());
                }
                state.requests.push((line.clone(), body.clone()));
                state.silent.iter().any(|part| line.contains(part))
            };
            if silent {
                return future::pending().await;
            }
            let answer = fake.answer(&line, &head.uri, &body);
            if head.method != Method::GET {
                fake.bump();
            }
            Ok(answer)
        })
    }
}
