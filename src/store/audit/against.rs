//! Holds the chains against heads that were exported: what was there then is there now, as it was, with or without more after
//! it. Both sides come in the order of the ids, so one page is in memory. Whether what is there is whole: [`super::verify`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;

use super::{Audit, HEADS_PER_PAGE, Place, StoredHead};
use crate::domain::audit::{Claim, Problem, Report};
use crate::store::ViewError;

/// Why the comparison did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum AgainstError<E> {
    /// The database did not answer.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The export cannot be read on.
    #[error("{0}")]
    Export(E),
}

/// Compares all that was exported, which must be in the order of the ids.
pub async fn compare<E: Send>(
    audit: &dyn Audit,
    exported: impl Iterator<Item = Result<Claim, E>> + Send,
    report: &mut Report,
    mut tell: impl FnMut(&Report) + Send,
) -> Result<(), AgainstError<E>> {
    let mut exported = exported.peekable();
    let mut after = String::new();
    loop {
        let heads = audit.heads_by_id(&after).await?;
        let last = heads.get(HEADS_PER_PAGE - 1).map(|head| head.claim.exception_id.clone());
        loop {
            // However much has vanished, no more than a page of it is in memory.
            let claims = due(&mut exported, last.as_deref()).map_err(AgainstError::Export)?;
            compare_page(audit, &claims, &heads, report).await?;
            tell(report);
            if claims.len() < HEADS_PER_PAGE {
                break;
            }
        }
        match last {
            // What comes after the last claim is new, and nobody's concern here.
            Some(last) if exported.peek().is_some() => after = last,
            _ => return Ok(()),
        }
    }
}

/// The next claims up to an id, at most a page; without one there is no end to them but their own.
fn due<E, I: Iterator<Item = Result<Claim, E>>>(
    exported: &mut Peekable<I>,
    last: Option<&str>,
) -> Result<Vec<Claim>, E> {
    let is_due = |it: &Result<Claim, E>| match (it, last) {
        (Ok(claim), Some(last)) => claim.exception_id.as_str() <= last,
        _ => true,
    };
    std::iter::from_fn(|| exported.next_if(is_due)).take(HEADS_PER_PAGE).collect()
}

async fn compare_page(
    audit: &dyn Audit,
    claims: &[Claim],
    heads: &[StoredHead],
    report: &mut Report,
) -> Result<(), ViewError> {
    let find = |claim: &Claim| {
        let at = heads.binary_search_by(|head| head.claim.exception_id.cmp(&claim.exception_id)).ok()?;
        heads.get(at)
    };
    let pairs: Vec<(&Claim, Option<&StoredHead>)> = claims.iter().map(|claim| (claim, find(claim))).collect();
    let grown = |(then, now): &(&Claim, Option<&StoredHead>)| {
        now.filter(|now| now.claim.entries > then.entries).map(|now| (now.key, then.entries))
    };
    let places: Vec<Place> = pairs.iter().filter_map(grown).collect();
    let hashes = if places.is_empty() { BTreeMap::new() } else { audit.hashes(&places).await? };
    for (then, now) in pairs {
        *report.compared_heads.get_or_insert(0) += 1;
        report.present_heads += u64::from(now.is_some());
        let id = Some(then.exception_id.as_str());
        match now.map(|now| (now, now.claim.entries.cmp(&then.entries))) {
            None => report.find(id, None, Problem::Vanished(then.entries)),
            Some((now, Ordering::Less)) => {
                let entry = now.claim.entries.saturating_add(1);
                report.find(id, Some(entry), Problem::Shortened(then.entries, now.claim.entries));
            }
            Some((now, order)) => {
                let grown = hashes.get(&(now.key, then.entries));
                let hash = if order == Ordering::Equal { Some(&now.claim.head) } else { grown };
                if hash != Some(&then.head) {
                    report.find(id, Some(then.entries), Problem::Rewritten);
                }
            }
        }
    }
    Ok(())
}
