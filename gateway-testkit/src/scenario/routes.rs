//! HTTPRoutes and GRPCRoutes.

use serde_json::{Value, json};

use super::{Bytes, HOSTNAMES, NAMESPACES, gateways::Parent, metadata, put};

pub(super) fn routes(bytes: &mut Bytes<'_>, parents: &[Parent], objects: &mut Vec<Value>) {
    for place in 0..=bytes.below(8) {
        let rules: Vec<_> = (0..=bytes.below(3)).map(|_| http_rule(bytes)).collect();
        objects.push(route(bytes, parents, "HTTPRoute", &format!("r{place}"), &rules));
    }
    for place in 0..bytes.below(3) {
        let rules: Vec<_> = (0..=bytes.below(3)).map(|_| grpc_rule(bytes)).collect();
        objects.push(route(bytes, parents, "GRPCRoute", &format!("c{place}"), &rules));
    }
}

fn route(
    bytes: &mut Bytes<'_>,
    parents: &[Parent],
    kind: &str,
    name: &str,
    rules: &[Value],
) -> Value {
    let namespace = bytes.pick(&["default", "default", "web", "app"]);
    let mut references: Vec<Value> = Vec::new();
    for _ in 0..=bytes.below(3) {
        let parent = &parents[bytes.below(parents.len())];
        // Refused ListenerSets are many; their Gateways take the route more often.
        let parent = if bytes.one_in(2) { parent } else { &parents[parent.gateway] };
        let mut reference = json!({
            "group": "gateway.networking.k8s.io", "kind": parent.kind,
            "namespace": parent.namespace, "name": parent.name,
        });
        put(
            &mut reference,
            "sectionName",
            bytes.pick(&["", "", "", "", "", "", "", "", "", "l0", "l0", "l1", "none"]),
        );
        if bytes.one_in(20) {
            reference["port"] = json!(bytes.pick(&[80, 81, 443]));
        }
        // The schema wants all references to one parent to name different parts of it.
        let ambiguous = |it: &Value| {
            let parts = ["sectionName", "port"].map(|key| (it.get(key), reference.get(key)));
            let same = ["kind", "namespace", "name"].iter().all(|key| it[key] == reference[key]);
            same && parts.iter().all(|(a, b)| a.is_none() || b.is_none() || a == b)
        };
        if !references.iter().any(ambiguous) {
            references.push(reference);
        }
    }
    let count = bytes.pick(&[0, 0, 0, 1, 1, 2]);
    let mut hostnames: Vec<&str> = (0..count).map(|_| bytes.pick(&HOSTNAMES)).collect();
    hostnames.retain(|name| !name.is_empty());
    hostnames.dedup();
    let mut spec = json!({"parentRefs": references, "rules": rules});
    put(&mut spec, "hostnames", hostnames);
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(bytes, namespace, name),
        "spec": spec,
    })
}

fn http_rule(bytes: &mut Bytes<'_>) -> Value {
    let matches: Vec<_> = (0..bytes.below(3)).map(|_| http_match(bytes)).collect();
    let only_prefix =
        matches.is_empty() || (matches.len() == 1 && matches[0]["path"]["type"] == "PathPrefix");
    let mut rule = json!({});
    let redirects = bytes.one_in(12);
    let mut filters = Vec::new();
    if redirects {
        filters.push(redirect(bytes, only_prefix && !matches.is_empty()));
    } else if bytes.one_in(8) {
        filters.push(rewrite(bytes, only_prefix && !matches.is_empty()));
    }
    filters.extend(shared_filters(bytes));
    if bytes.one_in(12) {
        filters.push(cors(bytes));
    }
    if filters.len() > 1 && bytes.one_in(2) {
        filters.reverse();
    }
    put(&mut rule, "matches", matches);
    put(&mut rule, "filters", filters);
    if !redirects {
        put(&mut rule, "backendRefs", backends(bytes));
    }
    rule
}

