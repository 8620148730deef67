//! What an audit finds: rows that were changed past the store, in every way, and nothing else.

use std::collections::BTreeSet;

use reprieve::domain::audit::{Claim, Finding, Problem, Report};
use reprieve::domain::history::Chain;
use reprieve::store::audit::against::compare;
use reprieve::store::audit::verify::verify;
use reprieve::store::audit::{Audit, HEADS_PER_PAGE};
use reprieve::store::{Changes, Wanted};

use crate::store::material::{happening, id, submission, turn, write};
use crate::store::place::{Place, Sql, sql};

/// What stands in the way of whoever wants to change the history.
const OPEN: Sql = Sql {
    postgres: "ALTER TABLE history DISABLE TRIGGER ALL",
    sqlite: "DROP TRIGGER history_append_only; DROP TRIGGER history_never_emptied; DROP TRIGGER history_never_replaced",
};

/// Exceptions with chains of this length.
fn chains(names: &[&str], length: usize) -> Changes {
    let mut changes = submission(names);
    changes.history.clear();
    for exception in &mut changes.exceptions {
        exception.chain = Chain::default();
        for number in 0..length {
            let body = format!(r#"{{"exception_id":"{}","number":{number}}}"#, exception.id);
            let happening = happening(exception, &body);
            changes.history.push(exception.chain.append(&exception.id.clone(), happening));
        }
    }
    changes
}

async fn verified(place: &dyn Place) -> Report {
    let mut report = Report::default();
    verify(place.audit().as_ref(), &mut report, |_, share| assert!(share <= 100)).await.expect("an answer");
    report
}

async fn compared(place: &dyn Place, exported: Vec<Claim>) -> Report {
    let mut report = Report::default();
    let exported = exported.into_iter().map(Ok::<_, String>);
    compare(place.audit().as_ref(), exported, &mut report, |_| ()).await.expect("an answer");
    report
}

/// All heads there are, as an export has them.
async fn heads(audit: &dyn Audit) -> Vec<Claim> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = audit.heads_by_id(&after).await.expect("an answer");
        let last = page.get(HEADS_PER_PAGE - 1).map(|head| head.claim.exception_id.clone());
        found.extend(page.into_iter().map(|head| head.claim));
        match last {
            Some(last) => after = last,
            None => return found,
        }
    }
}

fn told(report: &Report) -> Vec<(&str, i64, Problem)> {
    let told = |it: &Finding| it.exception_id.clone().expect("it is known whose it is").leak() as &str;
    let mut found: Vec<_> =
        report.findings.iter().map(|it| (told(it), it.entry.unwrap_or_default(), it.problem)).collect();
    found.sort_by_key(|(id, entry, _)| (*id, *entry));
    found
}

/// A tampered exception with what is done to it, and what is found.
type Tampering = (&'static str, Sql, &'static [(i64, Problem)]);

const TAMPERED: [Tampering; 11] = [
    ("EX-body", sql("UPDATE history SET body = 'x' WHERE entry = 2 AND @"), &[(2, Problem::Edited)]),
    (
        "EX-time",
        Sql {
            postgres: "UPDATE history SET at = at + interval '1 microsecond' WHERE entry = 1 AND @",
            sqlite: "UPDATE history SET at = at + 1 WHERE entry = 1 AND @",
        },
        &[(1, Problem::Edited)],
    ),
    (
        "EX-odd",
        Sql {
            postgres: "UPDATE history SET at = 'infinity' WHERE entry = 3 AND @",
            sqlite: "UPDATE history SET body = CAST(x'ff' AS TEXT) WHERE entry = 3 AND @",
        },
        &[(3, Problem::Edited)],
    ),
    (
        "EX-code",
        sql("UPDATE history SET outcome = 'refused', code = 'x' WHERE entry = 4 AND @"),
        &[(4, Problem::Edited)],
    ),
    ("EX-gone", sql("DELETE FROM history WHERE entry IN (2, 3) AND @"), &[(2, Problem::Missing(3))]),
    ("EX-last", sql("DELETE FROM history WHERE entry = 4 AND @"), &[(4, Problem::Missing(4))]),
    (
        "EX-swap",
        sql("UPDATE history SET entry = 9 WHERE entry = 2 AND @; UPDATE history SET entry = 2 WHERE entry = 3 AND @; \
             UPDATE history SET entry = 3 WHERE entry = 9 AND @"),
        &[(2, Problem::Edited), (3, Problem::Edited), (4, Problem::Edited)],
    ),
    (
        "EX-more",
        sql("INSERT INTO history (exception_key, entry, at, kind, actor, actor_kind, outcome, revision, body, hash) \
             SELECT exception_key, 5, at, kind, actor, actor_kind, outcome, revision, body, hash \
             FROM history WHERE entry = 4 AND @"),
        &[(5, Problem::Surplus(5))],
    ),
    (
        "EX-head",
        Sql {
            postgres: "UPDATE exceptions SET head = decode(repeat('00', 32), 'hex') WHERE $",
            sqlite: "UPDATE exceptions SET head = zeroblob(32) WHERE $",
        },
        &[(4, Problem::Head)],
    ),
    ("EX-count", sql("UPDATE exceptions SET entries = 3 WHERE $"), &[(4, Problem::Count(3, 4))]),
    ("EX-none", sql("DELETE FROM exceptions WHERE $"), &[(1, Problem::Orphaned(11))]),
];

