//! Reads typed values out of the merged layers and collects every problem on the way.
//! A value that is wrong is reported and replaced by its default, so that reading goes on to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Value};
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::Problem;
use super::source::Merged;

/// What was read: for `effective()` and for naming origins later.
#[derive(Debug, Default)]
pub(super) struct Seen {
    settings: BTreeMap<String, (serde_json::Value, String)>,
    failed: BTreeSet<String>,
}

impl Seen {
    pub(super) fn origin(&self, key: &str) -> String {
        self.settings.get(key).map_or_else(|| "not set".to_owned(), |(_, origin)| origin.clone())
    }

    pub(super) fn failed(&self, key: &str) -> bool {
        self.failed.contains(key)
    }

    pub(super) fn effective(&self) -> serde_json::Value {
        let entry =
            |(value, origin): &(serde_json::Value, String)| serde_json::json!({"value": value, "origin": origin});
        self.settings.iter().map(|(key, setting)| (key.clone(), entry(setting))).collect()
    }
}

pub(super) struct Reader {
    merged: Merged,
    known: BTreeSet<String>,
    seen: Seen,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(merged: Merged) -> Self {
        Self { merged, known: BTreeSet::new(), seen: Seen::default(), problems: Vec::new() }
    }

    /// A table of the configuration.
    pub(super) fn section(&mut self, name: &str) -> Section<'_> {
        self.known.insert(name.to_owned());
        Section { reader: self, path: name.to_owned() }
    }

    /// Adds what no section asked for, and gives everything back.
    pub(super) fn finish(mut self) -> (Seen, Vec<Problem>) {
        let values = std::mem::take(&mut self.merged.values);
        self.unknown("", &values);
        self.problems.sort_by(|a, b| a.key.cmp(&b.key));
        (self.seen, self.problems)
    }

    fn unknown(&mut self, path: &str, dict: &Dict) {
        for (name, value) in dict {
            let key = join(path, name);
            if !self.known.contains(&key) {
                let origin = self.merged.origin(&key, first_leaf(value));
                let known = self.known.iter().filter(|known| parent(known) == path && !known.ends_with("_file"));
                let nearest = known.map(|known| (distance(known, &key), known)).min();
                let cure = match nearest {
                    Some((far, known)) if far <= 1 + name.len() / 3 => format!("did you mean {known}?"),
                    _ => "remove it".to_owned(),
                };
                self.problems.push(Problem { key, origin, problem: "is not a setting".to_owned(), cure });
            } else if let Value::Dict(_, inner) = value {
                self.unknown(&key, inner);
            }
        }
    }
}

/// One table while it is read.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    path: String,
}

