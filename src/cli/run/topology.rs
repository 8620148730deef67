//! Says at the start what is missing on the broker, all at once: without some of it the worker waits, and says so of one thing after
//! the other; of the rest it would never know, and somebody's events would go nowhere. It is no reason to end: what is missing may
//! come any moment, and the worker takes it up then. What is there with other arguments is said too: it works, but a queue without its
//! dead-letter exchange drops what it gives up on, and nobody would know before that.

use std::time::Duration;

use crate::broker::rabbitmq::topology::{self, Problem, Sight};
use crate::broker::rabbitmq::{RabbitError, Settings};
use crate::retry::Waits;

/// Looks once, as soon as there is a broker.
pub(super) async fn look(rabbit: Option<Settings>, wait_max: Duration) {
    let Some(rabbit) = rabbit else { return };
    let mut waits = Waits::new(wait_max);
    loop {
        match topology::look(&rabbit).await {
            Ok(sight) => return tell(&sight),
            // The two connections of the worker are told the same, and say it.
            Err(RabbitError::Refused { .. }) => return,
            Err(RabbitError::Unreachable { .. }) => tokio::time::sleep(waits.next_wait()).await,
        }
    }
}

fn tell(Sight { missing, different, is_compared }: &Sight) {
    if !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::error!("the broker lacks {missing}: run `reprieve topology apply`; work goes on by itself");
    }
    for Problem { object, what, remedy } in different {
        tracing::error!(
            "{object} is not as it should be: {what}; {remedy}; meanwhile the worker works with what is there"
        );
    }
    if !is_compared {
        tracing::info!(
            "this user may not declare, so the broker does not say whether types and arguments are as they should be: \
             `reprieve topology check`, as one who may, compares them"
        );
    }
}
