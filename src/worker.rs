//! The worker: two loops over the ports. [`turns`] owns the source and the store, [`publish`] owns the sink; what a turn
//! writes is decided by [`plan`], a plain function. [`supervisor`] starts both and ends them.

pub mod input;
mod nowhere;
mod outage;
pub mod plan;
pub mod publish;
pub mod supervisor;
pub mod turns;
