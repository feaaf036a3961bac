//! Metadata of any object.

use super::check::{At, Check};
use crate::api::{Kind, Resource, is_dns_label};
use crate::diagnostic::Code;

pub(super) fn metadata(check: &mut Check<'_>, resource: &Resource) {
    let root = At::root();
    let at = root.field("metadata");
    let metadata = resource.metadata();
    let name = at.field("name");
    match resource.kind() {
        Kind::Namespace => check.namespace(&name, &metadata.name),
        Kind::Service if !metadata.name.is_empty() && !is_service_name(&metadata.name) => {
            let message = format!("{:?} is not the name of a Service", metadata.name);
            let help = "use a-z, 0-9 and '-', beginning with a letter, at most 63 characters";
            check.error_help(&name, Code::InvalidName, message, help);
        }
        _ => check.section_name(&name, &metadata.name),
    }
    if resource.kind().is_namespaced() {
        check.namespace(&at.field("namespace"), &metadata.namespace);
    }
    check.labels(&at.field("labels"), &metadata.labels);
    let annotations = at.field("annotations");
    for key in metadata.annotations.keys() {
        check.label_key(&annotations.field(key), key);
    }
}

fn is_service_name(name: &str) -> bool {
    is_dns_label(name) && !name.starts_with(|first: char| first.is_ascii_digit())
}
