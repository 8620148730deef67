//! What is wrong with a rules file, or only unwise: each finding with its place, its path and, where one word was close to
//! another, what was probably meant.

use serde::Serialize;

/// Where something stands in the file, counted from 1; 0 where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// One thing that is wrong, or unwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub at: Place,
    /// The way there from the root, as in `rules[2].levels[0].quorum`; empty where the file is no YAML.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.at.line, self.at.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.suggestion.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

/// All findings of one file, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What keeps the file from being used.
    pub errors: Vec<Finding>,
    /// What should be looked at.
    pub warnings: Vec<Finding>,
}

impl Report {
    /// Puts both lists in the order of the file.
    pub(super) fn sort(&mut self) {
        self.errors.sort();
        self.warnings.sort();
    }
}

/// The known word an unknown one was probably meant to be: as many slips as a third of its letters, and at least one; a word
/// that was left off in the middle counts as one slip.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let unknown = unknown.to_lowercase();
    let slips = |word: &str| {
        let word = word.to_lowercase();
        let left_off = unknown.len() > 2 && word.starts_with(&unknown);
        if left_off { 1 } else { strsim::osa_distance(&unknown, &word) }
    };
    let close = known.map(|word| (slips(word), word)).filter(|(slips, word)| *slips <= (word.len() / 3).max(1));
    close.min().map(|(_, word)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["appsec", "payments-owners", "ciso-office"];
        for (unknown, meant) in
            [("apsec", Some("appsec")), ("AppSec", Some("appsec")), ("ciso", Some("ciso-office")), ("x", None)]
        {
            assert_eq!(nearest(unknown, known.into_iter()).as_deref(), meant, "{unknown}");
        }
    }

    #[test]
    fn a_finding_reads_as_one_line() {
        let at = Place { line: 3, column: 5 };
        let mut finding = Finding { at, path: "groups".into(), message: "no".into(), suggestion: None };
        assert_eq!(finding.to_string(), "3:5: groups: no");
        finding.suggestion = Some("yes".into());
        assert_eq!(finding.to_string(), "3:5: groups: no; did you mean yes?");
    }
}
