//! What is up and what is not: set by the parts themselves, read by the readiness probe and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thing that is up or down.
#[derive(Clone, Debug, Default)]
pub struct Light(Arc<AtomicBool>);

impl Light {
    /// Up.
    pub fn on(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Down.
    pub fn off(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it is up.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The peers of the worker and its own readiness.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The connection that consumes.
    pub broker_consume: Light,
    /// The connection that publishes; off also while the broker blocks it.
    pub broker_publish: Light,
    /// The connection that runs turns.
    pub database: Light,
    /// On from the end of the start-up checks (schema, rules) to the begin of the shutdown.
    pub serving: Light,
}

impl Health {
    /// What is missing, in words; empty when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (&self.broker_consume, "broker_consume"),
            (&self.broker_publish, "broker_publish"),
            (&self.database, "database"),
            (&self.serving, "serving"),
        ]
        .into_iter()
        .filter_map(|(light, name)| (!light.is_on()).then_some(name))
        .collect()
    }
}
