//! Every filter alone and in combinations, the first page and one deep inside.

use std::time::{Duration, Instant};

use reprieve::store::Views;
use reprieve::store::desk::Limit;
use reprieve::store::lookups::{Newer, Selection};
use reprieve::store::postgres::views::PostgresViews;
use reprieve::store::sqlite::views::SqliteViews;
use sqlx::{AssertSqlSafe, ConnectOptions as _, raw_sql};

use crate::INDEXES;
use crate::rows;
use crate::support::stage::Stage;
use crate::support::watchdog;

/// Each is asked so often; the median counts.
const TIMES: usize = 7;

/// Nobody waits for more.
const PAGES_MAX: usize = 300;

/// What people ask, and what is the hardest to answer: combinations of which nothing is few, and what there is none of.
const ASKED: &[&[(&str, &str)]] = &[
    &[],
    &[("status", "requested")],
    &[("status", "cancelled")],
    &[("status", "approved,denied")],
    &[("enforcement", "in_force")],
    &[("enforcement", "pending")],
    &[("severity", "critical")],
    &[("severity", "critical,info")],
    &[("reviewer", "reviewer-6@example.com")],
    &[("requester", "person-1260@example.com")],
    &[("requester", "person-0@example.com")],
    &[("requester", "nobody@example.com")],
    &[("ticket", "SEC-1000000")],
    &[("due_before", "2100-01-01")],
    &[("due_before", "{today}")],
    &[("due_before", "1990-01-01")],
    &[("expiring_within", "7d")],
    &[("expiring_within", "365d")],
    &[("q", "EX-2")],
    &[("q", "EX-2026-0099")],
    &[("q", "SEC-10000")],
    &[("q", "person-1260")],
    &[("q", "zzz")],
    &[("status", "requested,under_review"), ("severity", "critical"), ("due_before", "{today}")],
    &[("status", "requested,under_review"), ("reviewer", "reviewer-6@example.com"), ("severity", "high")],
    &[("requester", "person-0@example.com"), ("status", "requested")],
    &[("requester", "person-0@example.com"), ("severity", "info"), ("enforcement", "pending")],
    &[("severity", "info"), ("expiring_within", "30d")],
    &[("status", "denied"), ("due_before", "2024-06-01")],
    &[("q", "EX-2"), ("status", "cancelled"), ("severity", "info")],
    &[("q", "person-"), ("due_before", "{today}"), ("enforcement", "ended")],
    &[("q", "EX-2024")],
    &[("q", "EX-2024"), ("status", "cancelled")],
    &[("q", "EX-2024"), ("requester", "person-0@example.com")],
    &[("q", "SEC-12")],
    &[("requester", "person-0@example.com"), ("due_before", "2024-06-01")],
    &[("requester", "person-0@example.com"), ("status", "cancelled"), ("severity", "critical")],
    &[("reviewer", "reviewer-6@example.com"), ("due_before", "{today}")],
    &[("status", "approved"), ("severity", "critical"), ("expiring_within", "7d")],
    &[("status", "cancelled"), ("severity", "info"), ("due_before", "2024-06-01")],
];

pub(crate) async fn postgres(stage: &Stage, rows: usize) {
    stage.worker().cli_ok(&["migrate", "up"]).await;
    let begun = Instant::now();
    let mut connection = stage.connect().await;
    let mut made = Vec::new();
    for index in INDEXES {
        let sql = format!("SELECT pg_get_indexdef('{index}'::regclass)");
        made.push(sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap());
        raw_sql(AssertSqlSafe(format!("DROP INDEX {index}"))).execute(&mut connection).await.unwrap();
    }
    let settings =
        "SET maintenance_work_mem = '1GB'; SET synchronous_commit = off; ALTER TABLE exceptions SET UNLOGGED";
    raw_sql(settings).execute(&mut connection).await.unwrap();
    raw_sql(AssertSqlSafe(rows::in_postgres(rows))).execute(&mut connection).await.unwrap();
    println!("{rows} rows in {:.0} s", begun.elapsed().as_secs_f64());
    for (index, sql) in INDEXES.into_iter().zip(made) {
        let begun = Instant::now();
        raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let size = format!("SELECT pg_relation_size('{index}') / 1000000");
        let mega: i64 = sqlx::query_scalar(AssertSqlSafe(size)).fetch_one(&mut connection).await.unwrap();
        println!("  {index}: built in {:.1} s, {mega} MB", begun.elapsed().as_secs_f64());
    }
    let counted = "
        INSERT INTO tickets (id, earliest_due_date, approved) SELECT DISTINCT ticket_id, date '2026-12-05', 0 FROM exceptions
          WHERE key % 1000 = 0;
        INSERT INTO reviewers SELECT r.id, count(*) FROM exceptions AS x CROSS JOIN LATERAL unnest(x.reviewers) AS r (id)
          WHERE x.status IN ('requested', 'under_review') GROUP BY r.id";
    raw_sql(counted).execute(&mut connection).await.unwrap();
    let migration = include_str!("../../migrations/postgres/0017_lookups.sql");
    let tallies = migration.split_once("INSERT INTO tallies").unwrap().1;
    let tallies = format!("TRUNCATE tallies; INSERT INTO tallies{tallies}");
    raw_sql(AssertSqlSafe(tallies)).execute(&mut connection).await.unwrap();
    raw_sql("VACUUM ANALYZE exceptions").execute(&mut connection).await.unwrap();
    raw_sql("ANALYZE").execute(&mut connection).await.unwrap();
    println!("ready after {:.0} s", begun.elapsed().as_secs_f64());
    ask_postgres(&stage.database_url(), rows).await;
}

