//! Says what the crate is made of beside its source: the embedded migrations and the prepared queries. Without this a
//! new migration would not reach a binary that is otherwise up to date.

fn main() {
    for path in ["../migrations", "../.sqlx", "sqlx.toml"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
