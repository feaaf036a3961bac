//! Just enough understanding of Cargo.toml.

/// Names under `[dependencies]`, those of targets included.
pub(crate) fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies"
                || (section.starts_with("target.") && section.ends_with(".dependencies"));
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            names.extend((!name.starts_with('#') && !name.is_empty()).then(|| name.to_owned()));
        }
    }
    names
}

/// Members of the workspace.
pub(crate) fn members(manifest: &str) -> Vec<String> {
    let list = manifest.split_once("members = [").map_or("", |(_, rest)| rest);
    let list = list.split(']').next().unwrap_or_default();
    list.split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn dependencies_of_all_forms_are_found() {
    let manifest = "[dependencies]\na.workspace = true\nb = { path = \"b\" }\n# c = 1\n\n\
        [target.'cfg(unix)'.dependencies]\nd = \"1\"\n[dev-dependencies]\ne = \"1\"\n";
    assert_eq!(dependencies(manifest), ["a", "b", "d"]);
    assert_eq!(members("members = [\"a\", \"b\"]"), ["a", "b"]);
}
