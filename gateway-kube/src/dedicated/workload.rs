//! The pods of a Gateway.
//!
//! In: a Gateway, [`Parameters`], the [`Blueprint`]. Out: the spec of its Deployment, and of what
//! scales it. Not here: the Service in front of them.
//!
//! The pods fulfil the Pod Security Standard `restricted`.

use gateway_core::api::Gateway;
use serde_json::{Value, json};

use super::{
    name::selector,
    objects::{AUTHORITY_FILE, Blueprint},
    parameters::{Parameters, Scaling},
};
use crate::config_stream::AUDIENCE;

/// Where the pods answer probes.
pub const PROBE_PORT: u16 = 15021;

/// Where pods find their token and the authority.
const FOLDER: &str = "/var/run/secrets/gateway";

/// A user without any rights, that of distroless images.
const NOBODY: u32 = 65532;

/// How long a token lasts; kubelets renew it in time.
const TOKEN_SECONDS: u32 = 3600;

/// From the moment on that a pod is to end: until no more requests are sent to it, ...
const UNTIL_UNUSED: u32 = 5;
/// ... until those under way have ended, and until it is killed.
const DRAIN: u32 = 30;
const GRACE: u32 = UNTIL_UNUSED + DRAIN + 10;

/// The spec of the Deployment. `metadata` has labels and annotations.
pub(super) fn deployment(
    gateway: &Gateway,
    name: &str,
    metadata: &Value,
    parameters: &Parameters,
    blueprint: &Blueprint,
) -> Value {
    let selector = json!({"matchLabels": selector(gateway)});
    let mut spec = json!({
        "selector": selector,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": metadata,
            "spec": pod(name, &selector, parameters, blueprint),
        },
    });
    if parameters.scaling.is_none() {
        spec["replicas"] = parameters.replicas.into();
    }
    spec
}

fn pod(name: &str, selector: &Value, parameters: &Parameters, blueprint: &Blueprint) -> Value {
    let mut pod = json!({
        "serviceAccountName": name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
            // Listeners may have any port.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }],
        "containers": [container(parameters, blueprint)],
        "volumes": [{
            "name": "controller",
            "projected": {"sources": [
                {"serviceAccountToken": {
                    "audience": AUDIENCE,
                    "expirationSeconds": TOKEN_SECONDS,
                    "path": "token",
                }},
                {"configMap": {
                    "name": name,
                    "items": [{"key": AUTHORITY_FILE, "path": AUTHORITY_FILE}],
                }},
            ]},
        }],
    });
    if !parameters.node_selector.is_empty() {
        pod["nodeSelector"] = json!(parameters.node_selector);
    }
    if let Some(class) = &parameters.priority_class_name {
        pod["priorityClassName"] = class.as_str().into();
    }
    pod
}

fn container(parameters: &Parameters, blueprint: &Blueprint) -> Value {
    let mut arguments = vec![
        "run".to_owned(),
        format!("--config-from={}", blueprint.config_url),
        format!("--token-file={FOLDER}/token"),
        format!("--ca-file={FOLDER}/{AUTHORITY_FILE}"),
        "--bind=$(POD_IP)".to_owned(),
        format!("--probes={PROBE_PORT}"),
        format!("--drain-timeout={DRAIN}s"),
    ];
    arguments.extend(blueprint.arguments.iter().cloned());
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "probes"},
            "periodSeconds": period,
            "failureThreshold": failures,
        })
    };
    let mut resources = json!({"requests": parameters.requests});
    if !parameters.limits.is_empty() {
        resources["limits"] = json!(parameters.limits);
    }
    json!({
        "name": "gateway",
        "image": blueprint.image,
        "args": arguments,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": "probes", "containerPort": PROBE_PORT, "protocol": "TCP"}],
        "readinessProbe": probe("/readyz", 5, 2),
        "livenessProbe": probe("/healthz", 10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": UNTIL_UNUSED}}},
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "controller", "mountPath": FOLDER, "readOnly": true}],
    })
}

/// The spec of the HorizontalPodAutoscaler.
pub(super) fn scaling(name: &str, scaling: &Scaling) -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [{
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent},
            },
        }],
    })
}
