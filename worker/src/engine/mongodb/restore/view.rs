//! Views: definitions without documents. They are dropped and made again.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};
use shared::job::View;

use super::{
    fault::{failed, internal},
    survey::{Survey, drop_collection},
};
use crate::engine::{EngineError, ErrorCode};

/// A definition, to be kept.
pub(super) fn packed(name: &str, options: &Document) -> Result<View, EngineError> {
    let bytes = options.to_vec().map_err(|error| internal("the definition of a view", error))?;
    Ok(View { name: name.to_owned(), options: STANDARD.encode(bytes) })
}

fn unpacked(view: &View) -> Result<Document, EngineError> {
    let bytes = STANDARD.decode(&view.options).map_err(|error| internal("the definition of a view", error))?;
    Document::from_reader(bytes.as_slice()).map_err(|error| internal("the definition of a view", error))
}

/// Makes the views of `wanted` what they are to be, and drops those of `unwanted` that are not among them. It may be begun
/// again anywhere.
pub(super) async fn settle(database: &Database, unwanted: &[View], wanted: &[View]) -> Result<(), EngineError> {
    let survey = Survey::of(database).await?;
    let mut missing = Vec::new();
    for view in wanted {
        let options = unpacked(view)?;
        match survey.get(&view.name) {
            Some(found) if found.kind == "view" && found.options == options => {}
            Some(found) if found.kind == "view" => {
                drop_collection(database, &view.name).await?;
                missing.push((view, options));
            }
            Some(_) => {
                let why = format!("somebody has made a collection {:?} meanwhile, where a view is to be", view.name);
                return Err(EngineError::new(ErrorCode::TargetChanged, why));
            }
            None => missing.push((view, options)),
        }
    }
    for view in unwanted {
        let is_view = survey.get(&view.name).is_some_and(|found| found.kind == "view");
        if is_view && !wanted.iter().any(|one| one.name == view.name) {
            drop_collection(database, &view.name).await?;
        }
    }
    for (view, options) in missing {
        let mut create = doc! { "create": view.name.as_str() };
        for key in ["viewOn", "pipeline", "collation"] {
            if let Some(value) = options.get(key).filter(|value| **value != Bson::Null) {
                create.insert(key, value.clone());
            }
        }
        create.insert("writeConcern", doc! { "w": "majority" });
        database.run_command(create).await.map_err(failed(format!("creating view {:?}", view.name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_kept_to_the_order_of_its_keys() {
        let options = doc! { "viewOn": "lots", "pipeline": [{ "$sort": { "z": 1, "a": -1 } }, { "$limit": 5_i64 }] };
        let view = packed("open", &options).unwrap();
        assert_eq!(unpacked(&view).unwrap().to_vec().unwrap(), options.to_vec().unwrap());
    }
}