pub(crate) async fn ask_postgres(url: &str, rows: usize) {
    ask(&PostgresViews::new(url).unwrap(), rows).await;
}

pub(crate) async fn sqlite(rows: usize) {
    let file = watchdog::root().join("pages.db");
    reprieve::store::sqlite::migrate::up(&file).await.unwrap();
    let begun = Instant::now();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).pragma("synchronous", "off");
    let mut connection = options.connect().await.unwrap();
    let mut sql = rows::in_sqlite(rows);
    // No table function of series is built in.
    let series = format!("SELECT value AS n FROM generate_series(1, {rows})");
    let counted =
        format!("WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT n FROM c");
    sql = sql.replace(&series, &counted);
    raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    let migration = include_str!("../../migrations/sqlite/0013_lookups.sql");
    let tallies = migration.split_once("INSERT INTO tallies").unwrap().1;
    raw_sql(AssertSqlSafe(format!("INSERT INTO tallies{tallies}"))).execute(&mut connection).await.unwrap();
    println!("SQLite: {rows} rows in {:.0} s", begun.elapsed().as_secs_f64());
    ask(&SqliteViews::new(&file), rows).await;
}

async fn ask(views: &dyn Views, rows: usize) {
    let today = chrono::Utc::now().date_naive().to_string();
    println!(
        "| asked | first page, ms | items | pages for 50 | page at the middle, ms | items |\n|---|---|---|---|---|---|"
    );
    for asked in ASKED {
        let mut selection = Selection::default();
        for (name, value) in *asked {
            assert!(selection.set(name, &value.replace("{today}", &today), chrono::Utc::now()).unwrap());
        }
        let middle: Newer = (rows / 2).to_string().parse().unwrap();
        let (first, first_items, goes_on) = page(views, &selection, None).await;
        let (deep, deep_items, deep_goes_on) = page(views, &selection, Some(middle)).await;
        let names: Vec<_> = asked.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = if names.is_empty() { "nothing".to_owned() } else { names.join(" ") };
        let items = |items: usize, goes_on: bool| format!("{items}{}", if goes_on { "+" } else { "" });
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            ms(first),
            items(first_items, goes_on),
            pages_for_a_full_one(views, &selection).await,
            ms(deep),
            items(deep_items, deep_goes_on)
        );
    }
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        views.stats(chrono::Utc::now().date_naive()).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("| stats | {} | | | | |", ms(times[TIMES / 2]));
}

/// A list that goes on is followed.
async fn pages_for_a_full_one(views: &dyn Views, selection: &Selection) -> String {
    let (mut pages, mut items, mut after) = (0, 0, None);
    while pages < PAGES_MAX {
        let page = views.exceptions(selection, after, Limit::DEFAULT).await.unwrap();
        (pages, items, after) = (pages + 1, items + page.items.len(), page.next);
        if items >= 50 || after.is_none() {
            return pages.to_string();
        }
    }
    format!("more than {pages}")
}

async fn page(views: &dyn Views, selection: &Selection, after: Option<Newer>) -> (Duration, usize, bool) {
    let (mut times, mut found, mut goes_on) = (Vec::new(), 0, false);
    for _ in 0..TIMES {
        let begun = Instant::now();
        let page = views.exceptions(selection, after, Limit::DEFAULT).await.unwrap();
        times.push(begun.elapsed());
        (found, goes_on) = (page.items.len(), page.next.is_some());
    }
    times.sort_unstable();
    (times[TIMES / 2], found, goes_on)
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}
