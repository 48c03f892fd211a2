//! What `make demo` shows must hold: backup to two stores, restore into a new database, equal rows and schemas; damage,
//! restore in place, undo.

use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test starts the demo as a person would")]
fn a_backed_up_database_is_restored_with_the_same_rows() {
    // Asked at run time: a target directory may be shared by several clones. `make test` builds the programs first.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for its tests");
    let root = Path::new(&package).parent().unwrap();
    assert!(std::env::var_os("HOLDFAST_DEV_META_APP_URL").is_some(), "no stack: run the tests by `make test`");
    // The test binary lies in <target>/<profile>/deps; the programs it is to run, two levels above it.
    let programs = std::env::current_exe().unwrap();
    let programs = programs.parent().and_then(Path::parent).unwrap();
    let demo = std::process::Command::new(root.join("tests/demo/run"))
        .env("SCALE", "0.01")
        .env("HOLDFAST_BIN", programs)
        .current_dir(root)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{}\n{out}\n{err}", demo.status);
    for said in [
        "schemas equal",
        "owners and privileges are as they were saved",
        "the damaged database is back",
        "documents and indexes are as they were saved",
        "the damaged documents are back",
    ] {
        assert!(out.contains(said), "{out}");
    }
}
