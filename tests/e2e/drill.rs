//! Drills: something breaks, and a person with nothing but the log, the probe and the tool's own commands finds what it is, mends
//! it, and sees that it is mended. What they type and see is `docs/drill.md`.

mod accounts;
mod disk;
mod flood;
mod rules;
mod transcript;

pub(crate) use accounts::passwords_are_revoked_and_given_back;
pub(crate) use disk::the_database_has_no_room;
pub(crate) use flood::five_hundred_bad_messages_among_good_ones;
pub(crate) use rules::the_rules_file_is_broken;

const RULES: &str = "The rules file is broken";
const DISK: &str = "The database cannot be written";
const ACCOUNTS: &str = "Passwords are revoked";
const FLOOD: &str = "A flood of bad messages";

/// In the order of the document.
const HEADINGS: [&str; 4] = [RULES, DISK, ACCOUNTS, FLOOD];

const HEAD: &str = "\
# Drills

Four things that go wrong, each with what is seen, the command that finds it, the command that mends it, and what shows that it
is mended. Made by the cases of `tests/e2e/drill/`, which do all of this to the real worker on real servers; do not edit it by
hand. Ids, times, hashes, hosts and folders stand for those of your own. `$` is what is typed, a block marked `log` is a line of
the worker's log, shortened to level and message.

To drill it yourself: `reprieve dev --data DIR` is a worker that you may break.
";
