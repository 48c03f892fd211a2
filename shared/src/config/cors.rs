//! `[http.cors]`: pages of which other origins may read what the API answers to their scripts.

use std::time::Duration;

use super::{Mode, reader::Section};

/// The word for every origin.
const ANY: &str = "any";

/// Whose scripts may call. Cookies and other credentials of the browser never come along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Nobody's: no answer has a CORS header.
    None,
    /// These, as browsers write them.
    These(Vec<String>),
    /// Everybody's; in dev alone.
    Any,
}

/// Cross-origin resource sharing.
#[derive(Debug, Clone)]
pub struct Cors {
    pub origins: Origins,
    /// How long a browser may remember what a preflight answered.
    pub max_age: Duration,
}

impl Cors {
    pub(super) fn read(s: &mut Section<'_>, mode: Mode) -> Self {
        let given: Vec<String> = s.get("origins", "a list of origins, for example [\"https://ops.example.org\"]");
        let origins = origins(s, given, mode);
        Self { origins, max_age: s.seconds("max_age_s", 0.0..=86_400.0) }
    }
}

fn origins(s: &mut Section<'_>, given: Vec<String>, mode: Mode) -> Origins {
    const NAME: &str = "origins";
    if given.iter().any(|origin| origin == ANY) {
        if given.len() > 1 {
            s.fail(NAME, "names origins beside \"any\", which is all of them", "keep the one or the others");
        } else if mode == Mode::Prod {
            let problem = "lets every page that an operator opens talk to this API, and http.mode is \"prod\"";
            s.fail(NAME, problem, "list the origins that may; \"any\" is for dev");
        } else {
            return Origins::Any;
        }
        return Origins::None;
    }
    let mut good = Vec::new();
    for origin in given {
        match wrong(&origin) {
            Some((problem, cure)) => s.fail(NAME, &format!("{origin:?} {problem}"), &cure),
            None => good.push(origin),
        }
    }
    if good.is_empty() { Origins::None } else { Origins::These(good) }
}

/// Why no browser would send this as its `Origin`, and what to write instead.
fn wrong(origin: &str) -> Option<(&'static str, String)> {
    let give = || "give scheme://host or scheme://host:port, for example https://ops.example.org".to_owned();
    if origin.contains('*') {
        return Some(("is a pattern: origins are compared as a whole", "list each origin".to_owned()));
    }
    if origin == "null" {
        return Some(("is what sandboxed pages and files of anybody send", "remove it".to_owned()));
    }
    let Some((scheme @ ("http" | "https"), authority)) = origin.split_once("://") else {
        return Some(("does not begin with http:// or https://", give()));
    };
    if let Some((host, _)) = authority.split_once(['/', '?', '#']) {
        return Some(("has a path: an origin ends with its host or port", format!("give {scheme}://{host}")));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._[]:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Some(("names no host as browsers write them: ASCII in lower case, without a user", give()));
    }
    let default = if scheme == "https" { "443" } else { "80" };
    match port {
        Some(port) if port == default => {
            Some(("names the scheme's own port, which browsers leave out", format!("give {scheme}://{host}")))
        }
        Some(port) if port.starts_with('0') || port.parse::<u16>().is_err() => {
            Some(("has a port that is none", give()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_sends_is_an_origin() {
        for good in ["https://ops.example.org", "http://localhost:3000", "https://[::1]:8443", "https://[::1]"] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for bad in [
            "",
            "*",
            "https://*.example.org",
            "null",
            "ops.example.org",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a/x",
            "https://A.example",
            "https://u@a",
            "https://a:443",
            "http://a:80",
            "https://a:0",
            "https://a:x",
            "https://a:65536",
            "https://a b",
        ] {
            assert!(wrong(bad).is_some(), "{bad}");
        }
    }
}
