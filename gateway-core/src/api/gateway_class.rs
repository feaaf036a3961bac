//! GatewayClass: which controller runs the Gateways of a class.

use serde::{Deserialize, Serialize};

use super::condition::{Condition, SupportedFeature};
use super::meta::ObjectMeta;
use super::refs::ParametersReference;

/// A class of Gateways, all run by the same controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayClass {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GatewayClassSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<GatewayClassStatus>,
}

/// What is wanted of a GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Controller that runs the Gateways, such as `example.net/gateway-controller`. Immutable.
    pub controller_name: String,
    /// Settings for the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// For people, at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What became of a GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// Accepted and SupportedVersion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Supported features, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<SupportedFeature>,
}
