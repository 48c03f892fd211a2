//! What is fetched is what lies in the store, whole or in part.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use support::{stack, until};

use super::{Kept, header, sha256};

#[tokio::test]
async fn every_object_of_every_store_comes_as_it_lies() {
    let kept = Kept::new().await;
    for store in &kept.stores {
        for (part, length, digest) in kept.objects(store).await {
            let query = format!("?store={store}&object={part}");
            let response = kept.ask(Method::GET, &query, &[]).await;
            assert_eq!(response.status(), 200, "{query}");
            assert_eq!(header(&response, "content-length"), Some(length.to_string().as_str()), "{query}");
            assert_eq!(header(&response, "etag"), Some(format!("\"{digest}\"").as_str()), "{query}");
            assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
            assert_eq!(header(&response, "x-save-store"), Some(*store));
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert!(header(&response, "repr-digest").unwrap().starts_with("sha-256=:"), "{response:?}");
            let name = header(&response, "content-disposition").unwrap().to_owned();
            assert!(
                name.starts_with("attachment; filename=\"items-t-") && name.ends_with(&format!("-v1-{part}\"")),
                "{name}"
            );
            let head = kept.ask(Method::HEAD, &query, &[]).await;
            for same in ["content-length", "etag", "content-type", "content-disposition", "repr-digest"] {
                assert_eq!(header(&head, same), header(&response, same), "{query} {same}");
            }
            assert_eq!(head.bytes().await.unwrap().len(), 0);
            let tag = format!("\"x\", \"{digest}\"");
            let known = kept.ask(Method::GET, &query, &[("if-none-match", &tag)]).await;
            assert_eq!((known.status().as_u16(), known.bytes().await.unwrap().len()), (304, 0));
            let bytes = response.bytes().await.unwrap();
            assert_eq!((bytes.len() as u64, sha256(&bytes)), (length, digest), "{query}");
        }
    }
    until("every transfer is over", || async { (kept.under_way().await == 0).then_some(()) }).await;
    let objects: Vec<_> = kept.objects("disk").await;
    let dump = objects.iter().find(|object| object.0 == "dump.0001").unwrap();
    let ended = until("the ends are audited", || async {
        let ended = kept.ended().await;
        (ended.len() == objects.len() * kept.stores.len()).then_some(ended)
    })
    .await;
    let first = ended.iter().find(|end| end["object"] == "dump.0001" && end["store"] == "disk").unwrap();
    assert_eq!(
        (&first["bytes"], &first["result"], &first["outcome"]),
        (&json!(dump.1), &json!("whole"), &json!("allowed"))
    );
    assert_eq!((&first["who"], &first["from"]), (&json!("root"), &json!("127.0.0.1")));
    let begun: i64 =
        kept.app.value("SELECT count(*) FROM audit WHERE action = 'save.download' AND outcome = 'allowed'").await;
    assert_eq!(begun, i64::try_from(3 * objects.len() * kept.stores.len()).unwrap(), "GET, HEAD and the known ones");
    let events: i64 = kept.app.value("SELECT count(*) FROM outbox WHERE type = 'save.downloaded'").await;
    assert_eq!(usize::try_from(events).unwrap(), ended.len());
    kept.app.holds().await;
}

#[tokio::test]
async fn one_range_is_answered_and_what_is_none_is_not() {
    let kept = Kept::new().await;
    for store in &kept.stores {
        for query in [format!("?store={store}&object=dump.0001"), format!("?store={store}")] {
            let whole = kept.bytes(&query).await;
            let (length, last) = (whole.len(), whole.len() - 1);
            let etag = kept.ask(Method::HEAD, &query, &[]).await;
            let etag = header(&etag, "etag").unwrap().to_owned();
            for (range, from, until) in [
                ("bytes=0-0".to_owned(), 0, 1),
                ("bytes=0-".to_owned(), 0, length),
                (format!("bytes={last}-"), last, length),
                (format!("bytes={last}-{}", length + 1000), last, length),
                ("bytes=-1".to_owned(), last, length),
                (format!("bytes=-{}", length + 5), 0, length),
                ("bytes=500-3000".to_owned(), 500, 3001),
                (format!("bytes=1-{}", last - 1), 1, last),
            ] {
                let part = kept.ask(Method::GET, &query, &[("range", &range), ("if-range", &etag)]).await;
                assert_eq!(part.status(), 206, "{query} {range}");
                let told = format!("bytes {from}-{}/{length}", until - 1);
                assert_eq!(header(&part, "content-range"), Some(told.as_str()), "{query}");
                assert_eq!(
                    header(&part, "content-length"),
                    Some((until - from).to_string().as_str()),
                    "{query} {range}"
                );
                assert_eq!(header(&part, "etag"), Some(etag.as_str()));
                assert!(part.bytes().await.unwrap() == whole[from..until], "{query} {range}");
            }
            for (range, if_range) in [
                ("bytes=5-2", &etag),
                ("bytes=0-1,3-4", &etag),
                ("lines=1-2", &etag),
                ("bytes=5-", &"\"another\"".to_owned()),
            ] {
                let all = kept.ask(Method::GET, &query, &[("range", range), ("if-range", if_range)]).await;
                assert_eq!(all.status(), 200, "{query} {range}");
                assert_eq!(all.bytes().await.unwrap().len(), length, "{query} {range}");
            }
            let beyond = format!("bytes={length}-");
            let beyond = kept.ask(Method::GET, &query, &[("range", &beyond)]).await;
            assert_eq!(beyond.status(), 416, "{query}");
            assert_eq!(header(&beyond, "content-range"), Some(format!("bytes */{length}").as_str()));
            let problem: serde_json::Value = beyond.json().await.unwrap();
            assert_eq!(problem["type"], "urn:holdfast:problem:range-not-satisfiable");
        }
    }
}

