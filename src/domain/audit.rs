//! Whether a chain of the history is whole: each stored entry is held against the entry before it, and the last one against the
//! end that the exception's row keeps. One entry at a time, so that a long history needs no room. Where the rows come from:
//! `store::audit`.

use std::fmt;

use serde::{Serialize, Serializer};

use super::history::{Chain, Hash, link};

/// Most findings that are kept; of what comes beyond them only the number is. Whoever sees a hundred knows that it was no slip.
pub const FINDINGS_MAX: usize = 100;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The entries up to this one are not there.
    Missing(i64),
    /// The hash is not that of the fields and the entry before.
    Edited,
    /// Up to this one there are entries that no turn has written.
    Surplus(i64),
    /// The exception's row has another end.
    Head,
    /// The exception's row counts so many, and its end is this entry.
    Count(i64, i64),
    /// Entries without an exception, under our key.
    Orphaned(i64),
    /// Of an exception that was exported nothing is there; so many entries it had.
    Vanished(i64),
    /// So many entries were exported, so many there are.
    Shortened(i64, i64),
    /// The entry has another hash than was exported.
    Rewritten,
    /// So many chains were checked, and so many exceptions of the export are there.
    Unchecked(u64, u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing(to) => write!(f, "missing: this entry is not there, nor any up to {to}"),
            Problem::Edited => {
                f.write_str("edited or moved: its hash is not that of its fields and the entry before it")
            }
            Problem::Surplus(to) => write!(f, "surplus: no turn has written this entry, nor any up to {to}"),
            Problem::Head => f.write_str("head: the hash in the exception's row is not that of its last entry"),
            Problem::Count(counted, last) => {
                write!(f, "count: the exception's row counts {counted} entries, its head is that of entry {last}")
            }
            Problem::Orphaned(key) => {
                write!(f, "orphaned: there are entries of it, under the key {key}, but no exception")
            }
            Problem::Vanished(entries) => {
                write!(f, "vanished: it was exported with {entries} entries, and is not there")
            }
            Problem::Shortened(from, to) => write!(f, "shortened: it was exported with {from} entries, and has {to}"),
            Problem::Rewritten => f.write_str("rewritten: this entry was exported with another hash"),
            Problem::Unchecked(checked, there) => {
                write!(f, "unchecked: {checked} exceptions were checked, and {there} that were exported are there")
            }
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The exception; nothing where no row says whose entries they are.
    pub exception_id: Option<String>,
    /// The first entry that it is about.
    pub entry: Option<i64>,
    /// What it is.
    pub problem: Problem,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Exceptions that were looked at.
    pub checked_exceptions: u64,
    /// Entries that were looked at.
    pub checked_entries: u64,
    /// Exported heads that were looked for, where there was an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_heads: Option<u64>,
    /// Of these, the ones that are there.
    #[serde(skip)]
    pub present_heads: u64,
    /// What is wrong; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
}

impl Report {
    /// Adds a finding, or counts it where there are enough.
    pub fn find(&mut self, exception_id: Option<&str>, entry: Option<i64>, problem: Problem) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { exception_id: exception_id.map(str::to_owned), entry, problem });
        } else {
            self.more_findings += 1;
        }
    }

    /// After chains and export: what was exported and is there must be among what was checked. That no chain escapes the check is
    /// not only for the check to say.
    pub fn weigh(&mut self) {
        if self.present_heads > self.checked_exceptions {
            self.find(None, None, Problem::Unchecked(self.checked_exceptions, self.present_heads));
        }
    }

    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.findings.len() as u64 + self.more_findings
    }
}

/// What an exception's row says about its chain. Numbers are as they are stored, whatever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The exception.
    pub exception_id: String,
    /// How many entries it has.
    pub entries: i64,
    /// The hash of the last of them.
    pub head: Vec<u8>,
}

/// A chain on its way to its end.
#[derive(Debug)]
pub struct Check<'a> {
    claim: &'a Claim,
    /// The entry before, if it is there and has a hash.
    before: Option<Hash>,
    last: i64,
    surplus: Option<(i64, i64)>,
    /// An entry beyond the count that the row's head is the hash of.
    head_at: Option<i64>,
}

/// Entries beyond those that the exception's row counts, from one to another. They may have been written since the row was
/// read: whoever reads it again knows.
pub type Beyond = (i64, i64);

impl<'a> Check<'a> {
    /// Before the first entry.
    pub fn of(claim: &'a Claim) -> Self {
        Self { claim, before: Some(Chain::default().head), last: 0, surplus: None, head_at: None }
    }

    /// The next entry, in order of the numbers.
    pub fn entry(&mut self, number: i64, fields: &[String], hash: &[u8], report: &mut Report) {
        let id = self.claim.exception_id.as_str();
        if number > self.claim.entries {
            self.surplus = Some((self.surplus.map_or(number, |(first, _)| first), number));
            if hash == self.claim.head {
                self.head_at = Some(number);
            }
            return;
        }
        if number <= self.last {
            // A number that is no number of an entry, or one for the second time.
            report.find(Some(id), Some(number), Problem::Surplus(number));
            return;
        }
        if number > self.last + 1 {
            report.find(Some(id), Some(self.last + 1), Problem::Missing(number - 1));
            self.before = None;
        }
        if let Some(before) = &self.before {
            let is_whole = u32::try_from(number).is_ok_and(|number| link(before, id, number, fields) == *hash);
            if !is_whole {
                report.find(Some(id), Some(number), Problem::Edited);
            }
        }
        (self.before, self.last) = (hash.try_into().ok(), number);
    }

