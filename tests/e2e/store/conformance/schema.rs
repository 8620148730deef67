//! What stands in the tables for others than the store: columns that are looked for, and a history that stays.

use reprieve::domain::exception::{Enforcement, Status, Vote};
use reprieve::store::desk::{Filter, Limit};
use reprieve::store::{Changes, StoreError, Wanted};

use crate::store::material::{date, decide, id, submission, turn, user, write};
use crate::store::place::{OUTBOX_MAX, Place, Sql};

pub(crate) async fn history_cannot_be_changed(place: &dyn Place) {
    let mut store = place.open().await;
    let written = submission(&["EX-1"]);
    write(&mut store, &written).await;
    let mut hand = place.hand().await;
    for (postgres, sqlite) in [
        ("UPDATE history SET body = ''", "UPDATE history SET body = ''"),
        ("DELETE FROM history", "DELETE FROM history"),
        ("TRUNCATE history", "DELETE FROM history WHERE entry = 1"),
        (
            "INSERT INTO history SELECT * FROM history ON CONFLICT (exception_key, entry) DO UPDATE SET body = ''",
            "INSERT INTO history SELECT * FROM history WHERE true ON CONFLICT (exception_key, entry) DO UPDATE SET body = ''",
        ),
        (
            "WITH gone AS (DELETE FROM history RETURNING *) SELECT 1 FROM gone",
            "REPLACE INTO history SELECT exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type,
             outcome, code, revision, '', hash FROM history",
        ),
    ] {
        let sql = place.dialect(Sql { postgres, sqlite });
        let refused = hand.run(sql).await.expect_err(sql);
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    let view = place.views().exception(&id("EX-1")).await.expect("an answer").expect("there");
    let hashes: Vec<_> = view.newest.iter().map(|entry| entry.hash.as_slice()).collect();
    assert_eq!(hashes, [written.history.first().expect("one").hash]);
}

/// Whoever reads the tables finds in the columns what the document says, after the first turn and after a change.
pub(crate) async fn the_columns_say_what_the_document_says(place: &dyn Place) {
    let mut store = place.open().await;
    let mut all = submission(&["EX-1"]);
    let it = all.exceptions.first_mut().expect("one");
    (it.request.severity, it.request.requested_due_date) = ("low".to_owned(), date() + chrono::Days::new(1));
    (it.sequence, it.updated_at) = (3, it.created_at + chrono::TimeDelta::microseconds(1));
    let columns = Sql {
        postgres: "SELECT concat_ws('|', id, ticket_id, status, enforcement, severity, requester, array_to_string(reviewers, ' '),
              array_to_string(approvers, ' '), requested_due_date, coalesce(approved_due_date::text, '-'), revision, sequence, entries,
              coalesce((extract(epoch FROM decided_at) * 1000000)::bigint::text, '-'),
              (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM updated_at) * 1000000)::bigint)
            FROM exceptions",
        sqlite: "SELECT concat_ws('|', id, ticket_id, status, enforcement, severity, requester, trim(reviewers), trim(approvers),
              requested_due_date, coalesce(approved_due_date, '-'), revision, sequence, entries, coalesce(decided_at, '-'),
              created_at, updated_at)
            FROM exceptions",
    };
    write(&mut store, &all).await;
    let first = "EX-1|T-EX-1|requested|none|low|zoe@example.com|dana@example.com o'neil,{x}\"@example.com||2026-12-06|-|1|3|1|-|\
        1795510800123456|1795510800123457";
    assert_eq!(place.texts(columns).await, [first]);

    let wanted = Wanted { exceptions: [id("EX-1")].into(), ..Wanted::default() };
    turn(&mut store, &wanted, |snapshot| {
        let mut exceptions: Vec<_> = snapshot.exceptions.into_values().collect();
        for it in &mut exceptions {
            it.updated_at += chrono::TimeDelta::seconds(1);
            decide(it, Status::Approved, Enforcement::Pending);
            (it.revision, it.sequence) = (5, 6);
            "high".clone_into(&mut it.request.severity);
            it.request.requested_due_date = date();
            let vote = |name| Vote { reviewer: user(name), level: 1, approved_due_date: date(), at: it.created_at };
            it.votes = ["a", "b"].map(vote).into();
        }
        Changes { exceptions, ..Changes::default() }
    })
    .await
    .expect("a turn");
    let changed = "EX-1|T-EX-1|approved|pending|high|zoe@example.com||a b|2026-12-05|2026-12-05|5|6|1|1795510801123457|\
        1795510800123456|1795510801123457";
    assert_eq!(place.texts(columns).await, [changed]);
}

/// Nothing is known of the content then: it is not its fault.
pub(crate) async fn without_a_schema_every_turn_is_an_outage(place: &dyn Place) {
    let mut store = place.store(reprieve::health::Light::default(), OUTBOX_MAX);
    let away = turn(&mut store, &Wanted::default(), |_| submission(&["EX-1"])).await;
    assert!(matches!(away, Err(StoreError::Away(_))), "{away:?}");
    assert!(place.desk().failures(&Filter::default(), None, Limit::MAX).await.is_err());
    assert!(place.submissions().recent(None).await.is_err());
    place.migrate().await;
    place.migrate().await;
    write(&mut store, &submission(&["EX-1"])).await;
}