impl Section<'_> {
    /// A setting that has a default.
    pub(super) fn get<T: DeserializeOwned + Default>(&mut self, name: &str, expects: &str) -> T {
        self.optional(name, expects).unwrap_or_else(|| {
            let defaults = &self.reader.merged.defaults;
            let value = self.path.split('.').chain([name]).try_fold(None::<&Value>, |at, part| match at {
                None => defaults.get(part).map(Some),
                Some(value) => value.as_dict().and_then(|dict| dict.get(part)).map(Some),
            });
            value.flatten().and_then(|value| value.deserialize().ok()).unwrap_or_default()
        })
    }

    /// A setting that may be absent.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, name: &str, expects: &str) -> Option<T> {
        let (key, value) = self.value(name)?;
        let text = self.reader.merged.is_text(&value);
        match read(&value, text) {
            Ok(read) => {
                let shown = serde_json::to_value(&value).unwrap_or_default();
                self.remember(&key, shown, &value);
                Some(read)
            }
            Err(problem) => {
                self.remember(&key, serde_json::Value::Null, &value);
                self.fail(name, &problem, &format!("give {expects}"));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, bounds: RangeInclusive<u64>) -> u64 {
        let expects = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number: u64 = self.get(name, &expects);
        if !bounds.contains(&number) && !self.has_failed(name) {
            self.fail(name, &format!("{number} is out of bounds"), &format!("give {expects}"));
        }
        number
    }

    /// A time in seconds, fractions allowed, within bounds.
    pub(super) fn seconds(&mut self, name: &str, bounds: RangeInclusive<f64>) -> Duration {
        let expects = format!("seconds from {} to {}", bounds.start(), bounds.end());
        let seconds: f64 = self.get(name, &expects);
        if !bounds.contains(&seconds) && !self.has_failed(name) {
            self.fail(name, &format!("{seconds} is out of bounds"), &format!("give {expects}"));
        }
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// A secret, given itself or as `<name>_file`. Of both, the later layer wins; in one layer both are an error.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let direct = self.value(name);
        let by_file = self.value(&format!("{name}_file"));
        let layer = |found: &Option<(String, Value)>| found.as_ref().map(|(_, value)| self.reader.merged.layer(value));
        let (direct_layer, file_layer) = (layer(&direct), layer(&by_file));
        if direct_layer.is_some() && direct_layer == file_layer {
            self.fail(name, &format!("is given twice, as {name} and as {name}_file"), "remove one of them");
            return None;
        }
        if direct_layer > file_layer {
            let (key, value) = direct?;
            self.remember(&key, "(set)".into(), &value);
            let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
                self.fail(name, "is empty or not text", &format!("give it in quotes, or as {name}_file"));
                return None;
            };
            return Some(SecretString::from(text));
        }
        let (key, value) = by_file?;
        let path = value.as_str().unwrap_or_default().to_owned();
        self.remember(&key, path.clone().into(), &value);
        let file = format!("{name}_file");
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Some(SecretString::from(text.trim_end_matches(['\n', '\r']))),
            Ok(_) => {
                self.fail(&file, &format!("{path} is empty"), "write the secret into it");
                None
            }
            Err(error) => {
                self.fail(&file, &format!("cannot read {path}: {error}"), "give the path of a readable file");
                None
            }
        }
    }

    /// The file of a secret, where it is the file that counts: for what is read again while the process runs.
    pub(super) fn secret_file(&mut self, name: &str) -> Option<PathBuf> {
        let (direct, by_file) = (self.value(name), self.value(&format!("{name}_file")));
        let layer = |found: &Option<(String, Value)>| found.as_ref().map(|(_, value)| self.reader.merged.layer(value));
        if layer(&direct) > layer(&by_file) {
            return None;
        }
        by_file.and_then(|(_, value)| value.as_str().map(PathBuf::from))
    }

    /// The names in this table; `_file` is stripped from those that name a secret's file.
    pub(super) fn names(&mut self) -> BTreeSet<String> {
        let Some(Value::Dict(_, dict)) = self.lookup(&self.path) else { return BTreeSet::new() };
        dict.keys().map(|name| name.strip_suffix("_file").unwrap_or(name).to_owned()).collect()
    }

    /// Whether anybody wrote this table, be it empty.
    pub(super) fn is_given(&self) -> bool {
        self.lookup(&self.path).is_some()
    }

    /// A table within this one.
    pub(super) fn table(&mut self, name: &str) -> Section<'_> {
        self.reader.section(&join(&self.path, name))
    }

    /// Whether the value of this setting was refused.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.reader.seen.failed(&join(&self.path, name))
    }

    /// Reports a setting.
    pub(super) fn fail(&mut self, name: &str, problem: &str, cure: &str) {
        let key = if name.is_empty() { self.path.clone() } else { join(&self.path, name) };
        let origin = match self.lookup(&key) {
            Some(value) => self.reader.merged.origin(&key, first_leaf(value)),
            None => "not set".to_owned(),
        };
        self.reader.seen.failed.insert(key.clone());
        self.reader.problems.push(Problem { key, origin, problem: problem.to_owned(), cure: cure.to_owned() });
    }

    fn value(&mut self, name: &str) -> Option<(String, Value)> {
        let key = join(&self.path, name);
        self.reader.known.insert(key.clone());
        self.lookup(&key).cloned().map(|value| (key, value))
    }

    fn lookup(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.reader.merged.values.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_dict()?.get(part))
    }

    fn remember(&mut self, key: &str, shown: serde_json::Value, value: &Value) {
        let origin = self.reader.merged.origin(key, value);
        self.reader.seen.settings.insert(key.to_owned(), (shown, origin));
    }
}

/// Text of the environment is tried as it stands, then as a number or list, then as a list without its brackets.
fn read<T: DeserializeOwned>(value: &Value, text: bool) -> Result<T, String> {
    let describe = |error: figment::Error| error.kind.to_string();
    let plain = T::deserialize(value);
    let (Err(_), true, Some(written)) = (&plain, text, value.as_str()) else { return plain.map_err(describe) };
    let parsed = written.parse::<Value>().unwrap_or_else(|error: std::convert::Infallible| match error {});
    T::deserialize(&parsed).or_else(|error| {
        let list =
            format!("[{written}]").parse::<Value>().unwrap_or_else(|error: std::convert::Infallible| match error {});
        T::deserialize(&list).map_err(|_| describe(error))
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn parent(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// figment tags a table by the first layer that has it; what a person wrote is in its leaves.
fn first_leaf(value: &Value) -> &Value {
    match value {
        Value::Dict(_, dict) => dict.values().next().map_or(value, first_leaf),
        _ => value,
    }
}

/// Levenshtein's distance, in bytes: enough for keys.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.bytes().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(x != y));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