    /// After the last entry.
    pub fn end(self, report: &mut Report) -> Option<Beyond> {
        let Claim { exception_id, entries, head } = self.claim;
        let is_head = self.before.is_some_and(|hash| hash == head.as_slice());
        if is_head && self.last == *entries {
            return self.surplus;
        }
        let (entry, problem) = match self.head_at {
            Some(at) => (self.last + 1, Problem::Count(*entries, at)),
            None if is_head => (self.last, Problem::Count(*entries, self.last)),
            None if self.last < *entries => (self.last + 1, Problem::Missing(*entries)),
            None => (self.last, Problem::Head),
        };
        report.find(Some(exception_id), Some(entry), problem);
        self.surplus.filter(|_| self.head_at.is_none())
    }
}

/// Whose first entry it is, by its own body: an id only fits if the hash was taken with it.
pub fn owner(fields: &[String], hash: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(fields.last()?).ok()?;
    let id = body.get("exception_id")?.as_str()?;
    (link(&Chain::default().head, id, 1, fields) == *hash).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row as it is stored: number, fields, hash.
    type Row = (i64, [String; 2], Vec<u8>);

    fn whole() -> (Claim, Vec<Row>) {
        let (mut head, mut rows) = (Chain::default().head, Vec::new());
        for number in 1..=4_u32 {
            let fields = [number.to_string(), r#"{"exception_id":"EX-1"}"#.to_owned()];
            head = link(&head, "EX-1", number, &fields);
            rows.push((i64::from(number), fields, head.to_vec()));
        }
        (Claim { exception_id: "EX-1".to_owned(), entries: 4, head: head.to_vec() }, rows)
    }

    #[track_caller]
    fn check(tamper: impl FnOnce(&mut Claim, &mut Vec<Row>), expected: &[(i64, Problem)], beyond: Option<Beyond>) {
        let (mut claim, mut rows) = whole();
        tamper(&mut claim, &mut rows);
        let (mut report, mut check) = (Report::default(), Check::of(&claim));
        for (number, fields, hash) in &rows {
            check.entry(*number, fields, hash, &mut report);
        }
        assert_eq!(check.end(&mut report), beyond);
        let found: Vec<_> = report.findings.iter().map(|it| (it.entry.unwrap(), it.problem)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn whatever_is_changed_is_found() {
        check(|_, _| (), &[], None);
        check(|_, rows| rows[1].1[0].push('!'), &[(2, Problem::Edited)], None);
        // The hash was made to fit: then the next entry does not.
        let rehash = |rows: &mut Vec<Row>, at: usize| {
            rows[at].1[0].push('!');
            let before: Hash = rows[at - 1].2.as_slice().try_into().unwrap();
            rows[at].2 = link(&before, "EX-1", u32::try_from(at).unwrap() + 1, &rows[at].1).to_vec();
        };
        check(|_, rows| rehash(rows, 1), &[(3, Problem::Edited)], None);
        check(|_, rows| rehash(rows, 3), &[(4, Problem::Head)], None);
        check(|_, rows| drop(rows.remove(0)), &[(1, Problem::Missing(1))], None);
        check(|_, rows| drop(rows.drain(1..3)), &[(2, Problem::Missing(3))], None);
        check(|_, rows| drop(rows.drain(2..)), &[(3, Problem::Missing(4))], None);
        check(|_, rows| rows.clear(), &[(1, Problem::Missing(4))], None);
        let swap = |rows: &mut Vec<Row>| {
            rows.swap(1, 2);
            (rows[1].0, rows[2].0) = (2, 3);
        };
        check(|_, rows| swap(rows), &[(2, Problem::Edited), (3, Problem::Edited), (4, Problem::Edited)], None);
        check(|claim, _| claim.head[0] ^= 1, &[(4, Problem::Head)], None);
        check(|claim, _| claim.entries = 3, &[(4, Problem::Count(3, 4))], None);
        check(|claim, _| claim.entries = 6, &[(4, Problem::Count(6, 4))], None);
        check(|_, rows| rows.insert(0, (0, rows[0].1.clone(), vec![0; 32])), &[(0, Problem::Surplus(0))], None);
    }

    /// Whether they are wrong is known once the row is read again.
    #[test]
    fn entries_beyond_the_count_are_told() {
        let more = |rows: &mut Vec<Row>| {
            for number in [5, 6] {
                let row = (number, rows[0].1.clone(), vec![7; 32]);
                rows.push(row);
            }
        };
        check(|_, rows| more(rows), &[], Some((5, 6)));
    }

    #[test]
    fn the_owner_of_entries_is_known_by_the_first() {
        let (_, rows) = whole();
        assert_eq!(owner(&rows[0].1, &rows[0].2).as_deref(), Some("EX-1"));
        assert_eq!(owner(&rows[1].1, &rows[1].2), None);
    }

    #[test]
    fn what_was_exported_has_to_be_among_what_was_checked() {
        let mut report = Report { checked_exceptions: 2, present_heads: 2, ..Report::default() };
        report.weigh();
        assert_eq!(report.count(), 0);
        report.present_heads = 3;
        report.weigh();
        assert_eq!(report.findings.first().map(|it| it.problem), Some(Problem::Unchecked(2, 3)));
    }

    #[test]
    fn findings_have_an_end() {
        let mut report = Report::default();
        (0..150).for_each(|number| report.find(None, Some(number), Problem::Edited));
        assert_eq!((report.findings.len(), report.more_findings, report.count()), (FINDINGS_MAX, 50, 150));
    }
}
