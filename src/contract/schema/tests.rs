use std::path::Path;

use super::*;

/// Says that the file is to be written, not compared.
const BLESS: &str = "REPRIEVE_BLESS";

#[test]
fn the_files_say_what_the_program_does() {
    let made: Vec<_> = inbound::all().into_iter().chain(crate::contract::outbound::schemas::all()).collect();
    let listed: Vec<_> = SCHEMAS.iter().map(|schema| schema.event_type).collect();
    assert_eq!(made.iter().map(|(event_type, _)| *event_type).collect::<Vec<_>>(), listed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (event_type, schema) in made {
        let (file, text) = (folder.join(format!("{event_type}.json")), format!("{schema:#}\n"));
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(found == text, "schemas/{event_type}.json is not current: {BLESS}=1 cargo test --lib schema renews it");
    }
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, SCHEMAS.len(), "a schema of nothing");
}

#[test]
fn a_schemas_id_is_the_dataschema_of_its_events() {
    for schema in &SCHEMAS {
        let id = format!("\"$id\": \"{}\"", id(schema.event_type));
        assert!(schema.text.contains(&id), "{}", schema.event_type);
        assert_eq!(find(schema.event_type).map(|found| found.event_type), Some(schema.event_type));
    }
    assert!(find("exception.nonsense.v1").is_none());
}