fn http_match(bytes: &mut Bytes<'_>) -> Value {
    let mut entry = json!({});
    let path = match bytes.below(12) {
        0..=5 => ("PathPrefix", bytes.pick(&["/", "/", "/a", "/%61", "/a/", "/a/b", "/ab", "/s"])),
        6..=8 => ("Exact", bytes.pick(&["/a", "/", "/a/", "/%61/%62", "/ab", "/%c3%a9"])),
        9 | 10 => {
            let patterns = ["/a.*", "/a(/b)?", "/[ab]+", "/.*b", "/|/a", "/s/."];
            ("RegularExpression", bytes.pick(&patterns))
        }
        _ if bytes.one_in(4) => ("RegularExpression", "/a("),
        _ => ("", ""),
    };
    if !path.0.is_empty() {
        entry["path"] = json!({"type": path.0, "value": path.1});
    }
    put(&mut entry, "method", bytes.pick(&["", "", "", "", "GET", "GET", "POST", "HEAD"]));
    put(&mut entry, "headers", headers(bytes));
    if bytes.one_in(3) {
        let mut params =
            vec![json!({"name": bytes.pick(&["q", "r", "q+r"]), "value": value(bytes)})];
        if bytes.one_in(3) {
            params = vec![json!({"name": "q", "value": value(bytes)})];
            params.push(json!({"name": "r", "type": "RegularExpression", "value": "1|2"}));
        }
        entry["queryParams"] = json!(params);
    }
    entry
}

fn value(bytes: &mut Bytes<'_>) -> &'static str {
    bytes.pick(&["1", "2"])
}

fn headers(bytes: &mut Bytes<'_>) -> Vec<Value> {
    let mut headers = Vec::new();
    if bytes.one_in(3) {
        headers.push(json!({"name": "x-a", "value": value(bytes)}));
    }
    if bytes.one_in(4) {
        headers.push(json!({"name": bytes.pick(&["x-b", "X-A"]), "value": value(bytes)}));
    }
    if bytes.one_in(10) {
        headers.push(json!({"name": "x-c", "type": "RegularExpression", "value": "1|2.*"}));
    }
    headers
}

fn grpc_rule(bytes: &mut Bytes<'_>) -> Value {
    let entry = |bytes: &mut Bytes<'_>| {
        let mut entry = json!({});
        let (service, method) = (bytes.pick(&["s", "s.t", ""]), bytes.pick(&["m", "n", ""]));
        let mut wanted = json!({});
        put(&mut wanted, "service", service);
        put(&mut wanted, "method", method);
        if wanted != json!({}) {
            entry["method"] = wanted;
        }
        put(&mut entry, "headers", headers(bytes));
        entry
    };
    let matches: Vec<_> = (0..bytes.below(3)).map(|_| entry(bytes)).collect();
    let mut rule = json!({});
    put(&mut rule, "matches", matches);
    put(&mut rule, "filters", shared_filters(bytes));
    put(&mut rule, "backendRefs", backends(bytes));
    rule
}

