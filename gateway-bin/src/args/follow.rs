//! Arguments of `gateway run --config-from`: a pod of a dedicated Gateway.
//!
//! In: words from the shell. Out: typed arguments. Not here: reading the files.

use std::path::PathBuf;

use clap::Args;
use http::Uri;

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Configuration from a controller")]
pub struct FollowArgs {
    /// Serve what the controller at this address hands out, instead of files
    #[arg(
        long,
        value_name = "https://HOST:PORT",
        value_parser = controller_address,
        conflicts_with_all = ["paths", "kubernetes"],
        requires_all = ["token_file", "ca_file"]
    )]
    pub config_from: Option<Uri>,

    /// File with the token that says who we are
    #[arg(long, value_name = "FILE", requires = "config_from")]
    pub token_file: Option<PathBuf>,

    /// File with the certificates of the authority that vouches for the controller
    #[arg(long, value_name = "FILE", requires = "config_from")]
    pub ca_file: Option<PathBuf>,
}

fn controller_address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if !host.is_empty() && is_plain => Ok(uri),
        _ => Err("expected an address such as https://gateway.gateway-system.svc:15443".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    #[track_caller]
    fn check(words: &str, expect: Result<(), &str>) {
        let words = ["gateway", "run"].into_iter().chain(words.split_whitespace());
        match (Cli::try_parse_from(words), expect) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (parsed, expect) => panic!("{parsed:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn a_controller_instead_of_files() {
        let files = "--token-file t --ca-file c";
        check(&format!("--config-from https://c.ns.svc:15443 {files}"), Ok(()));
        check("--config-from https://c:1 --token-file t", Err("--ca-file"));
        check(&format!("--config-from http://c:1 {files}"), Err("expected an address"));
        check(&format!("--config-from https://c/x {files}"), Err("expected an address"));
        check(&format!("--config-from https://c a.yaml {files}"), Err("cannot be used with"));
        check(&format!("--config-from https://c --kubernetes {files}"), Err("cannot be used with"));
        check("a.yaml --token-file t", Err("--config-from"));
    }
}
