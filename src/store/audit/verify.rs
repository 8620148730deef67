//! Checks every chain there is, in one walk over both tables by our key, a page of each in memory.
//!
//! The worker may write meanwhile. An exception's row is read before its history and believed for the entries that it counts:
//! those never change again. What is beyond them is wrong only if the row, read again, does not count it. Exceptions that come
//! after the walk began are left to the next one: their keys are larger than all there were.

use std::collections::BTreeMap;

use super::{Audit, HEADS_PER_PAGE, Key, LINKS_PER_PAGE, Place, StoredHead, StoredLink};
use crate::domain::audit::{Beyond, Check, Problem, Report, owner};
use crate::store::ViewError;

/// Checks all of it. `tell` hears after each page what has been checked and how far that is, in hundredths.
pub async fn verify(
    audit: &dyn Audit,
    report: &mut Report,
    mut tell: impl FnMut(&Report, u8) + Send,
) -> Result<(), ViewError> {
    let Some(last) = audit.last().await? else { return Ok(()) };
    // Whoever can write to both tables can give an exception any key there is: the first one is looked at too.
    let mut from = Key::MIN;
    loop {
        let heads = audit.heads(from, last).await?;
        // What is left of the history belongs to the last page, with or without exceptions.
        let full_until = heads.get(HEADS_PER_PAGE - 1).map(|head| head.key);
        let until = full_until.unwrap_or(last);
        check_range(audit, &heads, from, until, report).await?;
        tell(report, hundredths(until, last));
        match until.checked_add(1) {
            Some(next) if full_until.is_some() && next <= last => from = next,
            _ => return Ok(()),
        }
    }
}

/// The place after this one; none after the last there can be.
fn next((key, number): Place) -> Option<Place> {
    number.checked_add(1).map(|number| (key, number)).or_else(|| Some((key.checked_add(1)?, i64::MIN)))
}

fn hundredths(done: Key, all: Key) -> u8 {
    let share = i128::from(done.max(0)) * 100 / i128::from(all.max(1));
    u8::try_from(share).unwrap_or(100).min(100)
}

async fn check_range(
    audit: &dyn Audit,
    heads: &[StoredHead],
    from: Key,
    until: Key,
    report: &mut Report,
) -> Result<(), ViewError> {
    let mut checks: BTreeMap<Key, Check<'_>> = heads.iter().map(|head| (head.key, Check::of(&head.claim))).collect();
    let mut orphaned = None;
    let mut place = Some((from, i64::MIN));
    while let Some(start) = place {
        let links = audit.links(start, until).await?;
        for it in &links {
            report.checked_entries += 1;
            match checks.get_mut(&it.key) {
                Some(check) => check.entry(it.number, &it.fields, &it.hash, report),
                None => orphan(it, &mut orphaned, report),
            }
        }
        place = links.get(LINKS_PER_PAGE - 1).and_then(|last| next((last.key, last.number)));
    }
    report.checked_exceptions += heads.len() as u64;
    for (head, check) in heads.iter().zip(checks.into_values()) {
        if let Some(beyond) = check.end(report) {
            look_again(audit, head, beyond, report).await?;
        }
    }
    Ok(())
}

/// Told once for each key: the rows of one come together.
fn orphan(it: &StoredLink, told: &mut Option<Key>, report: &mut Report) {
    if *told != Some(it.key) {
        *told = Some(it.key);
        report.find(owner(&it.fields, &it.hash).as_deref(), Some(it.number), Problem::Orphaned(it.key));
    }
}

/// A turn writes an entry and the row that counts it at once: if the row does not count it now, no turn has written it.
async fn look_again(
    audit: &dyn Audit,
    head: &StoredHead,
    (first, last): Beyond,
    report: &mut Report,
) -> Result<(), ViewError> {
    let counted = audit.head(head.key).await?.map_or(head.claim.entries, |now| now.claim.entries);
    if counted < last {
        let first = first.max(counted.saturating_add(1));
        report.find(Some(&head.claim.exception_id), Some(first), Problem::Surplus(last));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_passed_over() {
        assert_eq!(next((3, 7)), Some((3, 8)));
        assert_eq!(next((3, i64::MAX)), Some((4, i64::MIN)));
        assert_eq!(next((Key::MAX, i64::MAX)), None);
    }

    #[test]
    fn the_share_is_between_nothing_and_all() {
        for (done, all, share) in [(Key::MIN, 7, 0), (1, 3, 33), (7, 7, 100), (5, 0, 100), (Key::MAX, Key::MAX, 100)] {
            assert_eq!(hundredths(done, all), share, "{done} of {all}");
        }
    }
}
