//! Says at the start what is missing on the broker, all at once: without some of it the worker waits, and says so of one thing after
//! the other; of the rest it would never know, and somebody's events would go nowhere. It is no reason to end: what is missing may
//! come any moment, and the worker takes it up then.

use std::time::Duration;

use crate::broker::rabbitmq::{RabbitError, Settings, topology};
use crate::retry::Waits;

/// Looks once, as soon as there is a broker.
pub(super) async fn look(rabbit: Option<Settings>, wait_max: Duration) {
    let Some(rabbit) = rabbit else { return };
    let mut waits = Waits::new(wait_max);
    loop {
        match topology::missing(&rabbit).await {
            Ok(missing) => {
                if !missing.is_empty() {
                    let missing = missing.join(", ");
                    tracing::error!(
                        "the broker lacks {missing}: run `reprieve topology apply`; work goes on by itself"
                    );
                }
                return;
            }
            // The two connections of the worker are told the same, and say it.
            Err(RabbitError::Refused { .. }) => return,
            Err(RabbitError::Unreachable { .. }) => tokio::time::sleep(waits.next_wait()).await,
        }
    }
}
