//! Damage to encrypted objects is found before a target is touched.

use support::{App, database, stack};

use super::{Key, directory, encrypting, noise, restores, target};
use crate::engine::{fails, one_attempt};

#[tokio::test]
async fn flipped_bits_cuts_swaps_and_splices_are_refused() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let key = Key::new(&app, "age.key");
    let source = noise().await;
    let _worker = app.worker_with(&encrypting("one", &["disk"], &[&key], Some(&key))).await;
    let target = target(&mut app, &source, &["disk"]).await;
    let (save, other) = (app.saved(&target).await, app.saved(&target).await);
    let path = directory(&app, &save).await.join("dump.0001");
    let whole = std::fs::read(&path).unwrap();
    let other = std::fs::read(directory(&app, &other).await.join("dump.0001")).unwrap();
    assert!(whole.len() > 3 << 20, "the save is too small to mean anything");

    let mut harmed: Vec<(String, Vec<u8>)> = Vec::new();
    // The header, the first chunk, one in the middle, the last byte.
    for at in [0, 60, 200, 70_000, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        harmed.push((format!("bit at {at}"), bytes));
    }
    for left in [0, 1, 150, 1 << 20, whole.len() - 65_552, whole.len() - 1] {
        harmed.push((format!("cut to {left}"), whole[..left].to_vec()));
    }
    // Whole chunks of age change places; chunks of another save; another save; what follows the end.
    let mut swapped = whole.clone();
    let (a, b) = swapped.split_at_mut(1 << 20);
    a[500..66_052].swap_with_slice(&mut b[500..66_052]);
    harmed.push(("chunks swapped".to_owned(), swapped));
    let mut spliced = whole.clone();
    spliced[1 << 20..2 << 20].copy_from_slice(&other[1 << 20..2 << 20]);
    harmed.push(("spliced".to_owned(), spliced));
    harmed.push(("another save".to_owned(), other.clone()));
    harmed.push(("two files".to_owned(), [&whole[..], &other[..]].concat()));

    for (what, bytes) in harmed {
        std::fs::write(&path, bytes).unwrap();
        let wanted = stack::fresh("new");
        let job = app.restore(&save, &wanted).await;
        let error = fails(&app, &job, "object_corrupt", false).await;
        assert!(!database::exists(&wanted).await, "{what}: a database came of it: {error:#}");
    }
    std::fs::write(&path, &whole).unwrap();
    restores(&app, &save).await;
    app.holds().await;
}