pub(crate) async fn whatever_is_tampered_with_is_found(place: &dyn Place) {
    let mut store = place.open().await;
    assert_eq!(told(&verified(place).await), [], "nothing is whole");
    let names: Vec<&str> = TAMPERED.iter().map(|(name, ..)| *name).chain(["EX-whole"]).collect();
    write(&mut store, &chains(&names, 4)).await;
    let report = verified(place).await;
    assert_eq!(told(&report), []);
    assert_eq!((report.checked_exceptions, report.checked_entries), (12, 48));

    place.tamper(OPEN).await;
    let mut expected = Vec::new();
    for (name, what, findings) in TAMPERED {
        let its = format!("exception_key = (SELECT key FROM exceptions WHERE id = '{name}')");
        let text = place.dialect(what).replace('@', &its).replace('$', &format!("id = '{name}'"));
        place.hand().await.run(&text).await.expect(&text);
        expected.extend(findings.iter().map(|(entry, problem)| (name, *entry, *problem)));
    }
    expected.sort_by_key(|(id, entry, _)| (*id, *entry));
    assert_eq!(told(&verified(place).await), expected);
}

/// Whoever can change both tables can give an exception any key there is.
pub(crate) async fn under_the_lowest_key_nothing_is_passed_over(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &chains(&["EX-moved", "EX-whole"], 2)).await;
    place.tamper(OPEN).await;
    let move_it = Sql {
        postgres: "ALTER TABLE exceptions ALTER COLUMN key DROP IDENTITY; \
                   UPDATE history SET exception_key = -9223372036854775808 WHERE exception_key = 1; \
                   UPDATE exceptions SET key = -9223372036854775808 WHERE key = 1",
        sqlite: "UPDATE history SET exception_key = -9223372036854775808 WHERE exception_key = 1; \
                 UPDATE exceptions SET key = -9223372036854775808 WHERE key = 1",
    };
    place.tamper(move_it).await;
    let report = verified(place).await;
    assert_eq!((told(&report), report.checked_exceptions, report.checked_entries), (Vec::new(), 2, 4));
    place.tamper(sql("UPDATE history SET body = 'x' WHERE exception_key < 0 AND entry = 1")).await;
    assert_eq!(told(&verified(place).await), [("EX-moved", 1, Problem::Edited)]);
    place.tamper(sql("DELETE FROM exceptions WHERE key < 0")).await;
    let report = verified(place).await;
    let found: Vec<_> = report.findings.iter().map(|it| (it.entry, it.problem)).collect();
    assert_eq!(found, [(Some(1), Problem::Orphaned(i64::MIN))]);
}

pub(crate) async fn many_chains_and_a_long_one_are_checked_page_by_page(place: &dyn Place) {
    let mut store = place.open().await;
    let names: Vec<String> = (0..1_100).map(|number| format!("EX-{number:04}")).collect();
    write(&mut store, &chains(&["EX-long"], 450)).await;
    write(&mut store, &chains(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1)).await;
    let report = verified(place).await;
    assert_eq!((told(&report), report.checked_exceptions, report.checked_entries), (Vec::new(), 1_101, 1_550));
    let exported = heads(place.audit().as_ref()).await;
    assert_eq!(compared(place, exported.clone()).await.compared_heads, Some(1_101));

    place.tamper(OPEN).await;
    // Nothing is left of the last pages but the history.
    place.tamper(sql("DELETE FROM exceptions WHERE key > 600")).await;
    place.tamper(sql("UPDATE history SET body = '' WHERE exception_key = 1 AND entry = 401")).await;
    let report = verified(place).await;
    assert_eq!((report.checked_exceptions, report.checked_entries), (600, 1_550));
    assert_eq!((report.findings.len(), report.count()), (100, 1 + 501));
    assert_eq!(told(&report).last(), Some(&("EX-long", 401, Problem::Edited)));
    let report = compared(place, exported).await;
    assert_eq!((report.compared_heads, report.count()), (Some(1_101), 501));
}

