//! How a page is found in a few milliseconds, whatever is asked for and however many exceptions there are.
//!
//! Keys are in order of time, and [`BLOCK`] of them in a row are a block. An index of the look-ups begins with the number of the block, or names one person
//! or ticket and ends with the key: either way what it has of a block is one short range. So a list
//! goes from block to block, the newest first: it passes over those in which a filter meets nothing, by one step into an index, and of the others
//! looks at what the narrowest filter leads to, until the page is full. So it matters little whether what is meant is new, old or rare.
//!
//! [`Bounds`] keep a page short in time. Where one of them is met the page is short, or empty, and its cursor leads on.

use std::future::Future;

use super::selection::{Newer, Selection};
use crate::store::desk::Limit;

/// So many keys are a block, the power of 2 that is in the indexes: fewer would be more steps through a long list, more a longer look into
/// one of them.
pub(in crate::store) const BLOCK: i64 = 1 << 12;

/// How far is looked for one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// So many exceptions are looked at.
    pub looked_at: i64,
    /// So many blocks are passed over.
    pub blocks: i64,
    /// If what a name leads to within a block is no more than this, it is looked at, else what the state and the date lead to.
    pub few: i64,
}

impl Default for Bounds {
    /// Some tens of milliseconds of reading, and 16 million exceptions, which take as long to be passed over.
    fn default() -> Self {
        Self { looked_at: 20_000, blocks: 4_096, few: 256 }
    }
}

/// The part of the list that is looked at: keys before one, in the blocks from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Stretch {
    pub(in crate::store) before: i64,
    pub(in crate::store) first_block: i64,
    pub(in crate::store) last_block: i64,
    pub(in crate::store) bounds: Bounds,
}

impl Stretch {
    /// All before this key, of which the newest is the other, as far as may be looked.
    fn new(before: i64, newest: i64, bounds: Bounds) -> Self {
        let last_block = newest / BLOCK;
        Self { before, first_block: (last_block - bounds.blocks + 1).max(0), last_block, bounds }
    }

    /// The key from which on all of it has been looked at.
    pub(in crate::store) fn floor(self) -> i64 {
        self.first_block * BLOCK
    }
}

/// What was found in a stretch.
#[derive(Debug)]
pub(in crate::store) struct Found {
    /// The keys of what is meant, the newest first.
    pub(in crate::store) keys: Vec<i64>,
    /// The key from which on everything was looked at, unless there were as many as were wanted.
    pub(in crate::store) floor: i64,
}

/// What is searched.
pub(in crate::store) trait Searched: Send {
    /// Why it could not be.
    type Error;

    /// The key of the newest exception before this one.
    fn newest(&mut self, before: i64) -> impl Future<Output = Result<Option<i64>, Self::Error>> + Send;

    /// The newest exceptions of the stretch that are meant, at least so many if there are.
    fn find(
        &mut self,
        selection: &Selection,
        stretch: Stretch,
        most: i64,
    ) -> impl Future<Output = Result<Found, Self::Error>> + Send;
}

/// One page of keys, the newest first, and where the next begins.
pub(in crate::store) async fn search<S: Searched>(
    searched: &mut S,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
    bounds: Bounds,
) -> Result<(Vec<i64>, Option<Newer>), S::Error> {
    if selection.states().is_empty() {
        return Ok((Vec::new(), None));
    }
    let before = after.map_or(i64::MAX, |Newer(key)| key);
    let Some(newest) = searched.newest(before).await? else { return Ok((Vec::new(), None)) };
    let stretch = Stretch::new(before, newest, bounds);
    let Found { mut keys, floor } = searched.find(selection, stretch, limit.get() + 1).await?;
    let most = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    if keys.len() > most {
        keys.truncate(most);
        let next = keys.last().copied().map(Newer);
        return Ok((keys, next));
    }
    Ok((keys, (floor > 0).then_some(Newer(floor))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that are meant, and how many of them may be looked at.
    struct Fake {
        keys: Vec<i64>,
        may_look: usize,
    }

    impl Searched for Fake {
        type Error = ();

        async fn newest(&mut self, before: i64) -> Result<Option<i64>, ()> {
            Ok(self.keys.iter().copied().filter(|key| *key < before).max())
        }

        async fn find(&mut self, _: &Selection, stretch: Stretch, most: i64) -> Result<Found, ()> {
            let most = usize::try_from(most).unwrap();
            let meant = self.keys.iter().rev().filter(|key| **key < stretch.before && **key >= stretch.floor());
            let keys: Vec<i64> = meant.copied().take(most.min(self.may_look)).collect();
            let is_cut = keys.len() == self.may_look;
            let floor = if is_cut { keys.last().copied().unwrap_or(0) } else { stretch.floor() };
            Ok(Found { keys, floor })
        }
    }

    async fn all(fake: &mut Fake, limit: &str) -> (Vec<i64>, Vec<usize>) {
        let (mut found, mut pages, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let (keys, next) =
                search(fake, &Selection::default(), after, limit.parse().unwrap(), Bounds::default()).await.unwrap();
            pages.push(keys.len());
            found.extend(keys);
            after = next;
            if after.is_none() {
                return (found, pages);
            }
        }
    }

    #[tokio::test]
    async fn pages_have_no_gap_and_no_double_wherever_looking_ends() {
        let far = BLOCK * Bounds::default().blocks;
        for (keys, may_look, limit, pages) in [
            ((1..=30).collect::<Vec<i64>>(), 99, "20", vec![20, 10]),
            ((1..=30).collect(), 99, "30", vec![30]),
            ((1..=30).collect(), 20, "20", vec![20, 10]),
            ((1..=30).collect(), 8, "20", vec![8, 8, 8, 6]),
            (vec![], 99, "20", vec![0]),
            (vec![1, 2, far - 1, far], 99, "20", vec![2, 2]),
            (vec![1, far, far * 2], 99, "1", vec![1, 1, 1]),
        ] {
            let meant: Vec<i64> = keys.iter().rev().copied().collect();
            let found = all(&mut Fake { keys, may_look }, limit).await;
            assert_eq!(found, (meant, pages), "{may_look} {limit}");
        }
    }

    #[test]
    fn a_stretch_ends_at_a_block() {
        assert_eq!(Stretch::new(i64::MAX, 1, Bounds::default()).floor(), 0);
        let far = Stretch::new(i64::MAX, BLOCK * 9 + 1, Bounds { blocks: 9, ..Bounds::default() });
        assert_eq!((far.first_block, far.last_block, far.floor()), (1, 9, BLOCK));
    }
}
