//! Where values come from: four layers, merged by figment, each value remembering its layer.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::Problem;

/// The documented defaults, as built in.
pub const DEFAULTS: &str = include_str!("defaults.toml");

const PREFIX: &str = "HOLDFAST__";

/// What a configuration is read from. Nothing here changes the process's environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file; without it `HOLDFAST_CONFIG` of `.env` or the environment names one.
    pub file: Option<PathBuf>,
    /// The `.env` file; it need not exist.
    pub dotenv: Option<PathBuf>,
    /// The environment: only `HOLDFAST_CONFIG` and `HOLDFAST__…` are looked at.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The sources of this process: `--config`, `.env` in the working directory, the environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self { file, dotenv: Some(PathBuf::from(".env")), env }
    }
}

/// One layer; figment tags each of its values with `label`.
struct Layer {
    label: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.label.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Where the values of a layer stand in it.
enum Place {
    Defaults,
    File { name: String, text: String },
    Dotenv { name: String, text: String },
    Environment,
}

/// The merged values, and what is needed to say where each came from.
pub(super) struct Merged {
    figment: Figment,
    places: Vec<Place>,
    pub(super) values: Dict,
    pub(super) defaults: Dict,
}

impl Merged {
    /// The number of the layer a value came from; the later wins over the earlier.
    pub(super) fn layer(&self, value: &Value) -> usize {
        let label = self.figment.get_metadata(value.tag()).map(|meta| meta.name.to_string());
        label.and_then(|label| label.parse().ok()).unwrap_or(0)
    }

    /// Whether the value is text that is still to be read as a number, list or word.
    pub(super) fn is_text(&self, value: &Value) -> bool {
        matches!(self.places.get(self.layer(value)), Some(Place::Dotenv { .. } | Place::Environment))
    }

    /// Where the value of this key was written, for a person.
    pub(super) fn origin(&self, key: &str, value: &Value) -> String {
        let variable = format!("{PREFIX}{}", key.replace('.', "__").to_uppercase());
        match self.places.get(self.layer(value)) {
            None | Some(Place::Defaults) => "default".to_owned(),
            Some(Place::Environment) => format!("environment variable {variable}"),
            Some(Place::Dotenv { name, text }) => {
                let line = text.lines().position(|line| {
                    let line = line.trim_start();
                    let line = line.strip_prefix("export ").unwrap_or(line);
                    line.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(&variable))
                });
                at(name, line) + " " + &variable
            }
            Some(Place::File { name, text }) => at(name, line_of(text, key)),
        }
    }
}

fn at(name: &str, line: Option<usize>) -> String {
    line.map_or_else(|| name.to_owned(), |line| format!("{name}:{}", line + 1))
}

/// The line (from 0) on which a TOML file sets a key; none where it is written in a way this does not follow.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut table = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default();
            table = name.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".");
            if table == key {
                return Some(number);
            }
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".");
            let full = if table.is_empty() { name } else { format!("{table}.{name}") };
            let inside = key.strip_prefix(full.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if inside {
                return Some(number);
            }
        }
    }
    None
}

/// Reads and merges the layers. A layer that cannot be read at all is a problem, and left out.
pub(super) fn merge(sources: &Sources) -> (Merged, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut layers = vec![(Place::Defaults, Toml::from_str::<Dict>(DEFAULTS).unwrap_or_default())];
    let (dotenv, dotenv_text) = read_dotenv(sources.dotenv.as_deref(), &mut problems);

    let named = |pairs: &[(String, String)]| pairs.iter().find(|(k, _)| k == "HOLDFAST_CONFIG").map(|(_, v)| v.into());
    if let Some(path) = sources.file.clone().or_else(|| named(&sources.env)).or_else(|| named(&dotenv)) {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Err(error) => {
                problems.push(whole_file(&name, &error.to_string(), "create it, or name another by --config"));
            }
            Ok(text) => match Toml::from_str::<Dict>(&text) {
                // Not the parser's rendering: it quotes the line, and the line may hold a secret.
                Err(error) => {
                    let line = error.span().map(|span| text.bytes().take(span.start).filter(|b| *b == b'\n').count());
                    problems.push(whole_file(&at(&name, line), error.message(), "write it as TOML"));
                }
                Ok(values) => layers.push((Place::File { name, text }, values)),
            },
        }
    }
    let name = sources.dotenv.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    layers.push((Place::Dotenv { name, text: dotenv_text }, nested(&dotenv)));
    layers.push((Place::Environment, nested(&sources.env)));

    let defaults = layers.first().map(|(_, values)| values.clone()).unwrap_or_default();
    let mut figment = Figment::new();
    let mut places = Vec::new();
    for (place, values) in layers {
        figment = figment.merge(Layer { label: places.len().to_string(), values });
        places.push(place);
    }
    let values = figment.data().ok().and_then(|mut data| data.remove(&Profile::Default)).unwrap_or_default();
    (Merged { figment, places, values, defaults }, problems)
}

fn whole_file(name: &str, problem: &str, cure: &str) -> Problem {
    Problem {
        key: "configuration file".into(),
        origin: name.to_owned(),
        problem: problem.to_owned(),
        cure: cure.to_owned(),
    }
}

fn read_dotenv(path: Option<&Path>, problems: &mut Vec<Problem>) -> (Vec<(String, String)>, String) {
    let Some(path) = path else { return Default::default() };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Default::default(),
        Err(error) => {
            problems.push(whole_file(
                &path.display().to_string(),
                &error.to_string(),
                "make it readable, or remove it",
            ));
            return Default::default();
        }
    };
    let mut pairs = Vec::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        // dotenvy's own text quotes the line, which may hold a secret.
        let Ok(pair) = item else {
            let cure = "quote values with spaces, '#' or '$' in single quotes";
            problems.push(whole_file(&path.display().to_string(), "a line is not KEY=value", cure));
            break;
        };
        pairs.push(pair);
    }
    (pairs, text)
}

/// `HOLDFAST__A__B=c` as a table `a` with the key `b`. All values stay text: what they mean depends on the key.
fn nested(pairs: &[(String, String)]) -> Dict {
    let mut root = Dict::new();
    for (name, value) in pairs {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let path = path.to_lowercase();
        let mut parts: Vec<&str> = path.split("__").collect();
        let Some(last) = parts.pop() else { continue };
        insert(&mut root, &parts, last, value);
    }
    root
}

fn insert(dict: &mut Dict, path: &[&str], key: &str, text: &str) {
    match path {
        [] => {
            dict.insert(key.to_owned(), Value::from(text));
        }
        [first, rest @ ..] => {
            let inner = dict.entry((*first).to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, key, text);
            }
        }
    }
}