/// Filters that HTTPRoutes and GRPCRoutes both have.
fn shared_filters(bytes: &mut Bytes<'_>) -> Vec<Value> {
    let mut filters = Vec::new();
    if bytes.one_in(6) {
        let modifier = json!({
            "set": [{"name": "x-a", "value": "set"}],
            "add": [{"name": "X-New", "value": value(bytes)}],
            "remove": [bytes.pick(&["x-b", "x-none"])],
        });
        filters.push(json!({"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}));
    }
    if bytes.one_in(8) {
        let modifier = json!({"set": [{"name": "x-r", "value": value(bytes)}]});
        filters.push(json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier}));
    }
    if bytes.one_in(8) {
        let mut mirror = json!({"backendRef": reference(bytes)});
        match bytes.below(4) {
            0 => mirror["percent"] = json!(0),
            1 => mirror["fraction"] = json!({"numerator": 100}),
            _ => {}
        }
        filters.push(json!({"type": "RequestMirror", "requestMirror": mirror}));
    }
    if bytes.one_in(24) {
        let target = json!({"group": "filters.example", "kind": "Lock", "name": "lock"});
        filters.push(json!({"type": "ExtensionRef", "extensionRef": target}));
    }
    filters
}

fn redirect(bytes: &mut Bytes<'_>, prefix: bool) -> Value {
    let mut redirect = json!({});
    put(&mut redirect, "scheme", bytes.pick(&["", "https", "http"]));
    put(&mut redirect, "hostname", bytes.pick(&["", "z.x"]));
    put(&mut redirect, "path", path_modifier(bytes, prefix));
    if bytes.one_in(3) {
        redirect["port"] = json!(bytes.pick(&[80, 443, 8080]));
    }
    if bytes.one_in(2) {
        redirect["statusCode"] = json!(bytes.pick(&[301, 303, 308]));
    }
    json!({"type": "RequestRedirect", "requestRedirect": redirect})
}

fn rewrite(bytes: &mut Bytes<'_>, prefix: bool) -> Value {
    let mut rewrite = json!({});
    put(&mut rewrite, "hostname", bytes.pick(&["", "z.x"]));
    put(&mut rewrite, "path", path_modifier(bytes, prefix));
    json!({"type": "URLRewrite", "urlRewrite": rewrite})
}

fn path_modifier(bytes: &mut Bytes<'_>, prefix: bool) -> Value {
    let new = bytes.pick(&["/", "/new", "/new/", ""]);
    match bytes.below(3) {
        0 => Value::Null,
        1 if prefix => json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": new}),
        _ if new.is_empty() => Value::Null,
        _ => json!({"type": "ReplaceFullPath", "replaceFullPath": new}),
    }
}

fn cors(bytes: &mut Bytes<'_>) -> Value {
    let mut cors = json!({
        "allowOrigins": [bytes.pick(&["https://a.x", "https://*.x", "*"])],
    });
    put(&mut cors, "allowMethods", bytes.pick(&[&["GET", "PUT"][..], &["*"]]));
    put(&mut cors, "allowHeaders", bytes.pick(&[&["x-a", "x-b"][..], &["*"], &[]]));
    put(&mut cors, "exposeHeaders", bytes.pick(&[&[][..], &["x-r"]]));
    if bytes.one_in(2) {
        cors["allowCredentials"] = json!(true);
    }
    json!({"type": "CORS", "cors": cors})
}

fn backends(bytes: &mut Bytes<'_>) -> Vec<Value> {
    let count = bytes.pick(&[1, 1, 1, 1, 2, 2, 2, 3, 3, 0]);
    let backend = |_| {
        let mut backend = reference(bytes);
        if bytes.one_in(2) {
            backend["weight"] = json!(bytes.below(4));
        }
        if bytes.one_in(8) {
            let modifier = json!({"add": [{"name": "x-backend", "value": value(bytes)}]});
            backend["filters"] = json!([
                {"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}
            ]);
        }
        backend
    };
    (0..count).map(backend).collect()
}

fn reference(bytes: &mut Bytes<'_>) -> Value {
    let (namespace, name) = match bytes.below(12) {
        0..=2 => ("default", "v1"),
        3..=5 => ("default", "v2"),
        6 | 7 => ("web", "w1"),
        8 | 9 => ("app", "a1"),
        10 => (bytes.pick(&NAMESPACES), "missing"),
        _ => ("", "v1"),
    };
    let mut reference = json!({"name": name});
    put(&mut reference, "namespace", namespace);
    reference["port"] = json!(if bytes.one_in(16) { 1 } else { 8080 });
    if bytes.one_in(24) {
        reference["group"] = json!("buckets.example");
        reference["kind"] = json!("Bucket");
        reference["namespace"] = Value::Null;
    }
    reference
}
