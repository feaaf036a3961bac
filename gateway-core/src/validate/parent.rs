//! What all routes have in common: references to parents, default Gateways, names of rules and hostnames.

use std::collections::HashMap;

use super::check::{At, Check};
use crate::api::{GatewayDefaultScope, ParentReference};
use crate::diagnostic::Code;

pub(super) fn parents(
    check: &mut Check<'_>,
    parents: &[ParentReference],
    default_gateways: Option<&GatewayDefaultScope>,
    spec: &At<'_>,
) {
    let list = spec.field("parentRefs");
    check.list_length(&list, parents.len(), 0..=32);
    for (index, parent) in parents.iter().enumerate() {
        let at = list.index(index);
        check.optional_group(&at, parent.group.as_deref());
        check.optional_kind(&at, parent.kind.as_deref());
        check.object_name(&at, &parent.name);
        check.optional_namespace(&at, parent.namespace.as_deref());
        if let Some(section) = &parent.section_name {
            check.section_name(&at.field("sectionName"), section);
        }
        if let Some(port) = parent.port {
            check.port(&at.field("port"), port);
        }
    }
    distinct_parents(check, parents, &list);
    let at = spec.field("useDefaultGateways");
    if let Some(scope) = check.experimental(&at, default_gateways) {
        check.known(&at, scope, &[]);
    }
}

/// Several references to one parent must each name another part of it.
// SPEC: the namespaces are compared as written; the standard channel only looks at the section name.
fn distinct_parents(check: &mut Check<'_>, parents: &[ParentReference], list: &At<'_>) {
    let is_standard = check.is_standard();
    let part = |parent: &ParentReference| {
        (
            parent.section_name.clone().unwrap_or_default(),
            if is_standard { 0 } else { parent.port.unwrap_or(0) },
        )
    };
    let wanted = if is_standard { "sectionName" } else { "sectionName or port" };
    let mut by_parent: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, parent) in parents.iter().enumerate() {
        let namespace = parent.namespace.as_deref().unwrap_or_default();
        by_parent
            .entry((parent.group(), parent.kind(), namespace, &parent.name))
            .or_default()
            .push(index);
    }
    let mut same_parent: Vec<Vec<usize>> =
        by_parent.into_values().filter(|same| same.len() > 1).collect();
    same_parent.sort_unstable();
    for same in same_parent {
        let mut seen: HashMap<(String, i32), usize> = HashMap::new();
        let (first_section, first_port) = part(&parents[same[0]]);
        for index in same {
            let (section, port) = part(&parents[index]);
            let at = list.index(index);
            if section.is_empty() != first_section.is_empty() || (port == 0) != (first_port == 0) {
                let message = "another reference to this parent names a part of it and this one does not, or the reverse";
                let help = format!("give {wanted} in each reference to the parent, or in none");
                check.error_help(&at, Code::ParentRefsAmbiguous, message, help);
            } else if let Some(earlier) = seen.get(&(section.clone(), port)) {
                let message =
                    format!("refers to the same part of the same parent as item {earlier}");
                let help = format!("remove it, or give another {wanted}");
                check.error_help(&at, Code::ParentRefsDuplicate, message, help);
            }
            seen.entry((section, port)).or_insert(index);
        }
    }
}

/// Names of rules; the standard channel takes repeated ones.
pub(super) fn rule_names<'r>(
    check: &mut Check<'_>,
    names: impl Iterator<Item = Option<&'r str>> + Clone,
    list: &At<'_>,
    unique: bool,
) {
    for (index, name) in names.clone().enumerate() {
        if let Some(name) = name {
            check.section_name(&list.index(index).field("name"), name);
        }
    }
    check.unique(list, names, |check, at, earlier, name| {
        let message = format!("rule {earlier} has the name {name:?}, too");
        if unique {
            check.error(&at.field("name"), Code::DuplicateItem, message);
        } else {
            check.warning(
                &at.field("name"),
                Code::DuplicateItem,
                message,
                "give each rule its own name",
            );
        }
    });
}

pub(super) fn hostnames(check: &mut Check<'_>, hostnames: &[String], at: &At<'_>) {
    check.list_length(at, hostnames.len(), 0..=16);
    for (index, hostname) in hostnames.iter().enumerate() {
        check.hostname(&at.index(index), hostname);
    }
}
