//! Notes about suspects: found by whoever comes next, gone when the message is settled.

use std::collections::BTreeMap;
use std::time::Duration;

use reprieve::domain::dates::Timestamp;
use reprieve::store::{Changes, Note, Store, Wanted};
use uuid::Uuid;

use crate::store::material::{digest, read, write};
use crate::store::place::Place;

async fn notes(store: &mut impl Store) -> BTreeMap<u8, Note> {
    let wanted = Wanted { notes: [1, 2, 3, 9].map(digest).into(), ..Wanted::default() };
    let notes = read(store, &wanted).await.notes;
    notes.into_iter().map(|(key, note)| (key.0[0], note)).collect()
}

pub(crate) async fn a_note_is_there_until_its_message_is_settled(place: &dyn Place) {
    let mut store = place.open().await;
    let now: Timestamp = read(&mut store, &Wanted::default()).await.database_time;
    let note = |run, tries, ago| Note { run: Uuid::from_u128(run), tries, at: now - Duration::from_secs(ago) };
    let write_notes = |notes: &[(u8, Note)]| {
        let notes = notes.iter().map(|(key, note)| (digest(*key), *note)).collect();
        Changes { notes, ..Changes::default() }
    };
    write(&mut store, &write_notes(&[(1, note(7, 1, 5)), (2, note(7, 3, 4)), (4, note(7, 1, 3))])).await;
    let mut other = place.open().await;
    assert_eq!(notes(&mut other).await, BTreeMap::from([(1, note(7, 1, 5)), (2, note(7, 3, 4))]));
    write(&mut other, &write_notes(&[(1, note(8, 2, 0))])).await;
    assert_eq!(notes(&mut store).await, BTreeMap::from([(1, note(8, 2, 0)), (2, note(7, 3, 4))]));
    write(&mut store, &Changes { noted: [1, 9].map(digest).into(), ..Changes::default() }).await;
    assert_eq!(notes(&mut store).await, BTreeMap::from([(2, note(7, 3, 4))]));
    assert_eq!(place.count("attempts").await, 2);

    // A message of which one is written and that is settled in the same turn.
    let both = Changes { noted: vec![digest(3)], ..write_notes(&[(3, note(8, 1, 0))]) };
    write(&mut store, &both).await;
    assert_eq!(place.count("attempts").await, 2);

    // Nobody comes back for one that is more than a day old.
    let (old, young) = (note(8, 1, 86_400 + 60), note(8, 1, 86_400 - 60));
    write(&mut store, &write_notes(&[(1, old), (3, young)])).await;
    assert_eq!(notes(&mut store).await, BTreeMap::from([(2, note(7, 3, 4)), (3, young)]));
}
