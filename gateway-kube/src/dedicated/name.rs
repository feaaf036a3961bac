//! Names and labels of what is created for a Gateway.
//!
//! In: names that users chose. Out: names and label values that Kubernetes takes, the same each
//! time. Not here: which objects there are.
// SPEC: GEP-1762 names objects `<gateway>-<class>` and labels them with both.

use std::collections::BTreeMap;

use gateway_core::api::Gateway;

/// Says which Gateway an object belongs to.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Says in which namespace that Gateway is; on objects that are in another one.
pub const GATEWAY_NAMESPACE: &str = "gateway.networking.k8s.io/gateway-namespace";
/// Says of which class that Gateway is.
pub const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Characters of a DNS label, and of a label's value.
const LONGEST: usize = 63;
/// Characters of a hash and the hyphen before it.
const MARK: usize = 9;

/// The name of everything that is created for a Gateway.
///
/// It is a DNS label as Services need it. Whatever does not fit as it is gets the hash of the whole
/// in place of its end, so that no two Gateways of a namespace meet by being cut off.
#[must_use]
pub fn object_name(gateway: &str, class: &str) -> String {
    let plain = format!("{gateway}-{class}");
    if plain.len() <= LONGEST && is_service_name(&plain) {
        return plain;
    }
    marked(&plain, &plain)
}

/// The name of what is created for a Gateway in another namespace than its own. It always has a
/// hash, since hyphens in the parts would make one name of several Gateways.
#[must_use]
pub fn foreign_name(namespace: &str, gateway: &str, class: &str) -> String {
    marked(&format!("{namespace}-{gateway}"), &format!("{namespace}/{gateway}/{class}"))
}

/// As much of `plain` as fits, and the hash of `whole`.
fn marked(plain: &str, whole: &str) -> String {
    let mut stem: String = plain.chars().map(as_label_char).take(LONGEST - MARK).collect();
    if !stem.starts_with(|first: char| first.is_ascii_lowercase()) {
        stem.insert_str(0, "gw-");
        stem.truncate(LONGEST - MARK);
    }
    format!("{}-{}", stem.trim_end_matches('-'), hash(whole))
}

/// A name as the value of a label: itself if it fits, else cut off and marked by its hash.
#[must_use]
pub fn label_value(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let stem: String = name.chars().take(LONGEST - MARK).collect();
    format!("{}-{}", stem.trim_end_matches(['-', '.', '_']), hash(name))
}

/// The name of a controller as the value of a label.
#[must_use]
pub fn controller_label(controller_name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let plain: String = controller_name.chars().map(allowed).collect();
    label_value(plain.trim_matches(['-', '.', '_']))
}

/// The labels by which the pods of a Gateway are found. They never change while the Gateway lives.
#[must_use]
pub fn selector(gateway: &Gateway) -> BTreeMap<String, String> {
    BTreeMap::from([
        (GATEWAY_NAME.to_owned(), label_value(&gateway.metadata.name)),
        (GATEWAY_CLASS_NAME.to_owned(), label_value(&gateway.spec.gateway_class_name)),
    ])
}

/// All labels of what is created for a Gateway: those of its infrastructure, and ours, which win.
#[must_use]
pub fn labels(gateway: &Gateway, controller_name: &str) -> BTreeMap<String, String> {
    let mut labels = gateway
        .spec
        .infrastructure
        .as_ref()
        .map_or_else(BTreeMap::new, |infrastructure| infrastructure.labels.clone());
    labels.extend(selector(gateway));
    labels.insert("app.kubernetes.io/name".to_owned(), "gateway".to_owned());
    labels.insert(MANAGED_BY.to_owned(), controller_label(controller_name));
    labels
}

fn is_service_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn as_label_char(c: char) -> char {
    if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }
}

/// FNV-1a, folded to 32 bits.
fn hash(text: &str) -> String {
    format!("{:08x}", fold(text))
}

/// FNV-1a, folded to 32 bits: the same in every version and on every machine.
pub(crate) fn fold(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).expect("it has 32 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{controller_label, foreign_name, is_service_name, label_value, object_name};

    #[track_caller]
    fn check(gateway: &str, class: &str, expect: &str) {
        let name = object_name(gateway, class);
        assert_eq!(name, expect);
        assert!(is_service_name(&name) && name.len() <= 63, "{name}");
    }

    #[test]
    fn names_are_plain_where_they_fit() {
        check("public", "gateway", "public-gateway");
        check(&"g".repeat(55), "gateway", &format!("{}-gateway", "g".repeat(55)));
    }

    #[test]
    fn other_names_end_in_a_hash() {
        check(&"g".repeat(56), "gateway", &format!("{}-6290f75e", "g".repeat(54)));
        check(&"g".repeat(253), "gateway", &format!("{}-7d58d3c8", "g".repeat(54)));
        check("shop.public", "gateway", "shop-public-gateway-b988f225");
        check("1st", "gateway", "gw-1st-gateway-28516a5b");
    }

    #[test]
    fn names_in_another_namespace_tell_all_parts_apart() {
        let name = foreign_name("infra", "public", "gateway");
        assert_eq!(name, "infra-public-75fd0260");
        assert_ne!(foreign_name("a", "b-c", "d"), foreign_name("a-b", "c", "d"));
        assert_ne!(foreign_name("a", "b", "c"), foreign_name("a", "b", "d"));
    }

    #[test]
    fn labels_take_63_characters() {
        assert_eq!(label_value("a.b"), "a.b");
        let long = label_value(&format!("{}.{}", "a".repeat(53), "b".repeat(20)));
        assert!(long.len() <= 63 && long.starts_with(&format!("{}-", "a".repeat(53))), "{long}");
        assert_eq!(controller_label("example.net/gateway"), "example.net-gateway");
    }

    proptest! {
        #[test]
        fn every_name_fits(gateway in "[a-z0-9][-.a-z0-9]{0,250}[a-z0-9]", class in "[a-z0-9][-.a-z0-9]{0,30}[a-z0-9]") {
            let name = object_name(&gateway, &class);
            prop_assert!(is_service_name(&name) && name.len() <= 63, "{}", name);
            prop_assert!(label_value(&gateway).len() <= 63);
            let name = foreign_name(&class, &gateway, &class);
            prop_assert!(is_service_name(&name) && name.len() <= 63, "{}", name);
        }

        #[test]
        fn cut_off_names_differ(stem in "[a-z]{60}", a in "[a-z]{5}", b in "[a-z]{5}") {
            prop_assume!(a != b);
            prop_assert_ne!(object_name(&format!("{stem}{a}"), "c"), object_name(&format!("{stem}{b}"), "c"));
        }
    }
}
