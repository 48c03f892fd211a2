//! Examples of what has none of its own, made from its schema: so that every operation shows one.

use serde_json::{Map, Value, json};

/// Deeper than any of ours: against types that hold themselves.
const MAX_DEPTH: usize = 24;

/// A value that fits the schema. One that stands with it, or with what it refers to, is taken first.
pub(super) fn of(schema: &Value, schemas: &Value) -> Value {
    at(schema, schemas, 0)
}

fn at(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let next = |schema: &Value| at(schema, schemas, depth + 1);
    for member in ["example", "const", "default"] {
        if let Some(value) = schema.get(member) {
            return value.clone();
        }
    }
    if let Some(value) = schema.pointer("/examples/0").or_else(|| schema.pointer("/enum/0")) {
        return value.clone();
    }
    if let Some(name) = super::rules::referred(schema) {
        return next(&schemas[name]);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(schema) = schema[choice].as_array().into_iter().flatten().find(|schema| schema["type"] != "null") {
            return next(schema);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let objects = parts.iter().filter_map(|part| next(part).as_object().cloned());
        return objects
            .fold(Map::new(), |mut all, part| {
                all.extend(part);
                all
            })
            .into();
    }
    match kind(schema) {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            members.map(|(name, schema)| (name.clone(), next(schema))).collect::<Map<_, _>>().into()
        }
        "array" => match schema.get("items") {
            Some(items) => json!([next(items)]),
            None => json!([]),
        },
        "integer" | "number" => schema.get("minimum").filter(|least| **least != 0).cloned().unwrap_or(json!(1)),
        "boolean" => json!(false),
        "string" => match schema["format"].as_str() {
            Some("date-time") => json!("2026-11-22T05:00:00Z"),
            Some("uuid") => json!("019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50"),
            _ => json!("text"),
        },
        _ => Value::Null,
    }
}

/// The type, or the first one that is not null.
fn kind(schema: &Value) -> &str {
    let one = schema["type"].as_str();
    one.or_else(|| schema["type"].as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null"))
        .unwrap_or_default()
}
