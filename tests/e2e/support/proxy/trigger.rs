//! Finds a byte string in a stream and says what to do there.

use std::time::Duration;

use tokio::sync::oneshot;

/// What happens to the stream after a trigger has acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    Forward,
    /// This direction of this connection stands still until the proxy is healed.
    Withhold,
    /// The other direction of this connection stands still until the proxy is healed: the answer never comes.
    WithholdReply,
    /// The connection is reset; what was not forwarded yet is lost.
    Cut,
}

/// Whether the pattern itself is forwarded before the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    After { rest: usize },
}

/// What to do at a pattern. It acts once.
pub(crate) struct Trigger {
    place: Place,
    nth: usize,
    then: Then,
    action: Box<dyn FnOnce() + Send>,
}

impl Trigger {
    /// Acts when the pattern was read and not forwarded. Of a pattern that came in several segments the earlier ones
    /// have passed, its last byte never has.
    pub(crate) fn before(action: impl FnOnce() + Send + 'static) -> Self {
        Self { place: Place::Before, nth: 1, then: Then::Forward, action: Box::new(action) }
    }

    /// Acts when the pattern was handed to the receiver's socket and nothing after it was.
    pub(crate) fn after(action: impl FnOnce() + Send + 'static) -> Self {
        Self { place: Place::After { rest: 0 }, nth: 1, then: Then::Forward, action: Box::new(action) }
    }

    /// Counts this many bytes after the pattern as part of it. Without effect on [`Self::before`].
    pub(crate) fn with_rest(mut self, bytes: usize) -> Self {
        if let Place::After { rest } = &mut self.place {
            *rest = bytes;
        }
        self
    }

    /// At the n-th occurrence from now on, counted from 1 over all connections.
    pub(crate) fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// What follows.
    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// Tells that a trigger has acted.
pub(crate) struct Fired(oneshot::Receiver<()>);

impl Fired {
    /// Waits for it, and fails the case when it has not acted by the deadline.
    pub(crate) async fn wait(self, deadline: Duration) {
        let fired = tokio::time::timeout(deadline, self.0).await;
        fired.expect("the trigger acts in time").expect("the trigger is armed");
    }

    /// Whether it has acted.
    pub(crate) fn has_fired(&mut self) -> bool {
        self.0.try_recv().is_ok()
    }
}

/// A trigger with what it looks for.
pub(super) struct Armed {
    pattern: Vec<u8>,
    trigger: Trigger,
    fired: oneshot::Sender<()>,
}

impl Armed {
    pub(super) fn new(pattern: &[u8], trigger: Trigger) -> (Self, Fired) {
        assert!(!pattern.is_empty() && trigger.nth > 0, "a trigger needs a pattern and counts from 1");
        let (fired, wait) = oneshot::channel();
        (Self { pattern: pattern.to_vec(), trigger, fired }, Fired(wait))
    }

    pub(super) fn place(&self) -> Place {
        self.trigger.place
    }

    pub(super) fn pattern_len(&self) -> usize {
        self.pattern.len()
    }

    pub(super) fn then(&self) -> Then {
        self.trigger.then
    }

    /// Runs the action, then tells who waits for it.
    pub(super) fn act(self) {
        (self.trigger.action)();
        // Nobody has to wait.
        self.fired.send(()).ok();
    }
}

/// The longest pattern that can be found across segments.
const HISTORY_MAX: usize = 256;

/// What of one connection's direction has passed, as far as a pattern can still reach into it.
#[derive(Default)]
pub(super) struct History(Vec<u8>);

impl History {
    /// Reads on in `chunk` until a trigger's place is found, takes that trigger, and returns the offset just after its
    /// pattern. Without a match the whole chunk becomes history.
    pub(super) fn find(&mut self, chunk: &[u8], armed: &mut Vec<Armed>) -> Option<(usize, Armed)> {
        if armed.is_empty() {
            self.push(chunk);
            return None;
        }
        for (index, byte) in chunk.iter().enumerate() {
            self.0.push(*byte);
            let mut due = None;
            for (position, candidate) in armed.iter_mut().enumerate() {
                if self.0.ends_with(&candidate.pattern) {
                    candidate.trigger.nth -= 1;
                    if candidate.trigger.nth == 0 && due.is_none() {
                        due = Some(position);
                    }
                }
            }
            if let Some(position) = due {
                self.trim();
                return Some((index + 1, armed.remove(position)));
            }
        }
        self.trim();
        None
    }

    /// Notes bytes that are not searched.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.0.len().saturating_sub(HISTORY_MAX);
        self.0.drain(..surplus);
    }
}
