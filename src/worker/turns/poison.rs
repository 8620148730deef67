//! How what a turn cannot stand is found: halves, down to the one event.

use std::collections::VecDeque;

use tracing::warn;

use crate::contract::json::Fault;
use crate::contract::reason::Reason;
use crate::domain::command::Command;
use crate::worker::input::Input;

/// Why an attempt failed.
pub(super) enum Setback {
    Away(String),
    Poison(Poison),
}

/// Why the inputs of a turn are taken apart.
pub(super) enum Cut {
    /// Nothing may be wrong with them but their number.
    TooLong,
    Poison(Poison),
}

/// What is wrong with the content of a turn.
#[derive(Debug)]
pub(super) struct Poison {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Poison {
    /// As it is told of the one event that has it.
    pub(super) fn fault(&self) -> Fault {
        Fault::new(self.reason, self.message.clone())
    }

    /// Whether the one input was already set aside as a failure, so that it is not its content that is refused.
    pub(super) fn is_known(&self, inputs: &[Input]) -> bool {
        matches!(inputs, [one] if one.inbound.content.as_ref().is_err_and(|fault| fault.reason == self.reason))
    }
}

/// Whether the inputs are one submission: then what waits for it is applied with it, and may be at fault.
pub(super) fn is_one_submission(inputs: &[Input]) -> bool {
    let submits =
        |input: &Input| matches!(&input.inbound.content, Ok(content) if matches!(content.command, Command::Submit(_)));
    matches!(inputs, [one] if submits(one))
}

/// Two halves, or the one event as a failure: in front, so that the order of arrival stays.
pub(super) fn halve(mut piece: Vec<Input>, poison: &Poison, pieces: &mut VecDeque<Vec<Input>>) {
    if let [one] = piece.as_mut_slice() {
        warn!(
            event.source = one.inbound.source,
            event.id = one.inbound.id,
            "event {} is set aside: {}",
            one.inbound.id,
            poison.message
        );
        one.inbound.content = Err(poison.fault());
        pieces.push_front(piece);
        return;
    }
    in_two(piece, pieces);
}

pub(super) fn in_two(mut piece: Vec<Input>, pieces: &mut VecDeque<Vec<Input>>) {
    let second = piece.split_off(piece.len() / 2);
    pieces.push_front(second);
    pieces.push_front(piece);
}
