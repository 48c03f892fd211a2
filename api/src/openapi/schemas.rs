//! What is said of types, put right where the annotations cannot say it.

use serde_json::{Map, Value};

/// Types of answers that leave members out: an absent one says that there is none.
const WITH_GAPS: [&str; 13] = [
    "Dependencies",
    "Drift",
    "InventoryEntry",
    "InventoryRest",
    "Inventory",
    "JobProblem",
    "Manifest",
    "ManifestObject",
    "MongoAddress",
    "Problem",
    "ReportLine",
    "ServerAddress",
    "Suspicion",
];

/// Puts the schemas of a document right.
pub(super) fn tidy(document: &mut Value) {
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        let merged: Map<String, Value> = schemas
            .iter()
            .filter(|(name, _)| name.starts_with("Merge_"))
            .map(|(name, schema)| (name.clone(), schema.clone()))
            .collect();
        schemas.retain(|name, _| !name.starts_with("Merge_"));
        for (name, schema) in schemas.iter_mut() {
            put(schema, &merged);
            if !WITH_GAPS.contains(&name.as_str()) {
                complete(schema);
            }
        }
    }
}

/// A member of a merge patch is described as its value is, in its place.
fn put(schema: &mut Value, merged: &Map<String, Value>) {
    if let Some(found) = super::rules::referred(schema).and_then(|name| merged.get(name)) {
        *schema = described(found.clone(), schema);
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.as_object_mut().and_then(|members| members.remove("default"));
    }
    // What was chosen of because it had a default is there alone.
    if let Some([only]) = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) {
        *schema = described(only.clone(), schema);
        return put(schema, merged);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(|member| put(member, merged)),
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, merged)),
        _ => {}
    }
}

/// The schema with the description of the one that it takes the place of.
fn described(mut schema: Value, old: &Value) -> Value {
    if let Some(description) = old.get("description") {
        schema["description"] = description.clone();
    }
    schema
}

/// Answers have all of their members, null or not. What callers send refuses unknown members, and says itself which it needs.
fn complete(schema: &mut Value) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        complete(part);
    }
    if schema.get("additionalProperties").is_some() {
        return;
    }
    if let Some(members) = schema.get("properties").and_then(Value::as_object) {
        schema["required"] = members.keys().cloned().collect::<Vec<_>>().into();
    }
}
