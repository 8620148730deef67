//! How a batch is cut from what came on one channel. Plain values: no connection.

use std::collections::VecDeque;

use super::incoming::Received;
use crate::broker::{BATCH_BYTES_MAX, Delivery};

/// Takes the next batch: a run from the front, at most `max` and [`BATCH_BYTES_MAX`], but at least one; a suspect comes
/// alone. Returns the last one's tag; `None` if there is nothing.
pub(super) fn take(buffer: &mut VecDeque<Received>, max: usize) -> Option<(u64, Vec<Delivery>)> {
    let count = run(buffer, max);
    let taken: Vec<_> = buffer.drain(..count).collect();
    let last = taken.last()?.tag;
    Some((last, taken.into_iter().map(|received| received.delivery).collect()))
}

fn run(buffer: &VecDeque<Received>, max: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for Received { delivery, .. } in buffer.iter().take(max.max(1)) {
        bytes += delivery.body.len();
        let suspect = delivery.is_suspect();
        if count > 0 && (suspect || bytes > BATCH_BYTES_MAX) {
            break;
        }
        count += 1;
        if suspect {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Properties;

    #[track_caller]
    fn check(messages: &[(u32, usize)], max: usize, expected: &[usize]) {
        let mut buffer: VecDeque<_> = messages
            .iter()
            .zip(1..)
            .map(|((earlier_deliveries, bytes), tag)| Received {
                tag,
                delivery: Delivery {
                    properties: Properties::default(),
                    body: vec![0; *bytes],
                    earlier_deliveries: *earlier_deliveries,
                },
            })
            .collect();
        let mut lengths = Vec::new();
        let mut tag = 0;
        while let Some((last, batch)) = take(&mut buffer, max) {
            assert_eq!(last, tag + batch.len() as u64, "consecutive tags");
            tag = last;
            lengths.push(batch.len());
        }
        assert_eq!(lengths, expected);
    }

    #[test]
    fn batches_are_cut_by_number_bytes_and_suspicion() {
        check(&[], 500, &[]);
        check(&[(0, 1); 5], 500, &[5]);
        check(&[(0, 1); 5], 2, &[2, 2, 1]);
        check(&[(0, 1); 2], 0, &[1, 1]);
        check(&[(0, BATCH_BYTES_MAX / 2); 3], 500, &[2, 1]);
        check(&[(0, BATCH_BYTES_MAX + 1); 2], 500, &[1, 1]);
        check(&[(1, 1), (1, 1), (2, 1), (0, 1), (0, 1)], 500, &[2, 1, 2]);
        check(&[(2, 1), (9, 1), (0, 1)], 500, &[1, 1, 1]);
    }
}
