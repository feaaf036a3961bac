//! Filters in words, for people who look at a route.

use std::fmt;

use super::{Filter, HeaderModifier, PathModifier, Redirect, UrlRewrite};

impl fmt::Display for Filter {
    /// What the filter does, in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestHeaderModifier(modifier) => write!(f, "request headers: {modifier}"),
            Self::ResponseHeaderModifier(modifier) => write!(f, "response headers: {modifier}"),
            Self::RequestMirror(mirror) => {
                let (numerator, denominator) = mirror.fraction;
                write!(f, "mirror {numerator} of {denominator} to {}", mirror.backend.key)
            }
            Self::RequestRedirect(redirect) => write!(f, "{redirect}"),
            Self::UrlRewrite(rewrite) => write!(f, "{rewrite}"),
            Self::Cors(_) => f.write_str("CORS"),
            Self::ExternalAuth(auth) => write!(f, "authorization by {}", auth.backend.key),
            Self::Custom(filter) => write!(f, "custom filter {filter:?}"),
            Self::Invalid => f.write_str("invalid, every request is answered with 500"),
        }
    }
}

impl fmt::Display for HeaderModifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.iter().map(|(name, _)| ("set", name));
        let add = self.add.iter().map(|(name, _)| ("add", name));
        let remove = self.remove.iter().map(|name| ("remove", name));
        for (place, (verb, name)) in set.chain(add).chain(remove).enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{verb} {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redirect with {}", self.status.as_u16())?;
        if let Some(scheme) = self.scheme {
            write!(f, ", scheme {}", scheme.as_str())?;
        }
        if let Some(hostname) = &self.hostname {
            write!(f, ", host {hostname}")?;
        }
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        self.path.iter().try_for_each(|path| write!(f, ", {path}"))
    }
}

impl fmt::Display for UrlRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rewrite")?;
        if let Some(hostname) = &self.hostname {
            write!(f, ", host {}", String::from_utf8_lossy(hostname.as_bytes()))?;
        }
        self.path.iter().try_for_each(|path| write!(f, ", {path}"))
    }
}

impl fmt::Display for PathModifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplaceFullPath(path) => write!(f, "path {path}"),
            Self::ReplacePrefixMatch(path) => write!(f, "matched prefix becomes {path}"),
        }
    }
}
