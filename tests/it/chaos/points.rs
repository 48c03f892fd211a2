//! The list of failpoints and the sources say the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use shared::failpoint::NAMES;
use support::stack;

#[test]
fn every_failpoint_is_listed_and_every_listed_one_is_in_the_code() {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for part in ["shared/src", "worker/src", "api/src"] {
        walk(&stack::root().join(part), &mut |path, text| {
            for rest in text.split("failpoint!(\"").skip(1) {
                let name = rest.split('"').next().unwrap().to_owned();
                // A name stands for one place, or a test that kills "there" would not know where.
                if let Some(other) = found.insert(name.clone(), path.to_owned()) {
                    panic!("{name} stands in {} and in {}", other.display(), path.display());
                }
            }
        });
    }
    let listed: Vec<&str> = NAMES.to_vec();
    for name in found.keys() {
        assert!(listed.contains(&name.as_str()), "{name} of {} is not in failpoint::NAMES", found[name].display());
    }
    for name in &listed {
        assert!(found.contains_key(*name), "{name} is in failpoint::NAMES and nowhere in the code");
    }
    assert_eq!(found.len(), listed.len(), "a name is listed twice");
}

fn walk(dir: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, look);
        } else if path.extension().is_some_and(|e| e == "rs") {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
