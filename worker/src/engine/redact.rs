//! Takes the secrets a child was given out of what it wrote: raw, percent-encoded and in base64 (guarantees F3).

use base64::{Engine as _, engine::general_purpose};
use secrecy::{ExposeSecret as _, SecretString};

/// What stands in the place of a secret.
const PLACEHOLDER: &str = "[redacted]";

/// Every form in which a child's secrets could appear.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a form that contains another is taken out whole.
    forms: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.forms.len()).finish()
    }
}

impl Redactor {
    /// A redactor of these secrets; empty ones are left out, they would match everywhere.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets {
            let raw = secret.expose_secret();
            if raw.is_empty() {
                continue;
            }
            let upper = percent_encode(raw);
            // libpq's password file escapes these two.
            forms.push(raw.replace('\\', "\\\\").replace(':', "\\:"));
            forms.extend([raw.to_owned(), upper.to_lowercase(), upper.replace("%20", "+"), upper]);
            for engine in [&general_purpose::STANDARD_NO_PAD, &general_purpose::URL_SAFE_NO_PAD] {
                forms.push(engine.encode(raw));
            }
        }
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// Length in bytes of the longest form: how much more than the wanted tail must be kept for a cut secret to be found.
    pub fn longest(&self) -> usize {
        self.forms.first().map_or(0, String::len)
    }

    /// The text without any of the secrets.
    pub fn apply(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), PLACEHOLDER))
    }
}

fn percent_encode(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for byte in raw.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(half.into(), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_taken_out() {
        let redactor = Redactor::new([&SecretString::from("p:w/ü d")]);
        for form in ["p:w/ü d", "p\\:w/ü d", "p%3Aw%2F%C3%BC%20d", "p%3aw%2f%c3%bc%20d", "cDp3L8O8IGQ=", "cDp3L8O8IGQ"]
        {
            let out = redactor.apply(&format!("connection to \"{form}\" failed"));
            assert!(out.contains(PLACEHOLDER) && !out.contains(form), "{form} stayed: {out}");
        }
    }

    #[test]
    fn no_secret_changes_nothing() {
        assert_eq!(Redactor::new([&SecretString::from("")]).apply("text"), "text");
        assert!(!format!("{:?}", Redactor::new([&SecretString::from("hidden")])).contains("hidden"));
    }
}