pub(crate) async fn what_is_gone_since_an_export_is_found(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &chains(&["EX-gone", "EX-short", "EX-grown", "EX-forged", "EX-late", "EX-whole"], 4)).await;
    let exported = heads(place.audit().as_ref()).await;
    let ids: Vec<&str> = exported.iter().map(|claim| claim.exception_id.as_str()).collect();
    assert_eq!(
        ids,
        ["EX-forged", "EX-gone", "EX-grown", "EX-late", "EX-short", "EX-whole"],
        "in the order of the bytes"
    );
    for name in ["EX-grown", "EX-late"] {
        append(&mut store, name).await;
    }
    write(&mut store, &chains(&["EX-a-new-one", "EX-z-new-one"], 1)).await;
    assert_eq!(told(&compared(place, exported.clone()).await), []);

    place.tamper(OPEN).await;
    // Cleanly, so that each chain by itself is whole.
    place.tamper(sql("DELETE FROM history WHERE exception_key = 1; DELETE FROM exceptions WHERE key = 1")).await;
    place
        .tamper(sql("DELETE FROM history WHERE exception_key = 2 AND entry = 4; \
                     UPDATE exceptions SET entries = 3, head = (SELECT hash FROM history WHERE exception_key = 2 AND entry = 3) \
                     WHERE key = 2"))
        .await;
    assert_eq!(told(&verified(place).await), []);
    let mut then = exported;
    for claim in then.iter_mut().filter(|claim| ["EX-forged", "EX-late"].contains(&claim.exception_id.as_str())) {
        claim.head = vec![7; 32];
    }
    let expected = [
        ("EX-forged", 4, Problem::Rewritten),
        ("EX-gone", 0, Problem::Vanished(4)),
        ("EX-late", 4, Problem::Rewritten),
        ("EX-short", 4, Problem::Shortened(4, 3)),
    ];
    assert_eq!(told(&compared(place, then).await), expected);
}

async fn append(store: &mut crate::store::place::Opened, name: &str) {
    let wanted = Wanted { exceptions: BTreeSet::from([id(name)]), ..Wanted::default() };
    let plan = |snapshot: reprieve::store::Snapshot| {
        let mut it = snapshot.exceptions.get(&id(name)).cloned().expect("it is there");
        let entry = it.chain.append(&id(name), happening(&it, "later"));
        Changes { history: vec![entry], exceptions: vec![it], ..Changes::default() }
    };
    turn(store, &wanted, plan).await.expect("a turn");
}

/// New entries and new exceptions, while chain after chain is checked.
pub(crate) async fn while_turns_write_nothing_false_is_found(place: &dyn Place) {
    let mut store = place.open().await;
    let names: Vec<String> = (0..8).map(|number| format!("EX-{number}")).collect();
    write(&mut store, &chains(&names.iter().map(String::as_str).collect::<Vec<_>>(), 30)).await;
    let exported = heads(place.audit().as_ref()).await;
    let done = std::cell::Cell::new(false);
    let writing = async {
        for round in 0..40 {
            for name in &names {
                append(&mut store, name).await;
            }
            write(&mut store, &chains(&[&format!("EX-new-{round}")], 2)).await;
        }
        done.set(true);
    };
    let checking = async {
        let mut rounds = 0;
        while !done.get() {
            assert_eq!(told(&verified(place).await), []);
            assert_eq!(told(&compared(place, exported.clone()).await), []);
            rounds += 1;
            // On one thread, the writer needs its turn.
            tokio::task::yield_now().await;
        }
        assert!(rounds > 1, "{rounds}");
    };
    tokio::join!(writing, checking);
    let report = verified(place).await;
    assert_eq!((told(&report), report.checked_entries), (Vec::new(), 8 * 30 + 40 * 8 + 40 * 2));
}
