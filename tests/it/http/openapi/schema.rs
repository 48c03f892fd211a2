//! Whether a value is as a schema says: the part of JSON Schema that the description uses. Objects with named members have
//! no others.

use serde_json::{Map, Value};

/// What a reference refers to; what is none stays itself.
pub(super) fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let mut value = value;
    while let Some(reference) = value.get("$ref") {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        value = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"));
    }
    value
}

/// Adds what is wrong with a value, and where.
pub(super) fn check(document: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    let schema = resolved(document, schema);
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let complaints = choices.iter().map(|one| {
                let mut wrong = Vec::new();
                check(document, one, value, place, &mut wrong);
                wrong
            });
            let complaints: Vec<Vec<String>> = complaints.collect();
            if complaints.iter().all(|wrong| !wrong.is_empty()) {
                // That of the last choice, which is not null.
                wrong.extend(complaints.into_iter().next_back().into_iter().flatten());
            }
            return;
        }
    }
    let (mut members, mut required) = (Map::new(), Vec::new());
    gather(document, schema, &mut members, &mut required);
    let is_object = !members.is_empty();
    if let Some(complaint) = kind(schema, value, is_object) {
        wrong.push(format!("{place}: {complaint}: {value}"));
        return;
    }
    if let Some(object) = value.as_object()
        && is_object
    {
        for name in required.iter().filter(|name| !object.contains_key(**name)) {
            wrong.push(format!("{place}: {name} is missing"));
        }
        for (name, member) in object {
            match members.get(name) {
                Some(schema) => check(document, schema, member, &format!("{place}/{name}"), wrong),
                None => wrong.push(format!("{place}: {name} is not described")),
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            check(document, schema, item, &format!("{place}/{index}"), wrong);
        }
    }
}

/// The named members of an object, of all its parts.
fn gather<'d>(document: &'d Value, schema: &'d Value, members: &mut Map<String, Value>, required: &mut Vec<&'d str>) {
    let schema = resolved(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(document, part, members, required);
    }
    members.extend(schema["properties"].as_object().into_iter().flatten().map(|(n, s)| (n.clone(), s.clone())));
    required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
}

/// What is wrong with the value itself.
fn kind(schema: &Value, value: &Value, is_object: bool) -> Option<String> {
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if is_object => vec!["object"],
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("is not {kinds:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("is none of {words:?}"));
    }
    let number = value.as_f64();
    let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| {
        number.zip(schema[bound].as_f64()).is_some_and(|(number, bound)| is_beyond(number, bound))
    };
    if beyond("minimum", |number, least| number < least) || beyond("maximum", |number, most| number > most) {
        return Some("is out of bounds".to_owned());
    }
    let text = value.as_str()?;
    let fits = match schema["format"].as_str() {
        Some("uuid") => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        Some("date-time") => text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'),
        _ => true,
    };
    (!fits).then(|| format!("is no {}", schema["format"]))
}