#[tokio::test]
async fn all_objects_come_as_a_tar_that_others_read() {
    let kept = Kept::new().await;
    let file = kept.app.dir.path().join("save.tar");
    let out = kept.app.dir.path().join("out");
    for store in &kept.stores {
        let query = format!("?store={store}");
        let bytes = kept.bytes(&query).await;
        assert!(bytes == kept.bytes(&query).await, "the same save gives the same bytes");
        std::fs::write(&file, &bytes).unwrap();
        std::fs::create_dir_all(&out).unwrap();
        let archive = file.to_str().unwrap();
        let listed = stack::run(Path::new("/usr/bin/tar"), &["-tf", archive], &[]);
        assert!(listed.lines().next().unwrap().ends_with("/manifest.json"), "{listed}");
        stack::run(
            Path::new("/usr/bin/tar"),
            &["-xf", archive, "-C", out.to_str().unwrap(), "--strip-components=1"],
            &[],
        );
        let objects = kept.objects(store).await;
        assert_eq!(listed.lines().count(), objects.len());
        for (part, length, digest) in objects {
            let bytes = std::fs::read(out.join(&part)).unwrap();
            assert_eq!((bytes.len() as u64, sha256(&bytes)), (length, digest), "{store} {part}");
        }
        let script = "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, m.size, m.mode, m.mtime)";
        let python = stack::run(
            Path::new("/usr/bin/env"),
            &["python3", "-c", script, archive],
            &[("PATH", "/usr/local/bin:/usr/bin:/bin")],
        );
        let names = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&python), names(&listed));
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_is_said() {
    let mut kept = Kept::new().await;
    let client = kept.app.client.clone();
    client.get(&kept.path("?object=dump.0009")).await.expect(404);
    client.get(&kept.path("?object=../marker")).await.expect(404);
    let unknown = client.get(&kept.path("?store=nowhere")).await.expect(422);
    assert_eq!(unknown["errors"][0]["pointer"], "?store");
    client.get(&kept.path("?part=dump.0001")).await.expect(422);
    client.get("/v1/saves/00000000-0000-7000-8000-000000000000/content").await.expect(404);

    kept.app.execute("UPDATE save_copies SET state = 'corrupt' WHERE store = 'disk'").await;
    let refused = client.get(&kept.path("?store=disk")).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("corrupt"), "{refused}");
    let other = kept.ask(Method::GET, "?object=dump.0001", &[]).await;
    assert_ne!(header(&other, "x-save-store"), Some("disk"), "another copy is good");
    drop(other);
    kept.app.execute("UPDATE save_copies SET state = 'corrupt'").await;
    let refused = client.get(&kept.path("")).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("no good copy"), "{refused}");
    kept.app.execute("UPDATE save_copies SET state = 'good'").await;
    for state in ["pending", "failed", "deleting", "deleted"] {
        kept.app.execute(&format!("UPDATE saves SET state = '{state}'")).await;
        let refused = client.get(&kept.path("")).await.expect(409);
        assert!(refused["detail"].as_str().unwrap().contains(state), "{refused}");
    }
    kept.app.execute("UPDATE saves SET state = 'available'").await;

    assert!(kept.worker.stop().await.success());
    let nobody = client.get(&kept.path("?store=disk")).await.expect(503);
    assert!(nobody["detail"].as_str().unwrap().contains("no worker that lives has the store (disk)"), "{nobody}");
    // One that died without a word.
    kept.app
        .execute(
            "INSERT INTO workers (id, name, groups, slots, version, stores, key_ids, transfer_url)
             VALUES (gen_random_uuid(), 'dead', '{default}', 1, '0', '{disk}', '{}', 'http://127.0.0.1:9')",
        )
        .await;
    let dead = client.get(&kept.path("?store=disk")).await.expect(503);
    assert!(dead["detail"].as_str().unwrap().contains("can be reached"), "{dead}");
}
