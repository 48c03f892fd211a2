//! A save of `MongoDB` that is out of line with those before it.

use mongodb::bson::doc;
use support::App;

use super::{Source, source::raw, spec};
use crate::drift::suspected;

#[tokio::test]
async fn a_lost_collection_lost_documents_and_an_empty_collection_are_suspicious() {
    let mut app = App::spawn().await;
    let source = Source::empty().await;
    for (name, count) in [("items", 1000), ("orders", 200), ("carts", 20), ("gone", 3)] {
        let documents: Vec<_> = (0..count).map(|n| doc! { "_id": n, "text": "some text" }).collect();
        source.collection(name).insert_many(raw(&documents)).await.unwrap();
    }
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let first = app.saved(&target).await;
    assert_eq!(suspected(&app, &first).await, (false, vec![]));

    source.collection("gone").drop().await.unwrap();
    source.collection("carts").delete_many(doc! {}).await.unwrap();
    source.collection("orders").delete_many(doc! { "_id": { "$gte": 60 } }).await.unwrap();
    let second = app.saved(&target).await;
    let expected = vec!["vanished gone".to_owned(), "empty carts".to_owned(), "fewer_rows orders".to_owned()];
    assert_eq!(suspected(&app, &second).await, (true, expected));

    source.collection("items").delete_many(doc! { "_id": { "$gte": 50 } }).await.unwrap();
    let third = app.saved(&target).await;
    let (is, why) = suspected(&app, &third).await;
    assert!(is && why.contains(&"smaller -".to_owned()) && why.contains(&"fewer_rows items".to_owned()), "{why:?}");
    app.holds().await;
    source.drop().await;
}
