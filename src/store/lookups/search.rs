//! How a page is found in a few milliseconds, whatever is asked for and however many exceptions there are.
//!
//! Each filter has an index. If one of those that are set leaves few exceptions ([`LOOKED_AT_MAX`]), all of these are looked at, and the page
//! is exact. If none does, the newest of them are looked at in the order of the list, and no more than that many for one page: what fits is
//! mostly among them, because each filter leaves many. Where it is not, the page is short, or empty, and its cursor leads on. Which of
//! the two it is is found out by asking each index for its [`LOOKED_AT_MAX`]th row, not by what a planner believes.

use std::future::Future;

use super::selection::{Driver, Newer, Selection};
use crate::store::desk::Limit;

/// Most exceptions that are looked at for one page: some ten milliseconds of reading.
pub(in crate::store) const LOOKED_AT_MAX: i64 = 5_000;

/// What an index leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Probe {
    /// No more than may be looked at.
    Few,
    /// More; of these the newest that may be looked at end at this key.
    Many(i64),
    /// More, and they are not in order.
    Unordered,
}

/// What is searched.
pub(in crate::store) trait Searched: Send {
    /// Why it could not be.
    type Error;

    /// What the driver leads to, of the exceptions before this key.
    fn probe(
        &mut self,
        driver: Driver,
        selection: &Selection,
        before: i64,
    ) -> impl Future<Output = Result<Probe, Self::Error>> + Send;

    /// The keys of the newest exceptions that are meant, from one key on and before the other, as the driver leads to them.
    fn keys(
        &mut self,
        driver: Driver,
        selection: &Selection,
        between: (i64, i64),
        most: i64,
    ) -> impl Future<Output = Result<Vec<i64>, Self::Error>> + Send;
}

/// One page of keys, the newest first, and where the next begins.
pub(in crate::store) async fn search<S: Searched>(
    searched: &mut S,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
) -> Result<(Vec<i64>, Option<Newer>), S::Error> {
    if selection.states().is_empty() {
        return Ok((Vec::new(), None));
    }
    let before = after.map_or(i64::MAX, |Newer(key)| key);
    let Some((driver, floor)) = choose(searched, selection, before).await? else { return Ok((Vec::new(), None)) };
    let mut keys = searched.keys(driver, selection, (floor, before), limit.get() + 1).await?;
    let most = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    if keys.len() > most {
        keys.truncate(most);
        let next = keys.last().copied().map(Newer);
        return Ok((keys, next));
    }
    Ok((keys, (floor > 0).then_some(Newer(floor))))
}

/// The driver, and the key from which on its exceptions are looked at.
async fn choose<S: Searched>(
    searched: &mut S,
    selection: &Selection,
    before: i64,
) -> Result<Option<(Driver, i64)>, S::Error> {
    let drivers = selection.drivers();
    // Whatever it leads to is meant: nothing is looked at in vain.
    if let [only] = drivers.as_slice() {
        return Ok(Some((*only, 0)));
    }
    let mut many = None;
    for driver in drivers {
        match searched.probe(driver, selection, before).await? {
            Probe::Few => return Ok(Some((driver, 0))),
            Probe::Many(floor) => many = many.or(Some((driver, floor))),
            Probe::Unordered => {}
        }
    }
    Ok(many)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of keys of which every tenth is meant, found by two drivers.
    struct Fake {
        keys: Vec<i64>,
        of_dates: Probe,
        asked: Vec<Driver>,
    }

    impl Searched for Fake {
        type Error = ();

        async fn probe(&mut self, driver: Driver, _: &Selection, before: i64) -> Result<Probe, ()> {
            self.asked.push(driver);
            let all = self.keys.iter().rev().filter(|key| **key < before).nth(99);
            Ok(if driver == Driver::Dates { self.of_dates } else { all.map_or(Probe::Few, |key| Probe::Many(*key)) })
        }

        async fn keys(&mut self, _: Driver, _: &Selection, between: (i64, i64), most: i64) -> Result<Vec<i64>, ()> {
            let (from, before) = between;
            let meant = self.keys.iter().rev().filter(|key| **key >= from && **key < before && **key % 10 == 0);
            Ok(meant.copied().take(usize::try_from(most).unwrap()).collect())
        }
    }

    fn dated() -> Selection {
        Selection { due_before: Some(chrono::NaiveDate::MIN), ..Selection::default() }
    }

    async fn all(fake: &mut Fake, selection: &Selection, limit: &str) -> (Vec<i64>, Vec<usize>) {
        let (mut found, mut pages, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let (keys, next) = search(fake, selection, after, limit.parse().unwrap()).await.unwrap();
            pages.push(keys.len());
            found.extend(keys);
            after = next;
            if after.is_none() {
                return (found, pages);
            }
        }
    }

    #[tokio::test]
    async fn pages_have_no_gap_and_no_double_whichever_way_they_are_found() {
        let meant: Vec<i64> = (1..=30).rev().map(|number| number * 10).collect();
        for (of_dates, limit, pages) in [
            (Probe::Few, "20", vec![20, 10]),
            (Probe::Few, "30", vec![30]),
            (Probe::Unordered, "20", vec![10, 10, 10, 0]),
            (Probe::Unordered, "4", vec![4, 4, 4, 4, 4, 4, 4, 2]),
        ] {
            let mut fake = Fake { keys: (1..=300).collect(), of_dates, asked: Vec::new() };
            let found = all(&mut fake, &dated(), limit).await;
            assert_eq!(found.0, meant, "{of_dates:?} {limit}");
            assert_eq!(found.1, pages, "{of_dates:?} {limit}");
        }
    }

    #[tokio::test]
    async fn what_is_looked_at_in_vain_leads_on() {
        let keys = (301..=500).filter(|key| key % 10 != 0).chain([10]).collect::<Vec<_>>();
        let mut keys = keys;
        keys.sort_unstable();
        let mut fake = Fake { keys, of_dates: Probe::Unordered, asked: Vec::new() };
        assert_eq!(all(&mut fake, &dated(), "50").await, (vec![10], vec![0, 1]));
    }

    #[tokio::test]
    async fn nothing_is_asked_of_an_index_that_is_the_only_one() {
        let mut fake = Fake { keys: (1..=300).collect(), of_dates: Probe::Few, asked: Vec::new() };
        search(&mut fake, &Selection::default(), None, Limit::DEFAULT).await.unwrap();
        assert_eq!(fake.asked, []);
        search(&mut fake, &dated(), None, Limit::DEFAULT).await.unwrap();
        assert_eq!(fake.asked, [Driver::Dates]);
    }
}
