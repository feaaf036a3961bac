//! One write, and what the API server says of it.

use gateway_core::api::ObjectKey;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::events::Events;
use crate::{finalizer, object::Version, watch::of_client};

/// Whose fields these are, for `metadata.managedFields`.
const FIELD_MANAGER: &str = "gateway";

/// What became of a write.
pub(super) enum Outcome {
    /// This is stored now.
    Done(Option<Version>),
    /// Somebody else wrote this in between.
    Conflict(Version),
    /// The object is gone.
    Gone,
    /// The API server will not take it.
    Refused(String),
    /// No answer, or one that another try may change.
    Failed(String),
    /// Another replica may lead by now.
    Unled,
}

pub(super) async fn write_status(
    api: Api<DynamicObject>,
    key: ObjectKey,
    body: Value,
    before: Value,
    events: Events,
) -> Outcome {
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let object = match api.patch_status(&key.name, &params, &Patch::Merge(&body)).await {
        Ok(object) => object,
        Err(error) => return refused(&api, &key.name, &error).await,
    };
    let version = Version::of(&object);
    events.file(key, object, &before, &version.status());
    Outcome::Done(Some(version))
}

/// Reads and writes in one go: finalizers of others have to stay.
pub(super) async fn write_finalizers(
    api: Api<DynamicObject>,
    name: String,
    in_use: bool,
) -> Outcome {
    let object = match api.get(&name).await {
        Ok(object) => object,
        Err(error) => return refused(&api, &name, &error).await,
    };
    let finalizers = object.metadata.finalizers.unwrap_or_default();
    let Some(finalizers) = finalizer::patch(&finalizers, in_use) else {
        return Outcome::Done(None);
    };
    let body = json!({"metadata": {
        "resourceVersion": object.metadata.resource_version,
        "finalizers": finalizers,
    }});
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match api.patch(&name, &params, &Patch::Merge(&body)).await {
        Ok(_) => Outcome::Done(None),
        Err(error) => refused(&api, &name, &error).await,
    }
}

async fn refused(api: &Api<DynamicObject>, name: &str, error: &kube::Error) -> Outcome {
    let failure = of_client(error);
    match failure.code {
        Some(404) => Outcome::Gone,
        Some(409) => match api.get_opt(name).await {
            Ok(Some(object)) => Outcome::Conflict(Version::of(&object)),
            Ok(None) => Outcome::Gone,
            Err(error) => Outcome::Failed(of_client(&error).text),
        },
        Some(400 | 413 | 422) => Outcome::Refused(failure.text),
        _ => Outcome::Failed(failure.text),
    }
}
