//! What becomes of an event.

/// What became of an event. Exactly one of these, for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it says, or there was nothing to do.
    Applied,
    /// The same event, again.
    Repeated,
    /// The business said no, with a code.
    Refused(&'static str),
    /// It can never be processed, for a reason.
    Failed(&'static str),
    /// It waits for its submission.
    Parked,
}
