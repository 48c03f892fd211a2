//! Extended JSON to BSON. serde's maps would sort the keys, so that objects are read entry by entry.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mongodb::bson::{
    Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Regex, Timestamp, oid::ObjectId, raw::CString,
    spec::BinarySubtype,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use super::JsonError;

pub(in super::super) fn parse(json: &str) -> Result<Document, JsonError> {
    match serde_json::from_str::<Parsed>(json).map_err(JsonError::Json)?.0 {
        Bson::Document(document) => Ok(document),
        _ => Err(JsonError::Shape("it is no object")),
    }
}

struct Parsed(Bson);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("extended JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Bson, E> {
        #[expect(clippy::cast_precision_loss, reason = "as other readers take a number that no integer holds")]
        Ok(i64::try_from(value).map_or(Bson::Double(value as f64), integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bson, A::Error> {
        let mut values = Vec::new();
        while let Some(Parsed(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Bson::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        while let Some((key, Parsed(value))) = map.next_entry::<String, Parsed>()? {
            document.insert(key, value);
        }
        let first = document.keys().next().filter(|key| key.starts_with('$')).cloned();
        let Some(first) = first else { return Ok(Bson::Document(document)) };
        match special(&first, &document) {
            Special::Is(value) => Ok(value),
            // `$eq`, `$exists` and the like: an ordinary document, of a filter say.
            Special::Ordinary => Ok(Bson::Document(document)),
            Special::Broken => Err(A::Error::custom(format!("{first} does not hold what it must"))),
        }
    }
}

fn integer(value: i64) -> Bson {
    i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32)
}

enum Special {
    Is(Bson),
    Ordinary,
    Broken,
}

/// A document whose first key begins with a dollar sign.
fn special(key: &str, document: &Document) -> Special {
    let known = match (key, document.len()) {
        ("$numberInt", 1) => text(document, key).and_then(|text| text.parse().ok()).map(Bson::Int32),
        ("$numberLong", 1) => long(document.get(key)).map(Bson::Int64),
        ("$numberDouble", 1) => text(document, key).and_then(|text| text.parse().ok()).map(Bson::Double),
        ("$numberDecimal", 1) => text(document, key).and_then(|text| text.parse().ok()).map(Bson::Decimal128),
        ("$oid", 1) => text(document, key).and_then(|text| ObjectId::parse_str(text).ok()).map(Bson::ObjectId),
        ("$date", 1) => date(document.get(key)).map(Bson::DateTime),
        ("$binary", 1) => document.get_document(key).ok().and_then(|inner| binary(inner, "base64", "subType")),
        ("$binary", 2) => binary(document, "$binary", "$type"),
        ("$timestamp", 1) => document.get_document(key).ok().and_then(timestamp),
        ("$regularExpression", 1) => {
            document.get_document(key).ok().and_then(|inner| regex(inner, "pattern", "options"))
        }
        ("$code", 1) => text(document, key).map(|code| Bson::JavaScriptCode(code.to_owned())),
        ("$code", 2) => text(document, key).zip(document.get_document("$scope").ok()).map(|(code, scope)| {
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: code.to_owned(), scope: scope.clone() })
        }),
        ("$symbol", 1) => text(document, key).map(|text| Bson::Symbol(text.to_owned())),
        ("$undefined", 1) => Some(Bson::Undefined),
        ("$maxKey", 1) => Some(Bson::MaxKey),
        ("$minKey", 1) => Some(Bson::MinKey),
        _ => return Special::Ordinary,
    };
    known.map_or(Special::Broken, Special::Is)
}

fn text<'a>(document: &'a Document, key: &str) -> Option<&'a str> {
    document.get_str(key).ok()
}

fn long(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::String(text) => text.parse().ok(),
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        _ => None,
    }
}

fn date(value: Option<&Bson>) -> Option<DateTime> {
    match value? {
        Bson::String(text) => DateTime::parse_rfc3339_str(text).ok(),
        other => long(Some(other)).map(DateTime::from_millis),
    }
}

fn binary(document: &Document, bytes: &str, subtype: &str) -> Option<Bson> {
    let bytes = STANDARD.decode(text(document, bytes)?).ok()?;
    let subtype = BinarySubtype::from(u8::from_str_radix(text(document, subtype)?, 16).ok()?);
    Some(Bson::Binary(Binary { subtype, bytes }))
}

fn timestamp(document: &Document) -> Option<Bson> {
    let part = |key| long(document.get(key)).and_then(|number| u32::try_from(number).ok());
    Some(Bson::Timestamp(Timestamp { time: part("t")?, increment: part("i")? }))
}

fn regex(document: &Document, pattern: &str, options: &str) -> Option<Bson> {
    let part = |key| text(document, key).and_then(|text| CString::try_from(text.to_owned()).ok());
    Some(Bson::RegularExpression(Regex { pattern: part(pattern)?, options: part(options)? }))
}
