//! Tells cargo to build again when a migration is added: they are embedded, and a new file changes no source.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
