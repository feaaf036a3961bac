//! Single writes of objects.
//!
//! In: an object as it is to be, or who is to go. Out: the object as it is then, or why it could not
//! be written. Not here: which writes, and when (`keeper`).

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::Value;

use super::{
    name::MANAGED_BY,
    object::{Object, ObjectId},
};
use crate::watch::of_client;

/// Makes an object as it is to be, and gives it as it then is.
///
/// # Errors
/// If the API server does not take it, or if it belongs to somebody else.
pub(super) async fn apply(
    client: Client,
    object: &Object,
    known: bool,
    label: &str,
    manager: &str,
) -> Result<Option<Value>, String> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client, &object.id.namespace, &object.id.kind.resource());
    // An apply would merge our fields into an object of somebody else.
    if !known
        && let Some(found) = api.get_opt(&object.id.name).await.map_err(|error| text(&error))?
    {
        let labels = found.metadata.labels.as_ref();
        if labels.and_then(|labels| labels.get(MANAGED_BY)).is_none_or(|by| by != label) {
            return Err("it exists and belongs to somebody else".to_owned());
        }
    }
    let params = PatchParams::apply(manager).force();
    let applied = api.patch(&object.id.name, &params, &Patch::Apply(&object.body)).await;
    applied.map(value).map_err(|error| text(&error))
}

/// Removes the object with this uid; gives it if it takes its time.
///
/// # Errors
/// If the API server does not remove it.
pub(super) async fn remove(
    client: Client,
    id: &ObjectId,
    uid: String,
) -> Result<Option<Value>, String> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, &id.namespace, &id.kind.resource());
    let exactly = Preconditions { uid: Some(uid), resource_version: None };
    let params = DeleteParams { preconditions: Some(exactly), ..DeleteParams::background() };
    match api.delete(&id.name, &params).await {
        // It may take its time; the watch tells when it is gone.
        Ok(answer) => Ok(answer.left().and_then(value)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(text(&error)),
    }
}

fn text(error: &kube::Error) -> String {
    of_client(error).text
}

/// The object without what nobody looks at.
pub(super) fn value(mut object: DynamicObject) -> Option<Value> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).ok()
}
