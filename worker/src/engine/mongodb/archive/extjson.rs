//! Canonical extended JSON (version 2), both ways and with the order of keys: in archives it carries indexes and options.
//! The legacy and relaxed forms that older tools wrote are read too.

mod read;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mongodb::bson::{Binary, Bson, Document};

pub(super) use self::read::parse;

/// Why metadata cannot be written or read as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("the metadata is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("the metadata is not what mongodump writes: {0}")]
    Shape(&'static str),
    #[error("{key} is no value of extended JSON")]
    Value { key: String },
    #[error("a value of type {0} has no place in metadata")]
    Type(&'static str),
}

/// One line, as mongodump writes it.
pub(super) fn write(document: &Document) -> Result<String, JsonError> {
    let mut out = String::new();
    object(document, &mut out)?;
    Ok(out)
}

fn object(document: &Document, out: &mut String) -> Result<(), JsonError> {
    out.push('{');
    for (at, (key, value)) in document.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        string(key, out);
        out.push(':');
        self::value(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // U+2028 and U+2029 are line ends to some readers.
            '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                write_into(out, format_args!("\\u{:04x}", character as u32));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn write_into(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.push_str(&std::fmt::format(arguments));
}

/// `{"$type":"text"}`
fn wrapped(name: &str, text: &str, out: &mut String) {
    write_into(out, format_args!("{{\"{name}\":"));
    string(text, out);
    out.push('}');
}

fn value(value: &Bson, out: &mut String) -> Result<(), JsonError> {
    match value {
        Bson::Double(number) => wrapped("$numberDouble", &double(*number), out),
        Bson::String(text) => string(text, out),
        Bson::Document(document) => object(document, out)?,
        Bson::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                self::value(value, out)?;
            }
            out.push(']');
        }
        Bson::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Bson::Null => out.push_str("null"),
        Bson::Int32(number) => wrapped("$numberInt", &number.to_string(), out),
        Bson::Int64(number) => wrapped("$numberLong", &number.to_string(), out),
        Bson::Decimal128(number) => wrapped("$numberDecimal", &number.to_string(), out),
        Bson::ObjectId(id) => wrapped("$oid", &id.to_hex(), out),
        Bson::DateTime(time) => {
            out.push_str("{\"$date\":");
            wrapped("$numberLong", &time.timestamp_millis().to_string(), out);
            out.push('}');
        }
        Bson::Binary(Binary { subtype, bytes }) => {
            let (text, subtype) = (STANDARD.encode(bytes), u8::from(*subtype));
            write_into(out, format_args!("{{\"$binary\":{{\"base64\":\"{text}\",\"subType\":\"{subtype:02x}\"}}}}"));
        }
        Bson::Timestamp(stamp) => {
            write_into(out, format_args!("{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", stamp.time, stamp.increment));
        }
        Bson::RegularExpression(regex) => {
            out.push_str("{\"$regularExpression\":{\"pattern\":");
            string(regex.pattern.as_str(), out);
            out.push_str(",\"options\":");
            string(regex.options.as_str(), out);
            out.push_str("}}");
        }
        Bson::JavaScriptCode(code) => wrapped("$code", code, out),
        Bson::JavaScriptCodeWithScope(code) => {
            out.push_str("{\"$code\":");
            string(&code.code, out);
            out.push_str(",\"$scope\":");
            object(&code.scope, out)?;
            out.push('}');
        }
        Bson::Symbol(text) => wrapped("$symbol", text, out),
        Bson::Undefined => out.push_str("{\"$undefined\":true}"),
        Bson::MaxKey => out.push_str("{\"$maxKey\":1}"),
        Bson::MinKey => out.push_str("{\"$minKey\":1}"),
        Bson::DbPointer(_) => return Err(JsonError::Type("DBPointer")),
    }
    Ok(())
}

fn double(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        // `1.0`, `1e21`: the shortest that reads back as the same.
        _ => format!("{number:?}"),
    }
}
