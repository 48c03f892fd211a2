//! Who the server must prove to be before it gets a password.

use std::sync::{Arc, Mutex};

use serde_json::json;
use support::{App, Database, Major, TargetSpec, stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{fails, no_save, nowhere};

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    for mode in ["verify_ca", "verify_full"] {
        let spec = TargetSpec {
            tls_mode: mode.to_owned(),
            tls_ca: Some(stack::setting("TARGET_WRONG_CA")),
            ..TargetSpec::of(&source.name)
        };
        let target = app.target_with(&spec).await;
        let job = app.backup(&target).await;
        fails(&app, &job, "tls_failed", false).await;
        no_save(&app, &job).await;
    }
    // Of no CA of its own, the system's are asked: they do not know the stack's.
    let spec = TargetSpec { tls_ca: None, ..TargetSpec::of(&source.name) };
    let target = app.target_with(&spec).await;
    let job = app.backup(&target).await;
    fails(&app, &job, "tls_failed", false).await;
    no_save(&app, &job).await;
}

/// Carries bytes from 127.0.0.2, to which the stack's certificate is not made out.
async fn other_name() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target: u16 = stack::setting("TARGET_PORT").parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused_where_the_name_counts() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    let at = |mode: &str, port| TargetSpec {
        tls_mode: mode.to_owned(),
        host: "127.0.0.2".to_owned(),
        port,
        ..TargetSpec::of(&source.name)
    };
    let port = other_name().await;
    let target = app.target_with(&at("verify_full", port)).await;
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "tls_failed", false).await;
    assert!(error["message"].as_str().unwrap().contains("127.0.0.2"), "{error:#}");
    no_save(&app, &job).await;
    for mode in ["verify_ca", "require"] {
        let target = app.target_with(&at(mode, port)).await;
        app.saved(&target).await;
    }
    app.holds().await;
}

#[tokio::test]
async fn every_mode_that_fits_gives_a_save_and_says_whether_it_was_protected() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    for (mode, protected) in
        [("disable", false), ("prefer", true), ("require", true), ("verify_ca", true), ("verify_full", true)]
    {
        let spec = TargetSpec { tls_mode: mode.to_owned(), ..TargetSpec::of(&source.name) };
        let target = app.target_with(&spec).await;
        let probe = app.client.post(&format!("/v1/targets/{target}/probe"), json!({})).await.id();
        let probe = app.client.job_is(&probe, "succeeded").await;
        assert_eq!(probe["result"]["probe"]["tls_in_use"], protected, "{mode}: {probe:#}");
        app.saved(&target).await;
    }
    app.holds().await;
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_where_tls_is_asked_for() {
    let eighteen = Major::start("pg18").await;
    let mut app = App::spawn().await;
    let _worker = app.worker("one").await;
    for mode in ["require", "verify_ca", "verify_full"] {
        let ca = Some(stack::setting("TARGET_CA"));
        let spec = TargetSpec { tls_mode: mode.to_owned(), tls_ca: ca, ..eighteen.target("postgres") };
        let target = app.target_with(&spec).await;
        let job = app.backup(&target).await;
        let error = fails(&app, &job, "tls_failed", false).await;
        assert!(error["message"].as_str().unwrap().contains("does not offer TLS"), "{error:#}");
        no_save(&app, &job).await;
    }
}

/// Speaks PostgreSQL's protocol up to the question for the password, and remembers what it was told.
async fn greedy_server(question: [u8; 4], more: &'static [u8]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = Arc::<Mutex<Vec<u8>>>::default();
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut block = [0; 4096];
                let n = client.read(&mut block).await?;
                // The request for TLS: there is none.
                if n == 8 {
                    client.write_all(b"N").await?;
                    // Its start message, which says nothing secret.
                    let _n = client.read(&mut block).await?;
                }
                let length = u32::try_from(8 + more.len()).unwrap().to_be_bytes();
                client.write_all(&[b"R", &length[..], &question, more].concat()).await?;
                while let n @ 1.. = client.read(&mut block).await? {
                    heard.lock().unwrap().extend_from_slice(&block[..n]);
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn a_server_that_asks_for_the_password_itself_does_not_get_it() {
    let mut app = App::spawn().await;
    let _worker = app.worker("one").await;
    let password = "not-for-you-91";
    for (question, more) in [([0, 0, 0, 3], &b""[..]), ([0, 0, 0, 5], b"salt")] {
        let (port, told) = greedy_server(question, more).await;
        let spec = TargetSpec {
            host: "127.0.0.1".to_owned(),
            port,
            tls_mode: "prefer".to_owned(),
            tls_ca: None,
            backup: ("somebody".to_owned(), password.to_owned()),
            ..TargetSpec::of("x")
        };
        let target = app.target_with(&spec).await;
        let job = app.backup(&target).await;
        let error = fails(&app, &job, "authentication_failed", false).await;
        assert!(error["message"].as_str().unwrap().contains("not proven"), "{error:#}");
        assert_eq!(*told.lock().unwrap(), b"", "the server was told something");
        nowhere(&app, &app.client, &job, password).await;
        no_save(&app, &job).await;
    }
}
