//! The frame of PEM texts: labels and base64. What is inside takes an X.509 parser.
//!
//! In: texts from Secrets and ConfigMaps. Out: whether they hold what they should. Not here: X.509,
//! and whether a key belongs to a certificate (`scope::CertificateCheck`).

use crate::api::Base64;

/// Whether `text` has certificates and nothing broken.
///
/// # Errors
///
/// Says what was found instead.
pub(super) fn check_certificates(text: &str) -> Result<(), String> {
    check(text, "CERTIFICATE", |label| label == "CERTIFICATE")
}

/// Whether `text` has a private key and nothing broken.
///
/// # Errors
///
/// Says what was found instead.
pub(super) fn check_private_key(text: &str) -> Result<(), String> {
    check(text, "PRIVATE KEY", |label| {
        label == "PRIVATE KEY"
            || (label.ends_with(" PRIVATE KEY") && label != "ENCRYPTED PRIVATE KEY")
    })
}

fn check(text: &str, wanted: &str, is_wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some((label, tail)) = next_block(rest)? {
        if is_wanted(label) {
            return next_blocks_are_whole(tail);
        }
        found.push(label);
        rest = tail;
    }
    Err(match &*found {
        [] if text.trim().is_empty() => format!("is empty, expected a PEM block {wanted}"),
        [] => format!("has no PEM block, expected -----BEGIN {wanted}-----"),
        labels => format!("has the PEM block {}, expected {wanted}", labels.join(", ")),
    })
}

fn next_blocks_are_whole(mut rest: &str) -> Result<(), String> {
    while let Some((_, tail)) = next_block(rest)? {
        rest = tail;
    }
    Ok(())
}

/// The label of the next block and what follows it.
fn next_block(text: &str) -> Result<Option<(&str, &str)>, String> {
    let Some((_, after)) = text.split_once("-----BEGIN ") else { return Ok(None) };
    let (label, after) =
        after.split_once("-----").ok_or("has a BEGIN line that does not end in -----")?;
    let (body, after) = after
        .split_once(&format!("-----END {label}-----"))
        .ok_or_else(|| format!("has no line -----END {label}-----"))?;
    let digits: String = body.lines().filter(|line| !line.contains(": ")).map(str::trim).collect();
    match Base64::new(digits).decode() {
        Ok(bytes) if !bytes.is_empty() => Ok(Some((label, after))),
        Ok(_) => Err(format!("has an empty block {label}")),
        Err(_) => Err(format!("has a block {label} that is not base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_certificates, check_private_key};

    #[track_caller]
    fn check(text: &str, certificate: bool, key: bool) {
        assert_eq!(check_certificates(text).is_ok(), certificate, "{text:?}");
        assert_eq!(check_private_key(text).is_ok(), key, "{text:?}");
    }

    #[test]
    fn frames() {
        let certificate = "-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN EC PRIVATE KEY-----\r\nZm9v\r\n-----END EC PRIVATE KEY-----\r\n";
        check(certificate, true, false);
        check(key, false, true);
        check(&format!("a comment\n{key}{certificate}"), true, true);
        check("", false, false);
        check("Zm9v", false, false);
        check("-----BEGIN CERTIFICATE-----\nZm9v\n", false, false);
        check("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", false, false);
        check("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", false, false);
        check(&format!("{certificate}-----BEGIN CERTIFICATE-----\n"), false, false);
        check("-----BEGIN ", false, false);
    }
}
